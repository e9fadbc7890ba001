"""What is known about patients and came from outside, for one examination each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, exists, insert, select

from hipnode.domain import (
    AuditEvent,
    AuditRecord,
    CovariateSource,
    JobKind,
    JobState,
    Outcome,
    Told,
)
from hipnode.storage.audit.entries import append
from hipnode.storage.database.covariates import covariate
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import job, study


@dataclass(frozen=True, slots=True)
class Refused:
    """A value that cannot be used, as far as it was understood, and why."""

    told: Told
    reason: str
    at: int = 0  # its place among those that came with it


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of values that came together."""

    refused: tuple[Refused, ...] = ()
    late: tuple[str, ...] = ()  # accession numbers: examinations that were read before these came


@dataclass(frozen=True, slots=True)
class _Exam:
    """A study that has this accession number."""

    uid: str
    patient_id: str
    is_read: bool  # or is being read


class Covariates:
    """What came; rows are added, and `hipnode.reading.clinical` says which of them counts.

    Parameters
    ----------
    database
        Where the rows are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, accession_number: str) -> tuple[Told, ...]:
        """Return all that came for an examination, whoever's it is, oldest first."""
        if not accession_number:
            return ()
        statement = (
            select(covariate)
            .where(covariate.c.accession_number == accession_number)
            .order_by(covariate.c.id)
        )
        return tuple(_told(row) for row in self._database.rows(statement))

    def meant(self, accession_numbers: Sequence[str], patient_ids: Sequence[str]) -> str:
        """Return the first of these that a study of this patient has; else the first."""

        def work(connection: Connection) -> str:
            for number in accession_numbers:
                if any(each.patient_id in patient_ids for each in _exams(connection, number)):
                    return number
            return next(iter(accession_numbers), "")

        return self._database.read(work)

    def add(self, given: Sequence[Told | Refused], now: datetime, ae_title: str = "") -> Taken:
        """Keep what came, and put each value on the audit log; all or nothing.

        A value for an examination that is known to be another patient's is refused. The same value
        said again by the same message is kept once.

        Returns
        -------
        Taken
            What was not kept, and why; and what was read already.

        Raises
        ------
        StorageUnavailable
            If nothing could be written.
        """

        def work(connection: Connection) -> Taken:
            refused, records = [], []
            late: dict[str, None] = {}
            numbers = {_value(one).accession_number for one in given}
            exams_of = {number: _exams(connection, number) for number in numbers}
            for at, one in enumerate(given):
                exams = exams_of[_value(one).accession_number]
                checked = _of_another(one, exams)
                again = False
                if isinstance(checked, Refused):
                    refused.append(replace(checked, at=at))
                elif not (again := _is_kept(connection, checked)):
                    connection.execute(insert(covariate), _row(checked, now))
                record = _record(checked, exams, ae_title, again=again)
                if record.detail.get("late"):
                    late[record.accession_number] = None
                records.append(record)
            append(connection, now, records)
            return Taken(tuple(refused), tuple(late))

        return self._database.write(work) if given else Taken()


def _value(one: Told | Refused) -> Told:
    return one.told if isinstance(one, Refused) else one


def _exams(connection: Connection, accession_number: str) -> list[_Exam]:
    if not accession_number:
        return []
    read = exists().where(
        job.c.study_instance_uid == study.c.study_instance_uid,
        job.c.kind == JobKind.READ,
        job.c.state.in_((JobState.CLAIMED, JobState.DONE)),  # what is claimed may have asked before
    )
    statement = select(study.c.study_instance_uid, study.c.patient_id, read).where(
        study.c.accession_number == accession_number, study.c.accession_number != ""
    )
    return [_Exam(*row) for row in connection.execute(statement).all()]


def _of_another(one: Told | Refused, exams: Sequence[_Exam]) -> Told | Refused:
    if isinstance(one, Refused) or not exams:
        return one
    if any(exam.patient_id in one.patient_ids for exam in exams):
        return one
    return Refused(one, "the examination is another patient's")


def _is_kept(connection: Connection, told: Told) -> bool:
    row = {k: v for k, v in _row(told, None).items() if k != "came_utc"}
    same = [covariate.c[name] == value for name, value in row.items() if value is not None]
    same += [covariate.c[name].is_(None) for name, value in row.items() if value is None]
    return connection.execute(select(covariate.c.id).where(*same).limit(1)).first() is not None


def _row(told: Told, now: datetime | None) -> dict[str, Any]:
    return {
        "accession_number": told.accession_number,
        "patient_ids": json.dumps(list(told.patient_ids)),
        "name": told.name,
        "value": told.value,
        "measured": told.measured,
        "corrected": told.corrected,
        "source": told.source.value,
        "given": told.given,
        "message": told.message,
        "given_by": told.given_by,
        "came_utc": now,
    }


def _told(row: Any) -> Told:
    known = dict(row._mapping)  # noqa: SLF001 - a public name of SQLAlchemy's
    known["patient_ids"] = tuple(json.loads(row.patient_ids))
    known["source"] = CovariateSource(row.source)
    return Told(**known)


def _record(
    one: Told | Refused, exams: Sequence[_Exam], ae_title: str, *, again: bool
) -> AuditRecord:
    told = _value(one)
    mine = next((exam for exam in exams if exam.patient_id in told.patient_ids), None)
    detail: dict[str, Any] = {
        "name": told.name,
        "given": told.given,
        "measured": told.measured,
        "source": told.source.value,
        "message": told.message,
    }
    refused = isinstance(one, Refused)
    if isinstance(one, Refused):
        detail["reason"] = one.reason
    else:
        detail |= {"value": told.value, "corrected": told.corrected, "again": again}
        detail["late"] = mine is not None and mine.is_read and not again
    return AuditRecord(
        AuditEvent.COVARIATE_REFUSED if refused else AuditEvent.COVARIATE_TOLD,
        Outcome.REFUSED if refused else Outcome.OK,
        actor=told.given_by,
        study_instance_uid=mine.uid if mine else "",
        patient_id=next(iter(told.patient_ids), ""),
        accession_number=told.accession_number,
        ae_title=ae_title,
        detail=detail,
    )
