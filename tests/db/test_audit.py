"""The audit log: complete, searchable, append-only, and any change to it is named."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from hipnode.domain import AuditEvent, AuditRecord, Outcome
from hipnode.errors import StorageUnavailable
from hipnode.storage import AuditFilter
from hipnode.storage.audit import entries
from tests.db.conftest import START, Bench, OpenStore


def write(bench: Bench, count: int, **more: Any) -> None:
    for number in range(count):
        bench.clock.forward(1)
        bench.store.audit.append(AuditRecord(AuditEvent.ECHO_ANSWERED, actor=f"AE{number}", **more))


def tamper(bench: Bench, statement: str, **values: object) -> None:
    """Change the audit log as its database's owner could, past the triggers."""

    def work(connection: sa.Connection) -> None:
        if connection.dialect.name == "sqlite":
            names = connection.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            ).scalars()
            for name in list(names):
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            log = ("audit", "audit_seal", "audit_epoch", "audit_archive", "audit_archived")
            for table in log:
                connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        connection.execute(sa.text(statement), values)

    bench.store.database.write(work)


def test_verify_is_content_with_an_untouched_log(bench: Bench) -> None:
    write(bench, 20)
    assert bench.store.audit.seal() == 20
    write(bench, 5)
    assert bench.store.audit.verify() is None
    assert bench.store.audit.seal() == 6  # the verification is a row too
    assert bench.store.audit.verify() is None


@pytest.mark.parametrize(
    ("statement", "row", "reason"),
    [
        ("UPDATE audit SET actor = 'X' WHERE id = 7", 7, "changed"),
        ("UPDATE audit SET at_utc = at_utc - 1 WHERE id = 3", 3, "changed"),
        ("UPDATE audit SET patient_id = 'other' WHERE id = 12", 12, "changed"),
        ("DELETE FROM audit WHERE id = 5", 5, "removed"),
        ("DELETE FROM audit WHERE id = 15", 15, "removed"),
        ("UPDATE audit SET id = 99 WHERE id = 2", 2, "removed"),
    ],
)
def test_verify_names_the_first_bad_row(
    bench: Bench, statement: str, row: int, reason: str
) -> None:
    write(bench, 10)
    bench.store.audit.seal()
    write(bench, 5)
    bench.store.audit.seal()
    tamper(bench, statement)
    fault = bench.store.audit.verify()
    assert fault is not None
    assert fault.row_id == row
    assert reason in fault.reason


def test_a_row_rewritten_with_its_hash_is_found_by_its_seal(bench: Bench) -> None:
    write(bench, 10)
    bench.store.audit.seal()
    tamper(bench, "UPDATE audit SET actor = 'X', row_hash = :h WHERE id = 4", h=forged(bench, 4))
    fault = bench.store.audit.verify()
    assert fault is not None
    assert (fault.row_id, fault.reason) == (4, "the row and its hash have been changed")


def forged(bench: Bench, row_id: int) -> str:
    """Return the hash that the row would have with another actor."""
    from hipnode.storage.audit.entries import plain_hash
    from hipnode.storage.database.schema import audit

    row = bench.store.database.read(
        lambda c: c.execute(sa.select(audit).where(audit.c.id == row_id)).one()
    )
    return plain_hash({**row._asdict(), "actor": "X"})


def test_a_chain_rewritten_as_a_whole_lacks_the_signature(bench: Bench) -> None:
    write(bench, 5)
    bench.store.audit.seal()
    (bench.settings.node.data_dir / "audit.key").write_text("0" * 64)
    fault = bench.store.audit.verify()
    assert fault is not None
    assert "signature" in fault.reason


def test_the_key_is_for_the_nodes_eyes_only(bench: Bench) -> None:
    write(bench, 1)
    bench.store.audit.seal()
    assert (bench.settings.node.data_dir / "audit.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "statement", ["UPDATE audit SET actor = 'X'", "DELETE FROM audit", "DELETE FROM audit_seal"]
)
def test_the_log_takes_additions_only(bench: Bench, statement: str) -> None:
    write(bench, 3)
    bench.store.audit.seal()
    with pytest.raises(StorageUnavailable):
        bench.store.database.write(lambda c: c.execute(sa.text(statement)))
    assert bench.store.audit.verify() is None


