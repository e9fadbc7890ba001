"""What a report has made: its rows, and the alarm where it is of several patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from hipnode.domain import AuditEvent, AuditRecord, Job, Outcome, ResultKind
from hipnode.storage.audit import entries
from hipnode.storage.database.dialects import in_both, run
from hipnode.storage.database.schema import result


@dataclass(frozen=True, slots=True)
class NewResult:
    """An object that was made and lies on disk.

    ``destinations`` says where it goes; None: to all of the report's. ``()`` keeps it without
    sending it (the next SOP Class to fall back to, say). ``patient_id`` says whose it is; None:
    the study's.
    """

    kind: ResultKind
    sop_class_uid: str
    sop_instance_uid: str
    path: str
    sha256: str
    destinations: tuple[str, ...] | None = None
    patient_id: str | None = None


def event_of(results: Sequence[NewResult]) -> AuditEvent:
    """Return what a report job has come to.

    Parameters
    ----------
    results
        What was made.
    """
    if not results:
        return AuditEvent.REPORT_SKIPPED
    only_notes = all(one.kind is ResultKind.NOTE for one in results)
    return AuditEvent.REPORT_WITHDRAWN if only_notes else AuditEvent.REPORT_MADE


def store_result(connection: Connection, now: datetime, held: Job, made: NewResult) -> int:
    """Write the row of an object; return its number, the old one where it was made before.

    Parameters
    ----------
    held
        The report job.
    made
        The object.
    """
    only = made.destinations[0] if made.destinations and len(made.destinations) == 1 else ""
    values = {
        "study_instance_uid": held.study_instance_uid,
        "model_set": held.model_set,
        "version": held.version,
        "kind": made.kind,
        "sop_class_uid": made.sop_class_uid,
        "sop_instance_uid": made.sop_instance_uid,
        "destination": only,
        "path": made.path,
        "sha256": made.sha256,
        "created_utc": now,
    }
    number = run(connection, _STORE_RESULT, values).scalar()
    if number is None:  # the same object was made before
        number = connection.execute(
            select(result.c.id).where(result.c.sop_instance_uid == made.sop_instance_uid)
        ).scalar_one()
    return int(number)


def note_patients(
    connection: Connection, now: datetime, report: Row[Any], results: Sequence[NewResult]
) -> None:
    """Raise the alarm where a study was reported under several Patient IDs.

    Parameters
    ----------
    report
        The report job's row.
    results
        What was made.
    """
    patients = dict.fromkeys(r.patient_id for r in results if r.patient_id is not None)
    records = [
        AuditRecord(
            AuditEvent.IDENTITIES_DIFFER,
            Outcome.FAILED,
            study_instance_uid=report.study_instance_uid,
            patient_id=patient or "",
            accession_number=report.accession_number,
            job_id=report.id,
            detail={
                "patients": len(patients),
                "objects": [r.sop_instance_uid for r in results if r.patient_id == patient],
            },
        )
        for patient in patients
    ]
    if len(records) > 1:
        entries.append(connection, now, records)


_STORE_RESULT: Final = in_both(
    lambda insert: insert(result).on_conflict_do_nothing().returning(result.c.id)
)
