"""A clock that jumps: nothing is lost or done twice, nothing waits until it is that late again."""

from __future__ import annotations

import pytest

from hipnode.domain import JobKind, JobState
from hipnode.errors import LeaseLost
from tests.db.conftest import Bench, OpenStore

DAY_S = 86400.0


@pytest.fixture
def busy(open_store: OpenStore) -> Bench:
    """One study waits for its PACS, one to be quiet, and two to be read."""
    bench = open_store()
    bench.receive("1.1", "1")
    bench.read()
    bench.report()
    away = bench.take(JobKind.DELIVER, destination="pacs")
    bench.store.ledger.retry(away, "no connection", count_attempt=False)
    bench.receive("2.1", "2", quiet_s=3600)
    bench.read()
    bench.receive("3.1", "3")
    bench.receive("4.1", "4")
    return bench


def finish(bench: Bench) -> None:
    """Do whatever can be done now; an hour later, the study that waits for quiet."""
    for _ in range(2):
        while (job := bench.claim(*JobKind)) is not None:
            {JobKind.READ: bench.read, JobKind.REPORT: bench.report}.get(job.kind, bench.deliver)(
                job
            )
        bench.clock.forward(3700)
    assert bench.store.ledger.account().delivered == 4
    bench.store.audit.seal()
    assert bench.store.audit.verify() is None


def test_ahead_by_a_day(busy: Bench) -> None:
    held = busy.take(JobKind.READ)
    busy.clock.forward(DAY_S)
    assert busy.store.ledger.expire_leases() == 1, "the holder seems to have been silent for a day"
    busy.read(busy.take(JobKind.READ))
    busy.read(busy.take(JobKind.READ))
    with pytest.raises(LeaseLost):
        busy.read(held)
    finish(busy)


def test_back_by_a_day(busy: Bench) -> None:
    held = busy.take(JobKind.READ)
    busy.clock.forward(-DAY_S)
    assert busy.claim(JobKind.READ) is None, "all of it lies ahead"
    assert busy.store.ledger.mend_times() == 5
    assert busy.store.ledger.mend_times() == 0
    busy.read(held)  # whoever has it in hand goes on
    assert busy.store.ledger.job(held.id).state is JobState.DONE
    finish(busy)


def test_back_by_a_day_while_a_holder_died(busy: Bench) -> None:
    held = busy.take(JobKind.READ)
    busy.clock.forward(-DAY_S)
    busy.store.ledger.mend_times()
    busy.clock.forward(61)
    assert busy.store.ledger.expire_leases() == 1, "its lease does not last a day longer"
    assert busy.store.ledger.job(held.id).state is JobState.QUEUED
    finish(busy)


def test_waits_that_are_meant_stay(busy: Bench) -> None:
    assert busy.store.ledger.mend_times() == 0
    (waiting,) = [j for j in busy.store.ledger.jobs(study_uid="2") if j.kind is JobKind.REPORT]
    assert (waiting.due_utc - busy.clock()).total_seconds() == 3600