def test_sealing_while_many_write_misses_nobody(open_store: OpenStore) -> None:
    bench = open_store()
    stop = threading.Event()
    sealed: list[int] = []

    def seal() -> None:
        while not stop.is_set():
            sealed.append(bench.store.audit.seal())

    sealer = threading.Thread(target=seal)
    writers = [threading.Thread(target=write, args=(bench, 40)) for _ in range(6)]
    for thread in (sealer, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    sealer.join()
    sealed.append(bench.store.audit.seal())
    assert sum(sealed) == 240
    assert bench.store.audit.verify() is None


def test_a_seal_spans_more_rows_than_fit_a_batch(bench: Bench) -> None:

    records = [AuditRecord(AuditEvent.ECHO_ANSWERED, actor=str(n)) for n in range(9000)]
    bench.store.database.write(lambda c: entries.append(c, START, records))
    assert bench.store.audit.seal() == 9000
    assert bench.store.audit.verify() is None
    tamper(bench, "UPDATE audit SET actor = 'X' WHERE id = 8999")
    fault = bench.store.audit.verify()
    assert fault is not None
    assert fault.row_id == 8999


# --- asking -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (AuditFilter(), [1, 2, 3, 4, 5]),
        (AuditFilter(accession_number="A1"), [1, 2]),
        (AuditFilter(patient_id="P2"), [3]),
        (AuditFilter(study_instance_uid="1.9"), [3]),
        (AuditFilter(ae_title="PACS"), [4]),
        (AuditFilter(event=AuditEvent.IMAGE_READ), [2]),
        (AuditFilter(outcome=Outcome.FAILED), [5]),
        (AuditFilter(outcome=Outcome.OK, accession_number="A1"), [1, 2]),
        (AuditFilter(since_utc=START + timedelta(seconds=2)), [3, 4, 5]),
        (AuditFilter(until_utc=START + timedelta(seconds=2)), [1, 2]),
        (AuditFilter(accession_number="nobody's"), []),
    ],
)
def test_every_filter(bench: Bench, wanted: AuditFilter, ids: list[int]) -> None:
    for record in (
        AuditRecord(AuditEvent.INSTANCE_STORED, accession_number="A1", patient_id="P1"),
        AuditRecord(AuditEvent.IMAGE_READ, accession_number="A1", patient_id="P1"),
        AuditRecord(AuditEvent.REPORT_MADE, patient_id="P2", study_instance_uid="1.9"),
        AuditRecord(AuditEvent.OBJECT_DELIVERED, ae_title="PACS"),
        AuditRecord(AuditEvent.DELIVERY_FAILED, Outcome.FAILED),
    ):
        bench.store.audit.append(record)
        bench.clock.forward(1)
    upwards = bench.store.audit.query(wanted, actor="me", newest_first=False)
    assert [e.id for e in upwards if e.record.event != "audit_queried"] == ids
    downwards = bench.store.audit.query(wanted, actor="me")
    found = [e.id for e in downwards if e.record.event != "audit_queried"]
    assert found == ids[::-1]


def test_long_answers_come_in_pages_and_limits_hold(bench: Bench) -> None:

    records = [AuditRecord(AuditEvent.ECHO_ANSWERED, actor=str(n)) for n in range(2500)]
    bench.store.database.write(lambda c: entries.append(c, START, records))
    wanted = AuditFilter(event=AuditEvent.ECHO_ANSWERED)
    query = bench.store.audit.query
    assert [e.record.actor for e in query(wanted, actor="me", limit=None, newest_first=False)] == [
        str(n) for n in range(2500)
    ]
    assert [e.record.actor for e in query(wanted, actor="me", limit=1500)][-1] == "1000"
    assert len(list(query(wanted, actor="me", limit=3))) == 3


def test_who_asks_is_on_the_log(bench: Bench) -> None:
    write(bench, 1)
    list(bench.store.audit.query(AuditFilter(patient_id="P1"), actor="anna"))
    bench.store.audit.get(1, actor="bert")
    bench.store.audit.verify(actor="carl")
    found = list(bench.store.audit.query(AuditFilter(), actor="dora", newest_first=False))
    asked = [(e.record.actor, e.record.event.value, e.record.patient_id) for e in found[1:]]
    assert asked == [
        ("anna", "audit_queried", "P1"),
        ("bert", "audit_queried", ""),
        ("carl", "audit_verified", ""),
        ("dora", "audit_queried", ""),
    ]


def test_one_row_with_everything_in_it(bench: Bench) -> None:
    record = AuditRecord(
        AuditEvent.IMAGE_READ,
        actor="w",
        patient_id="Ü 1",
        detail={"timings_ms": {"p": 0.25}, "hips": [1, "a"]},
    )
    bench.store.audit.append(record)
    entry = bench.store.audit.get(1, actor="me")
    assert entry is not None
    assert entry.record == record
    assert entry.at_utc == START
    assert bench.store.audit.get(999, actor="me") is None


def test_days_count_sealed_and_unsealed_rows_once_each(bench: Bench) -> None:
    """Counted while it is sealed, in batches, and again after more has come."""

    def write_on(day: int, event: AuditEvent, outcome: Outcome, count: int) -> None:
        records = [AuditRecord(event, outcome)] * count
        moment = START - timedelta(days=day)
        bench.store.database.write(lambda c: entries.append(c, moment, records))

    def counted(days: int) -> dict[tuple[int, str, str], int]:
        return {
            ((START.date() - found.day).days, found.event.value, found.outcome.value): found.number
            for found in bench.store.audit.days(days, actor="me")
            if found.event is not AuditEvent.AUDIT_QUERIED
        }

    write_on(40, AuditEvent.ECHO_ANSWERED, Outcome.OK, 5)
    write_on(2, AuditEvent.ECHO_ANSWERED, Outcome.OK, 7)
    write_on(2, AuditEvent.ASSOCIATION_REFUSED, Outcome.REFUSED, 3)
    bench.store.audit.seal()
    write_on(2, AuditEvent.ECHO_ANSWERED, Outcome.OK, 1)
    expected = {
        (2, "association_refused", "refused"): 3,
        (2, "echo_answered", "ok"): 8,
    }
    assert counted(30) == expected
    bench.store.audit.seal()
    bench.store.audit.seal()
    assert counted(30) == expected
    assert counted(41) == expected | {(40, "echo_answered", "ok"): 5}
    assert counted(1) == {}
    assert bench.store.audit.verify() is None
