"""Which files may be deleted: old ones, and never what is not yet delivered and committed to.

Rows stay: what was received, read and sent remains known after its files are gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, exists, or_, select, update

from hipnode.domain import AuditEvent, AuditRecord, CommitmentState, JobKind, JobState
from hipnode.settings import RetentionSettings
from hipnode.storage.audit import entries
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import commitment, instance, job, result
from hipnode.storage.files.disk import YOUNG_S, FileStore
from hipnode.storage.upkeep import clock, holds

_PAGE: Final = 500
_UNFINISHED: Final = (JobState.QUEUED, JobState.CLAIMED, JobState.QUARANTINED)
"""A person may still requeue what is in quarantine: its files stay."""
_UNCOMMITTED: Final = (CommitmentState.WANTED, CommitmentState.ASKED)


@dataclass(frozen=True, slots=True)
class Retired:
    """How many files were deleted."""

    images: int
    results: int


def retire(
    database: Database, files: FileStore, settings: RetentionSettings, now: datetime
) -> Retired:
    """Delete files that are older than the settings want and that nothing needs any more.

    Raises
    ------
    StorageUnavailable
        If the database or the disk cannot be used.
    """
    if database.read(lambda c: clock.forbids_to_delete(c, now)):
        return Retired(0, 0)
    images = _retire(
        database,
        files,
        instance,
        instance.c.received_utc < now - timedelta(days=settings.images_days),
        _study_needs_nothing(instance),
        now,
    )
    results = _retire(
        database,
        files,
        result,
        result.c.created_utc < now - timedelta(days=settings.results_days),
        _is_delivered(),
        now,
    )
    return Retired(images, results)


def _study_needs_nothing(table: Table) -> ColumnElement[bool]:
    """Nothing of the image's study is open or given up: reading, report, delivery, commitment."""
    return and_(
        ~exists().where(
            job.c.study_instance_uid == table.c.study_instance_uid, job.c.state.in_(_UNFINISHED)
        ),
        ~exists().where(
            commitment.c.study_instance_uid == table.c.study_instance_uid,
            commitment.c.state.in_(_UNCOMMITTED),
        ),
    )


def _is_delivered() -> ColumnElement[bool]:
    """Every delivery of the object is done, and committed to where that was asked for.

    One that fell back needs its whole version.
    """
    other = result.alias()
    of_the_version = select(other.c.id).where(
        other.c.study_instance_uid == result.c.study_instance_uid,
        other.c.version == result.c.version,
    )
    return and_(
        ~exists().where(
            job.c.kind == JobKind.DELIVER,
            job.c.state.in_(_UNFINISHED),
            or_(job.c.result_id == result.c.id, job.c.result_id.in_(of_the_version)),
        ),
        ~exists().where(
            commitment.c.result_id.in_(of_the_version), commitment.c.state.in_(_UNCOMMITTED)
        ),
    )


def _retire(
    database: Database,
    files: FileStore,
    table: Table,
    old: ColumnElement[bool],
    unneeded: ColumnElement[bool],
    now: datetime,
) -> int:
    """Mark rows first, then delete their files: a crash in between leaves files, not wrong rows."""
    total = 0
    while True:
        touched_s = files.kept_now_s() - YOUNG_S
        rows = database.write(lambda c: _mark(c, table, old, unneeded, now))
        for row in rows:
            files.delete(row.path, unless_touched_since_s=touched_s)
        total += len(rows)
        if len(rows) < _PAGE:
            return total


def _mark(
    connection: Connection,
    table: Table,
    old: ColumnElement[bool],
    unneeded: ColumnElement[bool],
    now: datetime,
) -> list[Row[Any]]:
    kept = table.c.study_instance_uid.in_(holds.studies(connection))
    chosen = (
        select(table.c.id)
        .where(table.c.retired_utc.is_(None), old, unneeded, ~kept)
        .order_by(table.c.id)
        .limit(_PAGE)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(
        update(table)
        .where(table.c.id.in_(chosen.scalar_subquery()), unneeded)
        .values(retired_utc=now)
        .returning(table.c.id, table.c.path, table.c.study_instance_uid, table.c.sop_instance_uid)
    ).all()
    records = [
        AuditRecord(
            AuditEvent.FILES_RETIRED,
            actor="housekeeper",
            study_instance_uid=row.study_instance_uid,
            sop_instance_uid=row.sop_instance_uid,
            detail={"table": table.name, "row": row.id},
        )
        for row in rows
    ]
    entries.append(connection, now, records)
    return list(rows)
