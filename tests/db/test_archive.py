"""Old records leave the audit log for a file: both verify, and nothing is shortened unnoticed."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from hipnode.cli import app
from hipnode.domain import AuditEvent, AuditRecord
from hipnode.errors import InputRefused, StorageUnavailable
from hipnode.storage import Archive, AuditFilter, Head, HoldKind, verified_archive
from hipnode.storage.upkeep.archiving import Archiver
from tests.db.conftest import Bench
from tests.db.test_audit import tamper
from tests.node import write_settings

DAY_S = 86_400


def fill(bench: Bench, days: int = 4, patient: str = "P-1") -> list[Head]:
    """Write some records a day, each day sealed; return each day's head, kept elsewhere."""
    heads = []
    for _ in range(days):
        for number in range(6):
            uid = f"1.2.{number}"
            record = AuditRecord(
                AuditEvent.RESULT_VIEWED,
                actor=f"reader {number}",
                study_instance_uid=uid,
                patient_id=patient if number == 0 else f"Q-{number}",
                accession_number=f"A-{number}",
            )
            bench.store.audit.append(record)
        bench.store.audit.seal()
        head = bench.store.audit.head()
        assert head is not None
        heads.append(head)
        bench.clock.forward(DAY_S)
    return heads


def archive(bench: Bench, before: datetime | None = None) -> Archive:
    before = before or bench.clock.now - timedelta(days=1)
    return bench.store.archive(before, actor="ada", reason="two years are over")


def path_of(bench: Bench, made: Archive) -> Path:
    return bench.settings.audit_archive_dir / made.file


def faults(bench: Bench, path: Path, made: Archive) -> list[str]:
    report = verified_archive(path, bench.store.audit.keys(), made)
    return [str(fault) for fault in report.faults]


def numbers(bench: Bench) -> set[int]:
    statement = sa.text("SELECT id FROM audit")
    return set(bench.store.database.read(lambda c: c.execute(statement).scalars().all()))


def numbers_in(path: Path) -> set[int]:
    with sqlite3.connect(path) as raw:
        return {row[0] for row in raw.execute("SELECT id FROM audit")}


def test_what_is_archived_and_what_stays_verify_and_are_all_of_it(bench: Bench) -> None:
    heads = fill(bench)
    before = numbers(bench)
    made = archive(bench)
    path = path_of(bench, made)
    assert made.rows == 18
    assert numbers_in(path) == set(range(1, 19))
    assert numbers_in(path) | numbers(bench) >= before
    assert not numbers_in(path) & numbers(bench)
    assert faults(bench, path, made) == []
    report = bench.store.audit.report(against=heads)
    assert report.faults == ()
    assert [one.sha256 for one in report.archives] == [made.sha256]
    wanted = AuditFilter(event=AuditEvent.AUDIT_ARCHIVED)
    (entry,) = bench.store.audit.query(wanted, actor="test")
    assert entry.record.actor == "ada"
    assert entry.record.detail["reason"] == "two years are over"
    assert entry.record.detail["sha256"] == made.sha256


def test_an_archive_goes_on_from_the_one_before(bench: Bench) -> None:
    heads = fill(bench)
    first = archive(bench, bench.clock.now - timedelta(days=2, hours=1))
    heads += fill(bench)
    second = archive(bench)
    files = [path_of(bench, made) for made in (first, second)]
    assert not numbers_in(files[0]) & numbers_in(files[1])
    for path, made in zip(files, (first, second), strict=True):
        assert faults(bench, path, made) == []
    assert bench.store.audit.report(against=heads).faults == ()


