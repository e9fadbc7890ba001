"""A clock that jumps: nothing is lost or done twice, nothing waits until it is that late again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import time_machine

from hipnode.domain import AuditEvent, AuditRecord, JobKind, JobState
from hipnode.errors import LeaseLost
from hipnode.services import housekeeper
from hipnode.settings import Settings
from hipnode.storage import Beat, Store
from hipnode.storage.upkeep.clock import DatabaseClock, utc_now
from hipnode.storage.upkeep.services import Services
from tests.db.conftest import Bench, OpenStore
from tests.peers import eventually

DAY_S = 86400.0
FORGET_BOOT = (
    "DELETE FROM mark WHERE name LIKE 'clock:%' AND name NOT IN ('clock:seen', 'clock:held until')"
)


@pytest.fixture
def busy(open_store: OpenStore) -> Bench:
    """One study waits for its PACS, one to be quiet, and two to be read."""
    bench = open_store()
    bench.receive("1.1", "1")
    bench.read()
    bench.report()
    away = bench.take(JobKind.DELIVER, destination="pacs")
    bench.store.recovery.retry(away, "no connection", count_attempt=False)
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
    assert bench.store.lookups.account().delivered == 4
    bench.store.audit.seal()
    assert bench.store.audit.verify() is None


def test_ahead_by_a_day(busy: Bench) -> None:
    held = busy.take(JobKind.READ)
    busy.clock.forward(DAY_S)
    assert busy.store.recovery.expire_leases() == 1, (
        "the holder seems to have been silent for a day"
    )
    busy.read(busy.take(JobKind.READ))
    busy.read(busy.take(JobKind.READ))
    with pytest.raises(LeaseLost):
        busy.read(held)
    finish(busy)


def test_back_by_a_day(busy: Bench) -> None:
    held = busy.take(JobKind.READ)
    busy.clock.forward(-DAY_S)
    assert busy.claim(JobKind.READ) is None, "all of it lies ahead"
    assert busy.store.recovery.mend_times() == 5
    assert busy.store.recovery.mend_times() == 0
    busy.read(held)  # whoever has it in hand goes on
    assert busy.store.lookups.job(held.id).state is JobState.DONE
    finish(busy)


def test_back_by_a_day_while_a_holder_died(busy: Bench) -> None:
    held = busy.take(JobKind.READ)
    busy.clock.forward(-DAY_S)
    busy.store.recovery.mend_times()
    busy.clock.forward(61)
    assert busy.store.recovery.expire_leases() == 1, "its lease does not last a day longer"
    assert busy.store.lookups.job(held.id).state is JobState.QUEUED
    finish(busy)


def test_waits_that_are_meant_stay(busy: Bench) -> None:
    assert busy.store.recovery.mend_times() == 0
    (waiting,) = [j for j in busy.store.lookups.jobs(study_uid="2") if j.kind is JobKind.REPORT]
    assert (waiting.due_utc - busy.clock()).total_seconds() == 3600


# --- which clock that is -------------------------------------------------------------------------


def now_ahead(days: float = 0.0, seconds: float = 0.0) -> Callable[[], datetime]:
    return lambda: utc_now() + timedelta(days=days, seconds=seconds)


def off_s(clock: DatabaseClock) -> float:
    """Return how far a clock is from the truth."""
    return round((clock() - utc_now()).total_seconds(), 1)


def test_one_machine_tells_another_time(bench: Bench) -> None:
    database = bench.store.database
    right = DatabaseClock(database)
    database.write(right.follow)
    for days in (400, -1):
        wrong = DatabaseClock(database, now_ahead(days))
        wrong.ask()
        assert off_s(wrong) == 0
        database.write(wrong.follow)
        assert (off_s(wrong), off_s(right)) == (0, 0)


def test_sqlites_clock_follows_when_all_services_say_that_it_was_set(tmp_path: Path) -> None:
    settings = Settings.model_validate({"node": {"data_dir": tmp_path}})
    store = Store.open(settings, migrate=True)
    told = dict.fromkeys(("listener", "worker"), 0.0)
    clocks, services = {}, {}
    for name in told:
        clock = DatabaseClock(store.database, lambda n=name: utc_now() + timedelta(seconds=told[n]))
        clocks[name] = clock
        services[name] = Services(store.database, clock, clock.machine, clock.follow)
        services[name].begin(Beat(name, "here", os.getpid(), "1", "s"))
    told["worker"] = 3600.0
    for name in told:
        services[name].beat(Beat(name, "here", os.getpid(), "1", "s"))
    assert off_s(clocks["worker"]) == 0, "the listener knows better"
    told["listener"] = 3600.0
    for name in (*told, *told):
        services[name].beat(Beat(name, "here", os.getpid(), "1", "s"))
    assert {off_s(clock) for clock in clocks.values()} == {3600.0}
    store.close()


def test_a_clock_that_leapt_deletes_nothing_for_a_day(tmp_path: Path) -> None:
    """As a machine's does that starts with a wrong date; it is named, and then believed."""
    settings = Settings.model_validate({"node": {"data_dir": tmp_path}})
    store = Store.open(settings, migrate=True)
    aside = tmp_path / "quarantine" / "strange"
    aside.write_bytes(b"x")
    os.utime(aside, (0, 0))

    def start(days: float) -> Store:
        """Start the machine anew, with a clock so far ahead."""
        store.database.write(lambda c: c.execute(sa.text(FORGET_BOOT)))
        clock = DatabaseClock(store.database, now_ahead(days))
        store.database.write(clock.follow)
        store.now = clock
        return store

    assert start(0).faults() == []
    (fault,) = start(400).faults()
    assert "last alive 400 days ago" in fault
    assert store.trim_quarantine() == 0
    assert start(400.9).trim_quarantine() == 0
    assert start(401.1).faults() == []
    assert store.trim_quarantine() == 1
    store.close()


def test_the_housekeeper_goes_on_when_its_machines_clock_is_set_back(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"node": {"data_dir": tmp_path}, "housekeeper": {"seal_s": 0.2}}
    )
    store, stop = Store.open(settings, migrate=True), threading.Event()
    keeper = threading.Thread(target=housekeeper.run, args=(settings, store, stop))

    def is_sealed() -> bool:
        return store.vitals().unsealed == 0

    keeper.start()
    try:
        eventually(lambda: store.pulse.ready)
        with time_machine.travel(datetime.now(UTC) - timedelta(days=400)):
            for _ in range(2):
                store.audit.append(AuditRecord(AuditEvent.ECHO_ANSWERED))
                eventually(is_sealed, what="the log is sealed")
    finally:
        stop.set()
        keeper.join()
        store.close()
