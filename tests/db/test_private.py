"""What the node keeps is closed to others; what cannot be meant is a message, not a traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hipnode.errors import SettingsInvalid, StorageUnavailable
from hipnode.settings import Settings
from hipnode.storage import Store
from tests.node import HIPNODE


def opened(folder: Path) -> list[str]:
    """Return what others may read, write or enter."""
    return [str(p) for p in (folder, *folder.rglob("*")) if p.stat().st_mode & 0o007]


def test_all_is_closed_to_others_however_it_was_made(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    settings = Settings.model_validate({"node": {"data_dir": folder}})
    before = os.umask(0)
    try:
        store = Store.open(settings, migrate=True)
        store.audit.seal()
        store.reconcile()
        assert opened(folder) == []
        store.close()
        for name in ("hipnode.db", "audit.key", "node-identity"):
            (folder / name).chmod(0o644)
        folder.chmod(0o777)
        Store.open(settings).close()
        assert opened(folder) == []
    finally:
        os.umask(before)


def test_what_cannot_be_closed_keeps_the_node_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)

    def chmod(_self: Path, _mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", chmod)
    settings = Settings.model_validate({"node": {"data_dir": folder}})
    with pytest.raises(StorageUnavailable, match="open to every account"):
        Store.open(settings, migrate=True)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:SECRET77@127.0.0.1:port/x",
        "postgresql+nodriver://u:SECRET77@h/x",
        "postgresql+psycopg://u:SECRET77@[bad/x",
        "mysql://u:SECRET77@h/x",
        "SECRET77",
        "postgresql+psycopg://u:SECRET77@127.0.0.1:1/x?bogus=1",
    ],
)
def test_a_url_that_cannot_be_used_is_a_message_without_its_password(
    tmp_path: Path, url: str
) -> None:
    tables = {"node": {"data_dir": tmp_path}, "database": {"url": url}}
    with pytest.raises((SettingsInvalid, StorageUnavailable)) as caught:
        Store.open(Settings.model_validate(tables), migrate=True)
    assert "SECRET77" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_secret_that_is_missing_is_not_another_database(
    tmp_path: Path, content: str | None
) -> None:
    secret = tmp_path / "url"
    if content is not None:
        secret.write_text(content)
    tables = {"node": {"data_dir": tmp_path / "data"}, "database": {"url_file": secret}}
    with pytest.raises(SettingsInvalid, match="url_file"):
        Store.open(Settings.model_validate(tables), migrate=True)
    assert not (tmp_path / "data" / "hipnode.db").exists()


def test_a_command_says_it_in_a_line(tmp_path: Path) -> None:
    config = tmp_path / "hipnode.toml"
    config.write_text(
        f'[node]\ndata_dir = "{tmp_path}/d"\n[database]\nurl = "postgresql://h:x/y"\n'
    )
    done = subprocess.run(
        [*HIPNODE, "status", "--config", str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "hipnode: database.url is not a database URL\n"
