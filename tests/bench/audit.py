"""The audit log: appending with tamper evidence, and what is typically asked of a long one."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from hipnode.domain import AuditEvent, AuditRecord, Outcome
from hipnode.storage import AuditFilter, Store
from hipnode.storage.database.schema import audit
from hipnode.storage.upkeep.clock import utc_now
from tests.bench import databases
from tests.bench.harness import Run, Table, Target, rate

WRITERS: Final = 16
_PLAIN: Final = "plain insert of the same columns"
_ROWS: Final = 10_000_000
_DAYS: Final = 60
# One row in 200 is refused; 25 rows a study; two thirds of the last month's lie in the window.
_FILL: Final = (
    "INSERT INTO audit (at_utc, event, outcome, actor, study_instance_uid, sop_instance_uid,"
    " patient_id, accession_number, ae_title, detail, row_hash)"
    " SELECT {now} - ({rows} - CAST(n AS BIGINT)) * {step},"
    " CASE n % 5 WHEN 0 THEN 'instance_stored' WHEN 1 THEN 'job_claimed' WHEN 2 THEN 'image_read'"
    " WHEN 3 THEN 'report_made' ELSE 'object_delivered' END,"
    " CASE n % 200 WHEN 0 THEN 'refused' ELSE 'ok' END, 'MODALITY', '1.2.826.0.1.' || n / 25,"
    " '1.2.826.0.2.' || n, 'P' || n / 75, 'A' || n / 25, 'CT' || n % 40,"
    """ '{{"bytes"\\:10756876,"called_ae"\\:"HIPNODE"}}',"""
    " 'b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d26111' || (10 + n % 90)"
    " FROM {numbers} AS g"
)


def tables(run: Run) -> Iterator[Table]:
    """Yield the tables of this measurement."""
    rows = _ROWS if run.full else run.size(500_000, 20_000)
    with databases.server() as server:
        for engine in databases.ENGINES:
            with databases.store(engine, run.new_folder("audit"), server) as store:
                yield _append(run, engine, store)
                yield from _questions(run, engine, store, rows)


def _append(run: Run, engine: str, store: Store) -> Table:
    record = AuditRecord(
        AuditEvent.INSTANCE_STORED,
        actor="MODALITY",
        study_instance_uid="1.2.3",
        sop_instance_uid="1.2.3.4",
        patient_id="P1",
        accession_number="A1",
        ae_title="MODALITY",
        detail={"called_ae": "HIPNODE", "bytes": 10756876, "blake3": "0" * 64},
    )
    values = {
        "at_utc": utc_now(),
        "event": "instance_stored",
        "outcome": "ok",
        "actor": "MODALITY",
        "study_instance_uid": "1.2.3",
        "sop_instance_uid": "1.2.3.4",
        "patient_id": "P1",
        "accession_number": "A1",
        "ae_title": "MODALITY",
        "detail": '{"bytes":10756876,"called_ae":"HIPNODE","blake3":"' + "0" * 64 + '"}',
        "row_hash": "",
    }
    statement = sa.insert(audit)
    stop = threading.Event()

    def seal() -> None:
        while not stop.wait(1):
            store.audit.seal()

    table = Table(
        f"Audit: append, {engine}, {WRITERS} writers",
        "rows/s",
        targets=(Target(_PLAIN, at_least=0.9),),
        notes=["each row is durable when its writer goes on; the sealer runs beside both"],
    )
    count = WRITERS * run.size(150, 10)
    contestants = {
        "hipnode": lambda: rate(WRITERS, count, lambda: store.audit.append(record)),
        _PLAIN: lambda: rate(
            WRITERS, count, lambda: store.database.write(lambda c: c.execute(statement, values))
        ),
    }
    sealer = threading.Thread(target=seal)
    sealer.start()
    try:
        return table.run(contestants, run.rounds)
    finally:
        stop.set()
        sealer.join()


def _questions(run: Run, engine: str, store: Store, rows: int) -> Iterator[Table]:
    step_us = _DAYS * 86_400_000_000 // rows
    statement = _FILL.replace("{rows}", str(rows)).replace("{step}", str(step_us))
    databases.insert(store, (statement,), 1, rows)
    start_s = time.perf_counter()
    store.audit.seal()
    sealed = rows / (time.perf_counter() - start_s)
    now = utc_now()
    day, month = now - timedelta(days=1), now - timedelta(days=30)

    def ask(wanted: AuditFilter, limit: int) -> Callable[[], object]:
        return lambda: list(store.audit._pages(wanted, limit, True))

    questions = {
        "one accession number": ask(AuditFilter(accession_number=f"A{rows // 50}"), 1000),
        "one patient, newest 100": ask(AuditFilter(patient_id=f"P{rows // 150}"), 100),
        "one hour, newest 200": ask(AuditFilter(since_utc=now - timedelta(hours=1)), 200),
        "one sender in a day, newest 200": ask(AuditFilter(since_utc=day, ae_title="CT7"), 200),
        "refused in a day, newest 200": ask(
            AuditFilter(since_utc=day, outcome=Outcome.REFUSED), 200
        ),
        "one event in a month, newest 200": ask(
            AuditFilter(since_utc=month, event=AuditEvent.IMAGE_READ), 200
        ),
        "histogram of 30 days": lambda: store.audit.days(30, actor="bench"),
    }
    for name, question in questions.items():
        table = Table(
            f"Audit: {name}, {engine}, {rows:,} rows",
            "ms",
            ours="hipnode, p95",
            targets=(Target(at_most=50),),
        )
        table.values = {"hipnode, p95": [], "hipnode, median": []}
        for _ in range(run.rounds):
            times = [_milliseconds(question) for _ in range(20)]
            table.values["hipnode, p95"].append(statistics.quantiles(times, n=20)[-1])
            table.values["hipnode, median"].append(statistics.median(times))
        if name.startswith("histogram"):
            table.notes.append(f"from counts that are kept while sealing: {sealed:,.0f} rows/s")
        yield table


def _milliseconds(question: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    question()
    return (time.perf_counter() - start_s) * 1000
