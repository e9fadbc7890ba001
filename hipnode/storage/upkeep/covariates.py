"""What came about patients is kept as long as their images are, and then deleted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, exists, or_, select

from hipnode.domain import AuditEvent, AuditRecord
from hipnode.settings import RetentionSettings
from hipnode.storage.audit.entries import append
from hipnode.storage.database.covariates import covariate
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import instance, study
from hipnode.storage.upkeep import clock, holds

_PAGE: Final = 500


def retire_covariates(database: Database, settings: RetentionSettings, now: datetime) -> int:
    """Delete what came longer ago than images are kept, and belongs to none that is still here.

    A hold on its study keeps it, as it keeps the images.

    Returns
    -------
    int
        How many values were deleted.

    Raises
    ------
    StorageUnavailable
        If the database cannot be used.
    """
    before = now - timedelta(days=settings.images_days)

    def work(connection: Connection) -> int:
        if clock.forbids_to_delete(connection, now):
            return 0
        of_it = study.c.accession_number == covariate.c.accession_number
        of_it &= study.c.accession_number != ""
        of_study = instance.c.study_instance_uid == study.c.study_instance_uid
        here = of_it & of_study & instance.c.retired_utc.is_(None) & (instance.c.path != "")
        held = of_it & study.c.study_instance_uid.in_(holds.studies(connection))
        needed = or_(exists().where(here), exists().where(held))
        old = select(covariate.c.id).where(covariate.c.came_utc < before, ~needed).limit(_PAGE)
        ids = list(connection.execute(old).scalars())
        if ids:
            connection.execute(delete(covariate).where(covariate.c.id.in_(ids)))
            event, detail = AuditEvent.COVARIATES_RETIRED, {"values": len(ids)}
            append(connection, now, [AuditRecord(event, actor="housekeeper", detail=detail)])
        return len(ids)

    total = 0
    while gone := database.write(work):
        total += gone
    return total