def test_a_file_says_by_itself_what_was_said_without_the_key(bench: Bench) -> None:
    fill(bench)
    made = archive(bench)
    assert verified_archive(path_of(bench, made), None).faults == ()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET patient_id = 'X' WHERE id = 3",
        "UPDATE audit SET row_hash = substr(row_hash, 2) || substr(row_hash, 1, 1) WHERE id = 3",
        "DELETE FROM audit WHERE id = 3",
        "DELETE FROM audit_seal WHERE id = 2",
        "DELETE FROM audit WHERE id > 12; DELETE FROM audit_seal WHERE id > 2",
        "UPDATE audit_archived SET last_id = last_id - 1",
        "UPDATE audit_archive SET reason = 'another'",
        "UPDATE audit_archive SET rows = 17",
        "UPDATE audit_epoch SET reason = 'another'",
    ],
)
def test_whatever_is_changed_in_a_file_is_named(bench: Bench, tmp_path: Path, change: str) -> None:
    fill(bench)
    made = archive(bench)
    copy = tmp_path / made.file
    shutil.copy(path_of(bench, made), copy)
    copy.chmod(0o600)
    with sqlite3.connect(copy) as raw:
        triggers = raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            raw.execute(f"DROP TRIGGER {name}")
        raw.executescript(change)
    raw.close()
    report = verified_archive(copy, bench.store.audit.keys())
    assert report.faults, "by itself"
    assert faults(bench, copy, made)


