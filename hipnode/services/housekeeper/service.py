"""Sweeps: expired leases, seals of the audit log, its daily verification. All are idempotent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC

from apscheduler.schedulers.background import BackgroundScheduler

from hipnode.errors import HipnodeError
from hipnode.log import Event, get_logger
from hipnode.settings import Settings
from hipnode.storage import Store


def run(settings: Settings, store: Store, stop: threading.Event) -> None:
    """Keep house until ``stop`` is set; a running sweep is finished first."""
    log = get_logger(service="housekeeper")

    def sweep() -> None:
        expired = store.ledger.expire_leases()
        if expired:
            log.warning(Event.SWEEP_FINISHED, count=expired)

    def verify() -> None:
        fault = store.audit.verify(actor="housekeeper")
        if fault is not None:
            log.error(Event.AUDIT_BROKEN, reason=fault.reason)

    def guarded(task: Callable[[], object]) -> Callable[[], None]:
        def wrapper() -> None:
            try:
                task()
            except HipnodeError as error:  # the database is away: the next sweep tries again
                log.error(Event.JOB_FAILED, reason=str(error))

        return wrapper

    scheduler = BackgroundScheduler(timezone=UTC)
    keep = settings.housekeeper
    scheduler.add_job(guarded(sweep), "interval", seconds=keep.sweep_s, max_instances=1)
    scheduler.add_job(guarded(store.audit.seal), "interval", seconds=keep.seal_s, max_instances=1)
    scheduler.add_job(guarded(verify), "cron", hour=keep.verify_hour_utc)
    scheduler.start()
    try:
        guarded(sweep)()
        stop.wait()
    finally:
        scheduler.shutdown(wait=True)
    guarded(store.audit.seal)()
