"""Sweeps by the clock. Each is idempotent, so that several hosts may keep the same house."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf
from typing import Final

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from hipnode.domain import AuditEvent, AuditRecord, Outcome
from hipnode.domain.selftest import matter_of
from hipnode.errors import DatabaseDamaged, HipnodeError
from hipnode.faults import Point, reach
from hipnode.log import Event, get_logger
from hipnode.pulse import ROUND_S
from hipnode.services import drifting
from hipnode.services.housekeeper.anchors import Anchors
from hipnode.settings import Settings
from hipnode.storage import Store
from hipnode.storage.upkeep.covariates import retire_covariates

_NAMED: Final = 20
_TASK_S: Final = 600.0
"""After how long a task hangs; but these take as long as there is much to go through."""
_LONG_S: Final = {
    "verify": inf,
    "begin": inf,
    "retire": inf,
    "scrub": inf,
    "check": inf,
    "check_thoroughly": inf,
    "watch_drift": inf,
}
_LOOK_S: Final = 1.0
_DRIFT_S: Final = 3600.0
_GRACE_S: Final = 300.0
"""What the courier gets beyond a self-test's time to end it by itself."""
_SET_S: Final = 2.0


class Housekeeper:
    """What is done by the clock.

    Parameters
    ----------
    settings
        The node's settings.
    store
        Whose house it is.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._log = get_logger(service="housekeeper")
        self._disk_low = False
        self._database_away = False
        self._database_damaged = False
        self._audit_fault = ""
        self._anchors = Anchors(settings.audit)

    def begin(self) -> None:
        """Put right what a crash has left behind, unless the database itself is damaged."""
        self.check()
        self._store.reconcile()
        self._store.sweep_dispatch(thorough=True)

    def sweep(self) -> None:
        """Take back the jobs of holders that fell silent, and watch the disk."""
        expired = self._store.recovery.expire_leases()
        reach(Point.LEASES_EXPIRED)
        orphaned = self._store.sweep_dispatch()
        if mended := self._store.recovery.mend_times():
            self._log.warning(Event.CLOCK_WENT_BACK, count=mended)
        if expired or orphaned:
            self._log.warning(Event.SWEEP_FINISHED, count=expired, waiting=orphaned)
        if taken_up := self._store.take_up():
            self._log.info(Event.SWEEP_FINISHED, count=taken_up)
        self._store.services.forget()
        self._store.self_tests.expire(self._settings.self_test.within_s + _GRACE_S)
        self.watch_disk()

    def watch_disk(self) -> None:
        """Note when the disk runs low; old files then go at once."""
        self._store.files.tidy()
        free = self._store.files.free_bytes()
        limit = self._settings.retention.disk_low_bytes
        turned, self._disk_low = (free < limit) and not self._disk_low, free < limit
        if turned:
            self._log.error(Event.DISK_RAN_LOW, free_bytes=free, limit=limit)
            detail = {"free_bytes": free, "limit_bytes": limit}
            self._store.audit.append(
                AuditRecord(AuditEvent.DISK_LOW, Outcome.FAILED, actor="housekeeper", detail=detail)
            )
        if self._disk_low:
            self.retire()

    def retire(self) -> None:
        """Delete files that are old enough and needed by nothing."""
        self._store.trim_quarantine()
        retired = self._store.retire()
        if retired.images or retired.results:
            self._log.info(Event.SWEEP_FINISHED, count=retired.images + retired.results)
        retire_covariates(self._store.database, self._store.settings.retention, self._store.now())

    def check(self, *, thorough: bool = False) -> None:
        """Look for damage in the database itself; where there is any, nobody writes to it.

        Raises
        ------
        DatabaseDamaged
            If there is.
        """
        found = self._store.check_database(thorough=thorough)
        for problem in found:
            self._log.error(Event.DATABASE_DAMAGED, reason=problem)
        if found:
            raise DatabaseDamaged

    def check_thoroughly(self) -> None:
        """Compare the database's indexes with its tables too."""
        self.check(thorough=True)

    def scrub(self) -> None:
        """Compare an hour's share of what is stored with its digests."""
        if not self._settings.housekeeper.scrub_days:
            return
        done = self._store.scrub(1 / (24 * self._settings.housekeeper.scrub_days))
        if done.damaged:
            self._log.error(Event.FILE_DAMAGED, count=done.damaged)

    def seal(self) -> None:
        """Seal the newest rows of the audit log; say so where it does not go on from its head."""
        fault = self._store.audit.state().fault
        if fault and fault != self._audit_fault:
            self._log.error(Event.AUDIT_BROKEN, reason=fault)
            detail = {"reason": fault}
            self._store.audit.append(
                AuditRecord(
                    AuditEvent.AUDIT_BROKEN, Outcome.FAILED, actor="housekeeper", detail=detail
                )
            )
        self._audit_fault = fault
        self._store.audit.seal()

    def verify(self) -> None:
        """Verify the whole audit log."""
        for fault in self._store.audit.report(actor="housekeeper").faults[:_NAMED]:
            self._log.error(Event.AUDIT_BROKEN, reason=str(fault))

    def ask_self_test(self) -> None:
        """Ask for the day's self-test, unless somebody has: the courier runs it."""
        day = self._store.now().date()
        matter = matter_of(day).word
        self._store.self_tests.ask(day, matter, actor="housekeeper", by_clock=True)

    def watch_drift(self) -> None:
        """Look whether what is read, or what it looks like, has shifted; a person is told if so."""
        found = drifting.watched(self._store, self._store.now())
        self._store.note_fault(drifting.FAULT, found.why)

    def publish(self) -> None:
        """Send the newest head of the audit log to where the database's owner cannot write."""
        if (head := self._store.audit.head()) is not None:
            self._anchors.keep(head)

    def guarded(self, task: Callable[[], object], every_s: float = inf) -> Callable[[], None]:
        """Return ``task`` such that an error ends this run of it and not the housekeeper.

        ``every_s`` is how often it runs: if it does not, or takes too long, the housekeeper hangs.
        """
        name = getattr(task, "__name__", "task")
        pulse = self._store.pulse

        def run_guarded() -> None:
            pulse.went_round(3 * every_s + ROUND_S, loop=name)
            try:
                with pulse.doing(f"at {name}", _LONG_S.get(name, _TASK_S), loop=name):
                    task()
            except DatabaseDamaged as error:
                if not self._database_damaged:
                    self._database_damaged = True
                    self._log.error(Event.DATABASE_DAMAGED, reason=str(error))
            except HipnodeError as error:
                if not self._database_away:
                    self._database_away = True
                    self._log.error(Event.DATABASE_WENT_AWAY, reason=str(error))
            else:
                if self._database_away:
                    self._database_away = False
                    self._log.info(Event.DATABASE_CAME_BACK)

        return run_guarded


