"""The outbox of each destination: its order, and whether the destination is there."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select, update

from hipnode.domain import Attention, JobKind
from hipnode.storage.audit import entries
from hipnode.storage.database.dialects import in_both, run
from hipnode.storage.database.schema import PRIORITIES, destination, job, to_us
from hipnode.storage.ledger.jobs import IS_QUEUED, Queue

_STEPS: Final = {Attention.NOW: 4, Attention.SOON: 1, Attention.ROUTINE: 0}
"""How many steps of priority what was found is worth."""


def enqueue(
    queue: Queue,
    connection: Connection,
    now: datetime,
    report: Row[Any],
    result_id: int,
    name: str,
    attention: Attention,
    patient_id: str | None = None,
) -> None:
    """Put an object in a destination's outbox.

    Urgent studies overtake others there, those by rule and those by what was found; but no object
    overtakes an earlier one of its own study. ``patient_id`` says whose the object is; None: the
    study's.
    """
    priority = min(PRIORITIES[0], report.priority + _STEPS[attention])
    run(connection, _KNOW, {"name": name})
    before = connection.execute(
        select(func.max(job.c.position_us)).where(
            IS_QUEUED,
            job.c.study_instance_uid == report.study_instance_uid,
            job.c.kind == JobKind.DELIVER,
            job.c.destination == name,
        )
    ).scalar()
    position = to_us(now - priority * queue.ageing)
    queue.enqueue(
        connection,
        now,
        key=f"deliver:{result_id}:{name}",
        kind=JobKind.DELIVER,
        study_instance_uid=report.study_instance_uid,
        patient_id=report.patient_id if patient_id is None else entries.storable(patient_id),
        accession_number=report.accession_number,
        priority=priority,
        result_id=result_id,
        destination=name,
        model_set=report.model_set,
        position_us=max(position, before or position),
    )


def note_claim(connection: Connection, name: str, now: datetime) -> None:
    """Remember whose turn it was."""
    _set(connection, name, claimed_utc=now)


def went_away(
    queue: Queue, connection: Connection, name: str, now: datetime, error: str, *, rejects: bool
) -> datetime:
    """Pause a destination that does not answer, or rejects us; return until when."""
    row = connection.execute(
        select(destination).where(destination.c.name == name).with_for_update()
    ).one()
    until = queue.backoff_until(now, row.failures + 1)
    _set(
        connection,
        name,
        failures=row.failures + 1,
        paused_until_utc=until,
        away_since_utc=row.away_since_utc or now,
        rejects=rejects,
        error=error,
    )
    return until


def came_back(connection: Connection, name: str, now: datetime, *, delivered: bool) -> None:
    """Note that a destination answers."""
    further = {"last_delivery_utc": now} if delivered else {}
    _set(
        connection,
        name,
        failures=0,
        paused_until_utc=None,
        away_since_utc=None,
        rejects=False,
        error="",
        **further,
    )


def _set(connection: Connection, name: str, **values: Any) -> None:
    connection.execute(update(destination).where(destination.c.name == name).values(**values))


_KNOW = in_both(lambda insert: insert(destination).on_conflict_do_nothing())