def test_what_is_no_archive_is_refused(bench: Bench, tmp_path: Path) -> None:
    for name, content in (("text", b"no database"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StorageUnavailable):
            verified_archive(tmp_path / name, bench.store.audit.keys())


def test_a_file_that_is_gone_is_a_fault_until_somebody_says_in_writing_where_it_is(
    bench: Bench,
) -> None:
    fill(bench)
    made = archive(bench)
    path_of(bench, made).unlink()
    (fault,) = bench.store.audit.report().faults
    assert "archive 1 with 18 records is not here" in str(fault)
    bench.store.audit.acknowledge(actor="ada", reason="it lies in the vault")
    report = bench.store.audit.report()
    assert (report.faults, len(report.acknowledged)) == ((), 1)


def test_only_what_is_archived_can_be_deleted(bench: Bench) -> None:
    fill(bench)
    archive(bench)

    def delete(statement: str) -> None:
        bench.store.database.write(lambda c: c.execute(sa.text(statement)))

    for statement in (
        "DELETE FROM audit WHERE id = 20",
        "UPDATE audit SET actor = 'x'",
        "DELETE FROM audit_archive",
        "UPDATE audit_archived SET last_id = 99",
    ):
        with pytest.raises(StorageUnavailable):
            delete(statement)


def test_an_archive_that_is_cut_short_is_finished_by_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = fill(bench)
    taken = Archiver.take_out
    calls = iter((0, StorageUnavailable("the power went")))

    def cut_short(archiver: Archiver) -> int:
        if isinstance(error := next(calls), Exception):
            raise error
        return taken(archiver)

    monkeypatch.setattr(Archiver, "take_out", cut_short)
    with pytest.raises(StorageUnavailable):
        archive(bench, bench.clock.now - timedelta(days=2, hours=1))
    monkeypatch.undo()
    assert 1 in numbers(bench)
    assert bench.store.audit.report(against=heads).faults == ()
    second = archive(bench)
    assert not numbers(bench) & set(range(1, 19))
    assert numbers_in(path_of(bench, second)) == set(range(13, 19))
    assert bench.store.audit.report(against=heads).faults == ()


def test_a_log_that_is_not_whole_is_not_archived(bench: Bench) -> None:
    fill(bench)
    tamper(bench, "UPDATE audit SET patient_id = 'X' WHERE id = 4")
    with pytest.raises(InputRefused, match="record 4"):
        archive(bench)


@pytest.mark.parametrize("days", [-30, 1])
def test_nothing_and_what_is_to_come_are_refused(bench: Bench, days: int) -> None:
    fill(bench)
    with pytest.raises(InputRefused):
        archive(bench, bench.clock.now + timedelta(days=days))


def test_nothing_goes_of_which_a_feed_has_not_been_told(bench: Bench) -> None:
    fill(bench, days=1)
    bench.store.feeds.told("arr", 6)
    fill(bench, days=2)
    archiver = Archiver(bench.store.database, bench.store.audit, bench.settings.audit_archive_dir)
    now = bench.clock.now
    made = archiver.archive(now, now, actor="ada", reason="old", feeds=["arr", "new"])
    assert made.last_id == 6


@pytest.mark.parametrize(
    ("kind", "value"),
    [(HoldKind.STUDY, "1.2.0"), (HoldKind.PATIENT, "P-1"), (HoldKind.ACCESSION, "A-0")],
)
def test_what_is_held_stays_until_it_is_let_go(bench: Bench, kind: HoldKind, value: str) -> None:
    heads = fill(bench)
    number = bench.store.holds.set(kind, value, actor="ada", reason="a claim")
    first = archive(bench)
    assert first.rows == 15
    assert {1, 7, 13} <= numbers(bench)
    assert faults(bench, path_of(bench, first), first) == []
    assert bench.store.audit.report(against=heads).faults == ()
    tamper(bench, "DELETE FROM audit WHERE id = 7")
    assert [fault.row_id for fault in bench.store.audit.report().faults] == [7]
    bench.store.audit.acknowledge(actor="ada", reason="a test")
    bench.store.holds.lift(number, actor="ada", reason="settled")
    bench.clock.forward(DAY_S)
    second = archive(bench, bench.clock.now - timedelta(days=2))
    assert numbers_in(path_of(bench, second)) == {1, 13}
    assert faults(bench, path_of(bench, second), second) == []
    assert bench.store.audit.report(against=heads).faults == ()


def test_retention_leaves_what_is_held(bench: Bench) -> None:
    for number in ("1", "2"):
        bench.receive(f"{number}.1", number, patient_id=f"P-{number}", accession=f"A-{number}")
        bench.read()
        bench.report()
        bench.deliver()
    hold = bench.store.holds.set(HoldKind.ACCESSION, "A-1", actor="ada", reason="a claim")
    bench.clock.forward(400 * DAY_S)
    retired = bench.store.retire()
    assert (retired.images, retired.results) == (1, 1)
    bench.store.holds.lift(hold, actor="ada", reason="settled")
    retired = bench.store.retire()
    assert (retired.images, retired.results) == (1, 1)
    assert bench.events(accession_number="A-1")[-2:] == ["hold_set", "hold_lifted"]


def test_a_hold_has_a_reason_and_is_lifted_once(bench: Bench) -> None:
    with pytest.raises(InputRefused):
        bench.store.holds.set(HoldKind.STUDY, "1.2", actor="ada", reason=" ")
    number = bench.store.holds.set(HoldKind.STUDY, "1.2", actor="ada", reason="a claim")
    with pytest.raises(InputRefused):
        bench.store.holds.set(HoldKind.STUDY, "1.2", actor="ada", reason="again")
    bench.store.holds.lift(number, actor="bob", reason="settled")
    with pytest.raises(InputRefused):
        bench.store.holds.lift(number, actor="bob", reason="settled")
    (one,) = bench.store.holds.every()
    assert (one.lifted_by, one.lifted_reason) == ("bob", "settled")


def test_the_commands(bench: Bench, tmp_path: Path) -> None:
    fill(bench)
    config = write_settings(
        tmp_path / "hipnode.toml",
        {
            "node": {"data_dir": bench.settings.node.data_dir},
            "database": {"url": bench.settings.database.url.get_secret_value()},
        },
    )

    def typed(*arguments: str | Path, status: int = 0) -> str:
        done = CliRunner().invoke(app, [*map(str, arguments), "--config", str(config)])
        assert done.exit_code == status, done.output
        return done.output

    assert "hold 1 is set" in typed("hold", "set", "--patient", "P-1", "--reason", "a claim")
    assert "patient P-1" in typed("hold", "list")
    typed("hold", "set", "--reason", "nothing", status=2)
    before = (bench.clock.now - timedelta(days=1)).strftime("%Y-%m-%d")
    said = typed("audit", "archive", "--before", before, "--reason", "old")
    path = Path(said.splitlines()[0].partition(": ")[2])
    assert path.is_file()
    verified = typed("audit", "verify", path)
    assert "unbroken" in verified
    assert f"{path.name}: " in verified
    assert path.name in typed("audit", "story", "A-404", status=1)
    assert "ARCHIVED archive 1: " in typed("audit", "verify", "--report")
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(60)  # the user version in SQLite's header
        file.write(b"\1")
    assert "sha256" in typed("audit", "verify", path, status=1)
    assert "hold 1 is lifted" in typed("hold", "lift", "1", "--reason", "settled")
