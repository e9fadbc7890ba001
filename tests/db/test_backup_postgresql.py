"""PostgreSQL itself: amcheck names damage; a dump is made while the node runs and brought back."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hipnode.errors import InputRefused, StorageUnavailable
from hipnode.settings import Settings
from hipnode.storage import Store
from tests.db.test_backup import receive
from tests.node import HIPNODE, write_settings
from tests.peers import run
from tests.postgres import Postgres

SESAME = "open-sesame"


@pytest.fixture
def settings(postgres_url: str, tmp_path: Path) -> Settings:
    tables = {"node": {"data_dir": tmp_path / "data"}, "database": {"url": postgres_url}}
    return Settings.model_validate(tables)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store.open(settings)
    yield opened
    opened.close()


def with_amcheck(url: str) -> None:
    execute(url, "CREATE EXTENSION amcheck")


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    plain = url.replace("postgresql+psycopg:", "postgresql:")
    with psycopg.connect(plain, autocommit=True) as connection:
        done = connection.execute(statement)  # type: ignore[call-overload]
        return list(done.fetchall()) if done.description else []


def test_without_amcheck_nobody_says_that_it_is_whole(store: Store) -> None:
    assert not store.can_check_database()
    assert store.check_database(thorough=True) == []


def test_a_whole_database_is_whole(store: Store, postgres_url: str) -> None:
    with_amcheck(postgres_url)
    for number in range(20):
        receive(store, number)
    assert store.can_check_database()
    assert store.check_database() == []
    assert store.check_database(thorough=True) == []


@pytest.mark.parametrize(
    ("relation", "thorough"), [("ix_audit_at", False), ("audit", True)], ids=str
)
def test_damage_is_named(
    store: Store,
    postgres: Postgres,
    postgres_url: str,
    relation: str,
    thorough: bool,
) -> None:
    with_amcheck(postgres_url)
    for number in range(20):
        receive(store, number)
    execute(postgres_url, "CHECKPOINT")
    ((where,),) = execute(postgres_url, f"SELECT pg_relation_filepath('{relation}')")
    store.database.engine.dispose()
    postgres.stop()
    path = postgres.folder / "data" / str(where)
    size = path.stat().st_size
    with path.open("r+b") as file:  # the last page, all but its header
        file.seek(size - 8192 + 24)
        file.write(os.urandom(8192 - 24 - 100))
    postgres.start()
    found = store.check_database(thorough=thorough)
    assert found
    assert [what for what in store.faults() if what.startswith("database: it is damaged")]
    assert relation in " ".join(found) or "ERROR" in " ".join(found), found


def test_a_dump_is_made_while_it_runs_and_brought_back(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    kept, lost = receive(store, 1), receive(store, 2)
    store.audit.seal()
    target = tmp_path / "backups"
    done = store.back_up(target, actor="anna")
    assert (done.files, done.new_files, done.missing) == (2, 2, 0)
    late = receive(store, 3)
    store.audit.seal()
    head = store.audit.head()
    store.close()
    assert head is not None
    kept.unlink()
    lost.unlink()
    (target / "files" / lost.relative_to(settings.node.data_dir)).unlink()
    found = Store.restore(settings, target, actor="bert", reason="the disk broke")
    assert found.rows_without_file == (str(lost.relative_to(settings.node.data_dir)),)
    assert found.files_without_row == (str(late.relative_to(settings.node.data_dir)),)
    assert kept.exists()
    again = Store.open(settings)
    assert again.audit.state().fault == ""
    assert again.audit.report().faults == ()
    (fault,) = again.audit.report(against=[head]).faults
    assert "bert gave it up with epoch 2: the disk broke" in fault.reason
    receive(again, 3)
    again.audit.seal()
    assert again.audit.verify() is None
    again.close()


def test_a_dump_that_was_changed_is_not_brought_back(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    receive(store, 1)
    folder = Path(store.back_up(tmp_path / "backups", actor="anna").folder)
    with (folder / "hipnode.dump").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputRefused, match="is not what it was"):
        Store.restore(settings, tmp_path / "backups", actor="bert", reason="try")
    assert store.audit.verify() is None


def test_the_commands_on_postgresql(settings: Settings, postgres_url: str, tmp_path: Path) -> None:
    """As a person runs them; an interrupted restore is begun again, into an empty database too."""
    data_dir = settings.node.data_dir
    config = write_settings(
        tmp_path / "hipnode.toml",
        {"node": {"data_dir": data_dir}, "database": {"url": postgres_url}},
    )
    store = Store.open(settings)
    receive(store, 1)
    store.close()

    def hipnode(command: str, *more: str) -> str:
        return run([*HIPNODE, command, "--config", config, *more]).stdout

    assert "not looked at" in hipnode("check")
    with_amcheck(postgres_url)
    assert hipnode("check") == "whole\n"
    made = hipnode("backup", "--to", str(tmp_path / "backups"))
    assert "1 files, 1 of them new" in made
    assert "pg_restore" in made
    (data_dir / "restore-unfinished").touch()
    with pytest.raises(StorageUnavailable, match="not finished"):
        Store.open(settings)
    execute(postgres_url, "DROP SCHEMA public CASCADE")
    execute(postgres_url, "CREATE SCHEMA public")
    done = hipnode("restore", "--from", str(tmp_path / "backups"), "--reason", "try")
    assert "restored; lost files: 0" in done
    assert hipnode("check") in {
        "whole\n",
        "not looked at: PostgreSQL has no extension amcheck here\n",
    }
    Store.open(settings).close()


def test_the_password_is_on_no_command_line(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever lists the machine's processes would read it."""
    seen = tmp_path / "seen"
    fake = tmp_path / "bin"
    fake.mkdir()
    for name in ("pg_dump", "pg_restore"):
        script = fake / name
        script.write_text(
            f"#!{sys.executable}\nimport json, os, sys\n"
            f"seen = open({str(seen)!r}, 'a')\n"
            "seen.write(json.dumps([sys.argv, os.environ.get('PGPASSWORD')]))\n"
            "sys.exit(1)\n"
        )
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}{os.pathsep}{os.environ['PATH']}")
    engine = store.database.engine
    monkeypatch.setattr(engine, "url", engine.url.set(password=SESAME))
    with pytest.raises(StorageUnavailable, match="pg_dump ended with 1"):
        store.back_up(tmp_path / "backups", actor="anna")
    arguments, password = json.loads(seen.read_text())
    assert SESAME not in " ".join(arguments)
    assert password == SESAME
