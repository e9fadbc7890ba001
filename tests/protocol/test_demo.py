"""``hipnode demo`` shows the main job on any machine, and never sees the node of that machine."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.node import HIPNODE, destination, write_settings
from tests.peers import Process, free_port, run


class _Elsewhere:
    """A destination at which nobody is."""

    host, ae_title = "127.0.0.1", "SITE"
    port = 1


def _site(folder: Path) -> dict[str, str]:
    """Make a site's node that has run, and return what its machine's environment says of it."""
    data = folder / "site"
    config = write_settings(
        folder / "site.toml",
        {"node": {"data_dir": data}, "destinations": [destination(_Elsewhere, "site")]},
    )
    port = free_port()
    environment = {
        "HIPNODE_CONFIG": str(config),
        "HIPNODE_NODE__DATA_DIR": str(data),
        "HIPNODE_NODE__AE_TITLE": "SITE",
        "HIPNODE_DATABASE__URL": f"sqlite:///{data / 'hipnode.db'}",
        "HIPNODE_LISTENER__PORT": str(port),
        "HIPNODE_BUCKET__NAME": "the-sites-images",
    }
    service = Process(
        [*HIPNODE, "listen", "--config", config],
        folder / "site.log",
        env={"HIPNODE_LISTENER__PORT": str(port)},
    )
    service.wait_listening(port)
    assert service.stop() == 0, service.output()
    return environment


def _rows(database: Path) -> list[str]:
    with sqlite3.connect(database) as connection:
        return list(connection.iterdump())


@pytest.mark.timeout(400)
def test_a_demo_never_sees_the_sites_settings(tmp_path: Path) -> None:
    environment = _site(tmp_path)
    before = _rows(tmp_path / "site" / "hipnode.db")
    done = run(
        [*HIPNODE, "demo", "--out", tmp_path / "shown"],
        env=environment,
        cwd=tmp_path,
        timeout_s=300,
    )
    assert "audit log verified: unbroken" in done.stdout
    assert list((tmp_path / "shown").glob("*-capture.dcm"))
    assert _rows(tmp_path / "site" / "hipnode.db") == before
