"""What was read, and what came of it. Nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Row, select

from hipnode.domain import Instance, JobKind, JobState, Reading
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import instance, job, reading, study
from hipnode.storage.ledger.arrivals import header_adapter


class Readings:
    """Questions about readings.

    Parameters
    ----------
    database
        Where the ledger is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_study(self, study_uid: str, model_set: str) -> list[tuple[Instance, Reading | str]]:
        """Return what a report is made from: each image with its reading, or why it has none.

        Of several contents under one SOP Instance UID the newest counts. Images that have been
        rejected are left out, and those whose reading is still open: there are none when a report
        is due.
        """
        statement = (
            select(instance, job.c.state, job.c.error, reading.c.document)
            .join(job, job.c.instance_id == instance.c.id)
            .outerjoin(
                reading,
                (reading.c.instance_id == instance.c.id) & (reading.c.model_set == model_set),
            )
            .where(
                job.c.study_instance_uid == study_uid,
                job.c.kind == JobKind.READ,
                job.c.model_set == model_set,
                job.c.state.in_((JobState.DONE, JobState.QUARANTINED)),
                instance.c.action == "read",
            )
            .order_by(instance.c.id)
        )
        newest = {row.sop_instance_uid: row for row in self._database.rows(statement)}
        return [
            (
                to_instance(row),
                _read_or_why(row),
            )
            for row in sorted(newest.values(), key=lambda row: row.id)
        ]

    def by(
        self, key: Literal["sop_instance_uid", "accession_number"], values: Sequence[str]
    ) -> list[tuple[str, Instance, str, Reading | str]]:
        """Return what every model set made of the images that these values name.

        Parameters
        ----------
        key
            What the values are; an accession number names all images of its study.
        values
            A few hundred at most.

        Returns
        -------
        list
            The value, the image (of several contents under one SOP Instance UID the newest), the
            digest of the model set, and its reading, or why it was given up.
        """
        column = {
            "sop_instance_uid": instance.c.sop_instance_uid,
            "accession_number": study.c.accession_number,
        }[key]
        statement = (
            select(
                column.label("named_by"),
                instance,
                job.c.state,
                job.c.error,
                job.c.model_set,
                reading.c.document,
            )
            .join(study, study.c.study_instance_uid == instance.c.study_instance_uid)
            .join(job, (job.c.instance_id == instance.c.id) & (job.c.kind == JobKind.READ))
            .outerjoin(
                reading,
                (reading.c.instance_id == instance.c.id) & (reading.c.model_set == job.c.model_set),
            )
            .where(column.in_(values), job.c.state.in_((JobState.DONE, JobState.QUARANTINED)))
            .order_by(instance.c.id)
        )
        newest = {
            (row.sop_instance_uid, row.model_set): row for row in self._database.rows(statement)
        }
        return [
            (row.named_by, to_instance(row), row.model_set, _read_or_why(row))
            for row in sorted(newest.values(), key=lambda row: row.id)
        ]

    def one(self, instance_id: int, model_set: str) -> Reading | None:
        """Return what a model set made of an image, or None."""
        statement = select(reading.c.document).where(
            reading.c.instance_id == instance_id, reading.c.model_set == model_set
        )
        rows = self._database.rows(statement)
        return Reading.from_json(rows[0].document) if rows else None


def to_instance(row: Row[Any]) -> Instance:
    """Return the image of a row."""
    return Instance(
        id=row.id,
        header=header_adapter().validate_json(row.header),
        calling_ae=row.calling_ae,
        path=row.path,
        digest=row.digest,
        received_utc=row.received_utc,
    )


def _read_or_why(row: Row[Any]) -> Reading | str:
    if row.state == JobState.DONE and row.document is not None:
        return Reading.from_json(row.document)
    return str(row.error)
