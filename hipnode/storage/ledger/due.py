"""When a study is reported.

A study has one open report job per model set at most. It is due once no reading of the study is
open and no image came for the quiet period, or the sender has closed its association. An image that
comes after a version was claimed opens the next one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select, update

from hipnode.domain import JobKind, JobState
from hipnode.storage.database.schema import NEVER, job, study
from hipnode.storage.ledger.jobs import Queue

_OPEN = (JobState.QUEUED, JobState.CLAIMED)


def lock_study(connection: Connection, study_uid: str) -> Row[Any]:
    """Take the study's turn: whatever decides about its reports does so one after the other."""
    return connection.execute(_LOCK, {"uid": study_uid}).one()


def latest(connection: Connection, study_uid: str, model_set: str) -> Row[Any] | None:
    """Return and lock the study's newest report job."""
    return connection.execute(_LATEST, {"uid": study_uid, "models": model_set}).first()


def is_superseded(connection: Connection, held: Any) -> bool:
    """Tell whether a newer version of this report has been opened."""
    newer = select(job.c.id).where(
        job.c.study_instance_uid == held.study_instance_uid,
        job.c.kind == JobKind.REPORT,
        job.c.model_set == held.model_set,
        job.c.version > held.version,
    )
    return connection.execute(newer.limit(1)).first() is not None


def is_expected(connection: Connection, held: Any) -> bool:
    """Tell whether a report follows on this reading: none does on one in shadow."""
    return latest(connection, held.study_instance_uid, held.model_set) is not None


def expect(
    queue: Queue, connection: Connection, now: datetime, of: Row[Any], model_set: str
) -> None:
    """Make sure that a report will follow on the reading that has just been queued.

    Parameters
    ----------
    of
        The study's row, locked.
    model_set
        Which model set reads.
    """
    newest = latest(connection, of.study_instance_uid, model_set)
    if newest is not None and newest.state == JobState.QUEUED:
        queue.set_due(connection, newest, NEVER, of.priority)
        return
    version = 1 if newest is None else newest.version + 1
    queue.enqueue(
        connection,
        now,
        key=f"report:{of.study_instance_uid}:{model_set}:{version}",
        kind=JobKind.REPORT,
        study_instance_uid=of.study_instance_uid,
        patient_id=of.patient_id,
        accession_number=of.accession_number,
        priority=of.priority,
        due_utc=NEVER,
        version=version,
        model_set=model_set,
    )


def settle(queue: Queue, connection: Connection, of: Row[Any]) -> None:
    """Recompute when the study's queued reports are due.

    Parameters
    ----------
    of
        The study's row, locked.
    """
    for report in connection.execute(_QUEUED_REPORTS, {"uid": of.study_instance_uid}).all():
        which = {"uid": of.study_instance_uid, "models": report.model_set}
        due = NEVER
        if connection.execute(_OPEN_READING, which).first() is None:
            due = of.released_utc or of.last_received_utc + timedelta(microseconds=of.quiet_us)
        queue.set_due(connection, report, due, of.priority)


def release(queue: Queue, connection: Connection, now: datetime, study_uid: str) -> None:
    """Note that the sender is done with the study for now."""
    statement = (
        update(study)
        .where(study.c.study_instance_uid == study_uid)
        .values(released_utc=now)
        .returning(study)
    )
    if (row := connection.execute(statement).first()) is not None:  # all of it may be discarded
        settle(queue, connection, row)


_OF_STUDY: Final = job.c.study_instance_uid == bindparam("uid")
_OF_MODELS: Final = job.c.model_set == bindparam("models")
_LOCK: Final = (
    select(study)
    .where(study.c.study_instance_uid == bindparam("uid"))
    .with_for_update(key_share=True)
)
_LATEST: Final = (
    select(job)
    .where(_OF_STUDY, job.c.kind == JobKind.REPORT, _OF_MODELS)
    .order_by(job.c.version.desc())
    .limit(1)
    .with_for_update()
)
_QUEUED_REPORTS: Final = select(job).where(
    _OF_STUDY, job.c.kind == JobKind.REPORT, job.c.state == JobState.QUEUED
)
_OPEN_READING: Final = (
    select(job.c.id)
    .where(_OF_STUDY, job.c.kind == JobKind.READ, _OF_MODELS, job.c.state.in_(_OPEN))
    .limit(1)
)
