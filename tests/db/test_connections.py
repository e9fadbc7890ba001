"""Connections to PostgreSQL break while nobody uses them, or in the middle of their work."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, event, text

from hipnode.domain import AuditEvent, AuditRecord
from hipnode.errors import StorageUnavailable
from hipnode.storage import AuditFilter
from hipnode.storage.audit.entries import append
from tests.db.conftest import Bench

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

OTHERS = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
NOTE = AuditRecord(AuditEvent.SERVICE_STARTED, actor="test")


def notes(bench: Bench) -> int:
    wanted = AuditFilter(event=NOTE.event)
    return len(list(bench.store.audit.query(wanted, actor="test")))


def cut_off(bench: Bench) -> None:
    """End every connection, as a restart of the server does."""
    with bench.store.database.engine.connect() as connection:
        connection.execute(OTHERS)
        connection.invalidate()


def test_a_connection_that_broke_unnoticed_costs_nobody_anything(bench: Bench) -> None:
    for _ in range(2):
        bench.store.audit.append(NOTE)
        cut_off(bench)
    bench.store.audit.append(NOTE)
    cut_off(bench)
    assert bench.store.lookups.overview().jobs == {}
    assert notes(bench) == 3


def test_a_transaction_whose_connection_breaks_is_run_again_as_a_whole(bench: Bench) -> None:
    tries = 0

    def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        append(connection, bench.clock(), [NOTE])
        if tries == 1:
            cut_off(bench)
        append(connection, bench.clock(), [NOTE])

    bench.store.database.write(work)
    assert tries == 2
    assert notes(bench) == 2


def test_a_commit_that_breaks_is_not_run_again(bench: Bench) -> None:
    """It may have been done: only its caller can find out."""
    tries = 0

    def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        append(connection, bench.clock(), [NOTE])

    def break_it(_connection: Connection) -> None:
        cut_off(bench)

    engine = bench.store.database.engine
    event.listen(engine, "commit", break_it)
    try:
        with pytest.raises(StorageUnavailable):
            bench.store.database.write(work)
    finally:
        event.remove(engine, "commit", break_it)
    assert tries == 1
    assert notes(bench) == 0
