"""Images that are taken back: their study is reported anew, or its report withdrawn.

The row of a rejected image says so where else stands what was to be done with it: ``action`` is the
Code Value of the title of the note that rejected it (`hipnode.codes.REJECTIONS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, select, update

from hipnode.domain import AuditEvent, AuditRecord, JobKind, JobState
from hipnode.storage.audit import entries
from hipnode.storage.database.schema import instance, job
from hipnode.storage.ledger import due
from hipnode.storage.ledger.jobs import Audited, Queue

_AT_ONCE: Final = 500
"""Values in one statement: engines have limits."""


def reject(
    queue: Queue,
    connection: Connection,
    now: datetime,
    study_uid: str,
    sop_instance_uids: Sequence[str],
    code: str,
    *,
    by: str,
    ae_title: str,
) -> None:
    """Take images of a study back, and open the next version of each of its reports.

    Parameters
    ----------
    study_uid, sop_instance_uids
        The images; those that are not here, or are not read, are passed over.
    code
        The Code Value of the title of the note.
    by, ae_title
        The note, or the image that came in another study, and who sent it.
    """
    rows = _read_ones(connection, study_uid, sop_instance_uids)
    if not rows:
        return
    owner = due.lock_study(connection, study_uid)
    for row in rows:
        connection.execute(update(instance).where(instance.c.id == row.id).values(action=code))
    record = AuditRecord(
        AuditEvent.IMAGES_REJECTED,
        study_instance_uid=study_uid,
        patient_id=owner.patient_id,
        accession_number=owner.accession_number,
        ae_title=ae_title,
        detail={"code": code, "by": by, "images": sorted({r.sop_instance_uid for r in rows})},
    )
    entries.append(connection, now, [record])
    _drop_readings(queue, connection, now, [row.id for row in rows])
    reports = select(job.c.model_set).where(
        job.c.study_instance_uid == study_uid, job.c.kind == JobKind.REPORT
    )
    for model_set in connection.execute(reports.distinct()).scalars().all():
        due.expect(queue, connection, now, owner, model_set)
    due.settle(queue, connection, owner)


def _read_ones(
    connection: Connection, study_uid: str, sop_instance_uids: Sequence[str]
) -> list[Row[Any]]:
    rows: list[Any] = []
    for start in range(0, len(sop_instance_uids), _AT_ONCE):
        some = sop_instance_uids[start : start + _AT_ONCE]
        statement = select(instance.c.id, instance.c.sop_instance_uid).where(
            instance.c.sop_instance_uid.in_(some),
            instance.c.study_instance_uid == study_uid,
            instance.c.action == "read",
        )
        rows.extend(connection.execute(statement).all())
    return rows


def _drop_readings(
    queue: Queue, connection: Connection, now: datetime, instances: Sequence[int]
) -> None:
    """Do not read what has been taken back before its turn came."""
    for number in instances:
        waiting = select(job).where(
            job.c.instance_id == number,
            job.c.kind == JobKind.READ,
            job.c.state == JobState.QUEUED,
        )
        for row in connection.execute(waiting.with_for_update()).all():
            audited = Audited(AuditEvent.JOB_SUPERSEDED, detail={"reason": "rejected"})
            queue.move(connection, now, row, JobState.SUPERSEDED, audited)
