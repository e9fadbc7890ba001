"""What a clock that jumps has done to the times in the ledger.

A clock that jumps ahead makes leases expire early: tokens see to it that nothing is written twice.
One that is set back leaves times far ahead, until which jobs would wait; they are brought back.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, and_, select, update

from hipnode.domain import JobKind
from hipnode.settings import QueueSettings
from hipnode.storage.database.schema import NEVER, destination, job, study
from hipnode.storage.ledger.jobs import IS_CLAIMED, IS_QUEUED, Queue

_SLACK: Final = timedelta(minutes=1)
_PAGE: Final = 1000


def _late_jobs(settings: QueueSettings, now: datetime) -> Any:
    limit = now + timedelta(seconds=settings.backoff_cap_s) + _SLACK
    return (
        select(job)
        .join(study, study.c.study_instance_uid == job.c.study_instance_uid)
        .where(
            IS_QUEUED,
            job.c.due_utc > limit,
            job.c.due_utc != NEVER,
            (job.c.kind != JobKind.REPORT) | (study.c.last_received_utc > now + _SLACK),
        )
        .limit(_PAGE)
    )


def _long_leases(settings: QueueSettings, now: datetime) -> Any:
    limit = now + timedelta(seconds=2 * settings.lease_s) + _SLACK
    return and_(IS_CLAIMED, job.c.lease_until_utc > limit)


def _long_pauses(settings: QueueSettings, now: datetime) -> Any:
    limit = now + timedelta(seconds=settings.backoff_cap_s) + _SLACK
    return destination.c.paused_until_utc > limit


def is_wrong(settings: QueueSettings, now: datetime, connection: Connection) -> bool:
    """Tell whether any time is further ahead than the settings allow."""
    return any(
        connection.execute(statement.limit(1)).first() is not None
        for statement in (
            _late_jobs(settings, now),
            select(job.c.id).where(_long_leases(settings, now)),
            select(destination.c.name).where(_long_pauses(settings, now)),
        )
    )


def mend(queue: Queue, settings: QueueSettings, now: datetime, connection: Connection) -> int:
    """Bring such times back; return how many those were."""
    late = connection.execute(_late_jobs(settings, now)).all()
    for row in late:
        queue.set_due(connection, row, now, row.priority)
    leases = connection.execute(
        update(job)
        .where(_long_leases(settings, now))
        .values(lease_until_utc=now + timedelta(seconds=settings.lease_s))
    )
    pauses = connection.execute(
        update(destination).where(_long_pauses(settings, now)).values(paused_until_utc=now)
    )
    received = study.c.last_received_utc
    connection.execute(update(study).where(received > now + _SLACK).values(last_received_utc=now))
    return len(late) + int(leases.rowcount) + int(pauses.rowcount)
