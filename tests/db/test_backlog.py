"""A claim costs the same whatever the backlog: counted in steps and pages, not in seconds."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from hipnode.domain import JobKind
from hipnode.storage.database.schema import metadata, to_us
from tests.db.conftest import Bench

KINDS = (JobKind.READ, JobKind.REPORT)
_NUMBERS = {
    "sqlite": "(WITH RECURSIVE g(n) AS (SELECT {0} UNION ALL SELECT n + 1 FROM g WHERE n < {1}) "
    "SELECT n FROM g)",
    "postgresql": "(SELECT n FROM generate_series({0}, {1}) AS s(n))",
}


def fill(bench: Bench, first: int, last: int) -> None:
    """Queue readings and deliveries in every priority, half of them not due yet."""
    now = to_us(bench.clock.now)
    numbers = _NUMBERS[bench.store.database.engine.dialect.name].format(first, last)
    common = "created_utc, due_utc, priority, position_us, study_instance_uid"
    values = f"{now}, {now} + n % 2 * 1000000000 - n, n % 21 - 10, n, 'S' || n"
    source = f"FROM {numbers} AS g"
    job = f"INSERT INTO job (key, kind, state, model_set, destination, {common}) SELECT"
    statements = [
        (
            "INSERT INTO study (study_instance_uid, received_utc, last_received_utc) "
            f"SELECT 'S' || n, 0, 0 {source}"
        ),
        f"{job} 'read:' || n, 'read', 'queued', 'set-a', '', {values} {source}",
        f"{job} 'deliver:' || n, 'deliver', 'queued', '', 'pacs', {values} {source}",
        "INSERT INTO destination (name) VALUES ('pacs') ON CONFLICT DO NOTHING",
        "ANALYZE",
    ]
    for statement in statements:
        bench.store.database.write(lambda c, s=statement: c.execute(sa.text(s)))  # type: ignore[misc]


def steps(bench: Bench) -> int:
    """Return how many instructions SQLite's machine runs to find what goes next."""
    count = 0

    def look(connection: sa.Connection) -> None:
        nonlocal count
        raw = connection.connection.dbapi_connection
        assert raw is not None

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        raw.set_progress_handler(step, 1)
        ledger = bench.store.ledger
        assert ledger._next(connection, KINDS, bench.clock.now, "", False) is not None
        ledger._next(connection, (JobKind.DELIVER,), bench.clock.now, "pacs", False)
        raw.set_progress_handler(None, 1)

    bench.store.database.read(look)
    return count


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_claim_takes_as_many_steps_with_any_backlog(bench: Bench) -> None:
    fill(bench, 1, 1_000)
    few = steps(bench)
    fill(bench, 1_001, 100_000)
    many = steps(bench)
    assert 0 < many <= 1.2 * few


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_claim_touches_few_pages_with_any_backlog(bench: Bench) -> None:
    fill(bench, 1, 100_000)
    pages = 0

    def note(_c: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        nonlocal pages
        if statement.startswith(("SELECT", "UPDATE")) and "pg_notify" not in statement:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
            plan = cursor.fetchone()[0][0]
            pages += plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]

    engine = bench.store.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        bench.store.database.read(
            lambda c: bench.store.ledger._next(c, KINDS, bench.clock.now, "", True)
        )
        bench.store.database.read(
            lambda c: bench.store.ledger._next(c, (JobKind.DELIVER,), bench.clock.now, "pacs", True)
        )
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    assert 0 < pages < 400


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_on_an_images_way_scans_a_table(bench: Bench) -> None:
    seen: dict[str, Any] = {}

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.split(maxsplit=1)[0] in {"SELECT", "UPDATE", "INSERT"}:
            seen.setdefault(statement, parameters)

    engine = bench.store.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    bench.receive("1.1", "1")
    bench.receive("1.1", "1")
    bench.read()
    bench.report()
    bench.store.recovery.retry(bench.take(JobKind.DELIVER), "away", count_attempt=False)
    bench.clock.forward(1000)
    bench.deliver()
    bench.store.ledger.release(["1"])
    bench.store.recovery.expire_leases()
    bench.store.readings.of_study("1", "set-a")
    sa.event.remove(engine, "before_cursor_execute", note)
    assert len(seen) > 20
    small = {"destination"}  # a handful of rows
    for statement, parameters in seen.items():
        plan = bench.store.database.read(
            lambda c, s=statement, p=parameters: [  # type: ignore[misc]
                row[3] for row in c.exec_driver_sql(f"EXPLAIN QUERY PLAN {s}", p)
            ]
        )
        scanned = {
            step.split()[1]
            for step in plan
            if step.startswith("SCAN")
            and step.split()[1] in metadata.tables
            and "ix_job_claimed" not in step  # holds what is being worked on, and no more
        }
        assert scanned <= small, f"{statement}\n{plan}"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_usual_questions_to_the_audit_log_use_an_index(bench: Bench) -> None:
    from hipnode.domain import AuditEvent, Outcome
    from hipnode.storage import AuditFilter

    statements: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    engine = bench.store.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    for wanted in (
        AuditFilter(accession_number="A"),
        AuditFilter(patient_id="P"),
        AuditFilter(study_instance_uid="1"),
        AuditFilter(ae_title="PACS"),
        AuditFilter(event=AuditEvent.IMAGE_READ),
        AuditFilter(outcome=Outcome.FAILED),
        AuditFilter(since_utc=bench.clock.now),
        AuditFilter(),
    ):
        list(bench.store.audit.query(wanted, actor="me"))
    sa.event.remove(engine, "before_cursor_execute", note)
    assert len(statements) == 8
    for statement, parameters in statements:
        plan = bench.store.database.read(
            lambda c, s=statement, p=parameters: [  # type: ignore[misc]
                row[3] for row in c.exec_driver_sql(f"EXPLAIN QUERY PLAN {s}", p)
            ]
        )
        assert any("USING INDEX" in step for step in plan), f"{statement}\n{plan}"
        assert not any("USE TEMP B-TREE FOR ORDER BY" in step for step in plan), statement