def run(settings: Settings, store: Store, stop: threading.Event) -> None:
    """Keep house until ``stop`` is set; a running sweep is finished first.

    Parameters
    ----------
    settings
        The node's settings.
    store
        Whose house it is.
    stop
        Set it to stop.
    """
    keeper = Housekeeper(settings, store)
    keep = settings.housekeeper
    scheduler = BackgroundScheduler(timezone=UTC, job_defaults={"coalesce": True})
    for task, every_s in (
        (keeper.sweep, keep.sweep_s),
        (keeper.seal, keep.seal_s),
        (keeper.publish, settings.audit.head_every_s),
        (keeper.retire, max(3600.0, keep.sweep_s)),
        (keeper.scrub, 3600.0),
        (keeper.watch_drift, _DRIFT_S),
    ):
        scheduler.add_job(keeper.guarded(task, every_s), "interval", seconds=every_s)
    scheduler.add_job(
        keeper.guarded(keeper.verify), "cron", hour=keep.verify_hour_utc, misfire_grace_time=3600
    )
    nightly = {"hour": keep.verify_hour_utc, "misfire_grace_time": 3600}
    scheduler.add_job(keeper.guarded(keeper.check), "cron", minute=30, **nightly)
    weekly = nightly | {"day_of_week": "sun"}
    scheduler.add_job(keeper.guarded(keeper.check_thoroughly), "cron", minute=45, **weekly)
    if settings.self_test.send_to:
        daily = {"hour": settings.self_test.hour_utc, "misfire_grace_time": 3600}
        scheduler.add_job(keeper.guarded(keeper.ask_self_test), "cron", **daily)
    for task in (keeper.begin, keeper.sweep, keeper.seal, keeper.publish):
        keeper.guarded(task)()
    scheduler.start()
    store.pulse.ready = True
    try:
        _wait(scheduler, stop)
    finally:
        scheduler.shutdown(wait=True)
    for task in (keeper.seal, keeper.publish):
        keeper.guarded(task)()


def _wait(scheduler: BackgroundScheduler, stop: threading.Event) -> None:
    """Wait for the end. The scheduler goes by this machine's clock: plan anew where that is set."""
    before_s = _ahead_s()
    while not stop.wait(_LOOK_S):
        now_s = _ahead_s()
        if abs(now_s - before_s) > _SET_S:
            now = datetime.now(UTC)
            for job in scheduler.get_jobs():
                often = isinstance(job.trigger, IntervalTrigger)
                at = now if often else job.trigger.get_next_fire_time(None, now)
                job.modify(next_run_time=at)
        before_s = now_s


def _ahead_s() -> float:
    """Return how far the clock is from the count of seconds that nobody can set."""
    return time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
