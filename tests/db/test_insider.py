"""Ways in which an insider tries to change a sealed answer, each of them tried.

Each way of `hipnode.services.torture.insider` is tried on a log of its own, a housekeeper seals
afterwards as it would, and the log is verified against the heads that were kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from hipnode.domain import AuditRecord
from hipnode.services.torture import insider
from hipnode.services.torture.insider import (
    CUTS,
    WITH_FILES_TOO,
    WITH_THE_DATABASE,
    Way,
    acknowledge_it_themselves,
)
from hipnode.storage import Head
from hipnode.storage.audit.epochs import AuditFault
from tests.db.conftest import Bench
from tests.db.test_audit import tamper


class Log(insider.Log):
    """On either engine, with a clock that goes when it is told to."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        super().__init__(bench.store)

    def sql(self, statement: str, **values: object) -> list[dict[str, Any]]:
        tamper(self.bench, "SELECT 1")  # past the triggers

        def work(connection: sa.Connection) -> list[dict[str, Any]]:
            done = connection.execute(sa.text(statement), values)
            return [dict(row) for row in done.mappings()] if done.returns_rows else []

        return self.bench.store.database.write(work)

    def write(self, record: AuditRecord) -> None:
        self.bench.clock.forward(1)
        super().write(record)


@pytest.fixture
def log(bench: Bench) -> Log:
    return Log(bench)


def named(log: Log, against: Sequence[Head] = ()) -> tuple[AuditFault, ...]:
    return log.store.audit.report(against=against).faults


@pytest.mark.parametrize("way", WITH_THE_DATABASE, ids=lambda way: str(way.__name__))
def test_the_database_alone_is_not_enough(log: Log, way: Way) -> None:
    """It is named at once, and once a housekeeper has sealed; nothing kept elsewhere helps."""
    way(log)
    assert named(log)
    if way in CUTS:
        assert log.store.audit.state().fault
    for _ in range(2):
        log.bench.clock.forward(1)
        log.store.audit.seal()
    assert named(log)
    if way in CUTS:
        assert log.store.audit.state().fault


@pytest.mark.parametrize("way", WITH_FILES_TOO, ids=lambda way: str(way.__name__))
def test_files_and_key_are_not_enough_without_the_account_that_keeps_heads(
    log: Log, way: Way
) -> None:
    way(log)
    assert named(log, log.heads)
    log.bench.clock.forward(1)
    log.store.audit.seal()
    assert named(log, log.heads)


def test_the_heads_of_an_untouched_log_are_in_it(log: Log) -> None:
    log.further_rows()
    log.store.audit.seal()
    assert named(log, log.heads) == ()


def test_who_gave_a_head_up_is_named(log: Log) -> None:
    acknowledge_it_themselves(log)
    reasons = [fault.reason for fault in named(log, log.heads)]
    assert any("insider gave it up with epoch 2: a restored backup" in reason for reason in reasons)
