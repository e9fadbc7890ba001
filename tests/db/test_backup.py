"""The database itself: damage is named and nothing is written to it; backups are read again."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from blake3 import blake3

from hipnode.domain import AuditEvent, AuditRecord, Header, JobKind
from hipnode.errors import DatabaseDamaged, InputRefused, StorageUnavailable
from hipnode.services.housekeeper.service import Housekeeper
from hipnode.settings import Settings
from hipnode.storage import Received, Store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate({"node": {"data_dir": tmp_path / "data"}})


def receive(store: Store, number: int) -> Path:
    data = f"image {number}".encode() * 100
    incoming = store.files.incoming()
    incoming.write(data)
    digest = blake3(data).hexdigest()
    uid = f"1.2.{number}"
    path = store.files.keep(incoming, uid, digest)
    header = Header("1.2.840.10008.5.1.4.1.1.1.1", uid, f"1.3.{number}")
    received = Received(header, "MOD", "HIPNODE", "127.0.0.1", path, digest, len(data), "a")
    store.ledger.ingest(received, action="read", priority=0, model_sets=("set",), quiet_s=0)
    return store.files.path(path)


def damage(settings: Settings, table: str) -> None:
    """Overwrite most of a page of a table that nobody has open."""
    path = settings.node.data_dir / "hipnode.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        pages = connection.execute(
            sa.text("SELECT pageno FROM dbstat WHERE name = :t AND pagetype = 'leaf'"), {"t": table}
        )
        page = list(pages.scalars())[-1]
    engine.dispose()
    with path.open("r+b") as file:
        file.seek(page * size - 900)
        file.write(os.urandom(800))


def test_damage_is_named_and_nothing_is_written_until_it_is_gone(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(settings, migrate=True)
    for number in range(20):
        receive(store, number)
    store.close()
    whole = (settings.node.data_dir / "hipnode.db").read_bytes()
    damage(settings, "job")
    store = Store.open(settings)
    keeper = Housekeeper(settings, store)
    keeper.guarded(keeper.begin)()
    assert "database_damaged" in "".join(capsys.readouterr())
    for _ in range(2):
        with pytest.raises(DatabaseDamaged) as caught:
            receive(store, 99)
        assert caught.value.dimse_status == 0xA700
    assert store.faults()[0].startswith("database: it is damaged")
    store.close()
    (settings.node.data_dir / "hipnode.db").write_bytes(whole)
    store = Store.open(settings)
    assert store.check_database(thorough=True) == []
    assert not store.faults()
    receive(store, 99)
    assert store.audit.verify() is None
    store.close()


def test_who_meets_damage_says_so_to_every_other(settings: Settings) -> None:
    store = Store.open(settings, migrate=True)
    for number in range(20):
        receive(store, number)
    store.close()
    damage(settings, "job")
    store = Store.open(settings)
    with pytest.raises(DatabaseDamaged):
        store.lookups.jobs(kind=JobKind.READ)
    other = Store.open(settings, vouch=False)
    with pytest.raises(DatabaseDamaged):
        other.audit.append(AuditRecord(AuditEvent.ECHO_ANSWERED))
    other.close()
    store.close()


def test_a_backup_is_made_while_it_runs_and_brought_back_says_what_is_lost(
    settings: Settings, tmp_path: Path
) -> None:
    target = tmp_path / "backups"
    store = Store.open(settings, migrate=True)
    kept, lost = receive(store, 1), receive(store, 2)
    store.audit.seal()
    done = store.back_up(target, actor="anna")
    assert (done.files, done.new_files, done.missing) == (2, 2, 0)
    assert done.rows >= 6
    late = receive(store, 3)
    store.audit.seal()
    head = store.audit.head()
    store.close()
    assert head is not None

    (settings.node.data_dir / "hipnode.db").write_bytes(b"nothing of it is left")
    kept.unlink()
    lost.unlink()
    (target / "files" / lost.relative_to(settings.node.data_dir)).unlink()
    found = Store.restore(settings, target, actor="bert", reason="the disk broke")
    assert found.rows_without_file == (str(lost.relative_to(settings.node.data_dir)),)
    assert found.files_without_row == (str(late.relative_to(settings.node.data_dir)),)
    assert kept.exists()
    store = Store.open(settings)
    assert store.audit.state().fault == ""
    assert store.audit.state().epoch == 2
    report = store.audit.report()
    assert report.faults == ()
    assert any("was published and is gone" in fault.reason for fault in report.acknowledged)
    (fault,) = store.audit.report(against=[head]).faults
    assert "bert gave it up with epoch 2: the disk broke" in fault.reason
    receive(store, 3)
    store.audit.seal()
    assert store.audit.verify() is None
    store.close()


def test_a_backup_that_was_changed_is_not_brought_back(settings: Settings, tmp_path: Path) -> None:
    store = Store.open(settings, migrate=True)
    receive(store, 1)
    folder = Path(store.back_up(tmp_path / "backups", actor="anna").folder)
    store.close()
    with (folder / "hipnode.db").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputRefused, match="is not what it was"):
        Store.restore(settings, tmp_path / "backups", actor="bert", reason="try")
    assert Store.open(settings).audit.verify() is None


def test_an_interrupted_restore_is_not_started_on(settings: Settings, tmp_path: Path) -> None:
    store = Store.open(settings, migrate=True)
    store.back_up(tmp_path / "backups", actor="anna")
    store.close()
    (settings.node.data_dir / "restore-unfinished").touch()
    with pytest.raises(StorageUnavailable, match="not finished"):
        Store.open(settings)
    Store.restore(settings, tmp_path / "backups", actor="bert", reason="again")
    Store.open(settings).close()


def test_the_second_backup_copies_what_is_new(settings: Settings, tmp_path: Path) -> None:
    store = Store.open(settings, migrate=True)
    receive(store, 1)
    first = store.back_up(tmp_path / "backups", actor="anna")
    damaged = receive(store, 2)
    damaged.write_bytes(b"other")
    store.now = lambda: later(first.made_utc)
    second = store.back_up(tmp_path / "backups", actor="anna")
    assert (second.files, second.new_files, second.missing) == (2, 0, 1)
    manifest = json.loads((Path(second.folder) / "manifest.json").read_text())
    assert manifest["missing"] == 1
    store.close()


def later(made: str) -> datetime:

    return datetime.fromisoformat(made) + timedelta(seconds=5)
