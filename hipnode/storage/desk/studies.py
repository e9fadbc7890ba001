"""Studies by the page, the newest first, and what a page says of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, func, literal, or_, select, tuple_

from hipnode.domain import AuditEvent, JobKind, JobState
from hipnode.storage.audit.log import AuditEntry, as_entry
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import Moment, audit, instance, job, result, study
from hipnode.storage.ledger.questions import StudyFacts

_SAID: Final = (AuditEvent.IMAGE_READ, AuditEvent.IMAGE_ABSTAINED)
Place = tuple[datetime, str]
"""Where a study stands in the order of the list."""


@dataclass(frozen=True, slots=True)
class StudyFilter:
    """Which studies are wanted: all that is given must fit."""

    accession_number: str = ""
    patient_id: str = ""
    since_utc: datetime | None = None  # when the newest image came: inclusive
    until_utc: datetime | None = None  # exclusive


@dataclass(frozen=True, slots=True)
class StudyLine:
    """A study in the list."""

    facts: StudyFacts
    images: int
    said: tuple[AuditEntry, ...]  # what was said of its images, oldest first
    reported: frozenset[str]  # the digests of the model sets that report on it
    states: frozenset[tuple[JobKind, JobState]]


@dataclass(frozen=True, slots=True)
class Made:
    """An object that was made for a study."""

    id: int
    kind: str
    version: int
    sop_instance_uid: str
    path: str
    sha256: str
    made_utc: datetime
    kept: bool  # its file has not been deleted by retention


class Studies:
    """The studies as the desk lists them.

    Parameters
    ----------
    database
        Where the rows are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self, wanted: StudyFilter, before: Place | None = None, limit: int = 50
    ) -> tuple[list[StudyLine], Place | None]:
        """Return the newest studies that fit, or the newest before a place; and the next place."""
        statement = _newest(select(study), wanted, before, limit + 1)

        def work(connection: Connection) -> tuple[list[StudyLine], bool]:
            rows = connection.execute(statement).all()
            return _lines(connection, rows[:limit]), len(rows) > limit

        lines, more = self._database.read(work)
        last = lines[-1].facts if lines else None
        return lines, (last.last_received_utc, last.study_instance_uid) if more and last else None

    def places(self, wanted: StudyFilter, before: Place | None, limit: int) -> list[Place]:
        """Return where the newest studies stand that fit, or the newest before a place."""
        columns = select(study.c.last_received_utc, study.c.study_instance_uid)
        statement = _newest(columns, wanted, before, limit)
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        return [(row[0], row[1]) for row in rows]

    def some(self, uids: Sequence[str]) -> list[StudyLine]:
        """Return some studies, in the order in which they are named."""

        def work(connection: Connection) -> list[StudyLine]:
            found = select(study).where(study.c.study_instance_uid.in_(uids))
            rows = {row.study_instance_uid: row for row in connection.execute(found)}
            return _lines(connection, [rows[uid] for uid in uids if uid in rows])

        return self._database.read(work)

    def said(
        self, uids: Iterable[str], words: Iterable[str], *, reported: bool = False
    ) -> set[str]:
        """Return of which studies one of these words was said, of an image.

        The words are looked for in the detail as it is written: nothing else is read of the log.
        ``reported``: by a model set that reports on the study.
        """
        holds = [audit.c.detail.contains(word, autoescape=True) for word in words]
        statement = select(audit.c.study_instance_uid).where(*_said_of(uids), or_(*holds))
        if reported:
            by = literal('"model_set_digest":"') + job.c.model_set + '"'
            reports = job.c.study_instance_uid == audit.c.study_instance_uid
            statement = statement.join(job, reports & (job.c.kind == JobKind.REPORT))
            statement = statement.where(audit.c.detail.contains(by))
        return set(self._database.read(lambda connection: connection.execute(statement).scalars()))

    def with_work(
        self, uids: Iterable[str], states: Iterable[JobState], kind: JobKind | None = None
    ) -> set[str]:
        """Return which of some studies have work in one of these states."""
        statement = select(job.c.study_instance_uid).where(
            job.c.study_instance_uid.in_(uids), job.c.state.in_(states)
        )
        if kind is not None:
            statement = statement.where(job.c.kind == kind)
        return set(self._database.read(lambda connection: connection.execute(statement).scalars()))

    def one(self, uid: str) -> StudyLine | None:
        """Return a study, or None."""

        def work(connection: Connection) -> list[StudyLine]:
            rows = connection.execute(select(study).where(study.c.study_instance_uid == uid)).all()
            return _lines(connection, rows)

        found = self._database.read(work)
        return found[0] if found else None

    def made(self, uid: str) -> list[Made]:
        """Return what was made for a study, in the order in which it was made."""
        statement = select(result).where(result.c.study_instance_uid == uid).order_by(result.c.id)
        return [
            Made(
                row.id,
                row.kind,
                row.version,
                row.sop_instance_uid,
                row.path,
                row.sha256,
                row.created_utc,
                row.retired_utc is None,
            )
            for row in self._database.read(lambda connection: connection.execute(statement).all())
        ]


def _newest(
    columns: Select[Any], wanted: StudyFilter, before: Place | None, limit: int
) -> Select[Any]:
    """Return the question for the newest studies that fit, or the newest before a place."""
    conditions = _conditions(wanted)
    if before is not None:
        place = tuple_(study.c.last_received_utc, study.c.study_instance_uid)
        conditions.append(place < tuple_(literal(before[0], Moment), literal(before[1])))
    ordered = columns.where(*conditions).order_by(
        study.c.last_received_utc.desc(), study.c.study_instance_uid.desc()
    )
    return ordered.limit(limit)


def _said_of(uids: Iterable[str]) -> tuple[Any, ...]:
    """Return the conditions for the records of what was said of studies.

    By study: with the event, or an order, named as it is, SQLite takes the way by the event.
    """
    return (
        audit.c.study_instance_uid.in_(uids),
        audit.c.study_instance_uid != "",
        (audit.c.event + "").in_(_SAID),
    )


def _conditions(wanted: StudyFilter) -> list[Any]:
    conditions: list[Any] = []
    for name in ("accession_number", "patient_id"):
        if value := getattr(wanted, name):
            conditions += [study.c[name] == value, study.c[name] != ""]  # the partial index
    if wanted.since_utc is not None:
        conditions.append(study.c.last_received_utc >= wanted.since_utc)
    if wanted.until_utc is not None:
        conditions.append(study.c.last_received_utc < wanted.until_utc)
    return conditions


def _lines(connection: Connection, rows: Sequence[Any]) -> list[StudyLine]:
    uids = [row.study_instance_uid for row in rows]
    if not uids:
        return []
    of = instance.c.study_instance_uid
    counted = select(of, func.count()).where(of.in_(uids)).group_by(of)
    images = {row[0]: row[1] for row in connection.execute(counted)}
    said: dict[str, list[AuditEntry]] = {uid: [] for uid in uids}
    statement = select(audit).where(*_said_of(uids))
    for row in sorted(connection.execute(statement), key=lambda row: (row.at_utc, row.id)):
        said[row.study_instance_uid].append(as_entry(row))
    work = select(job.c.study_instance_uid, job.c.kind, job.c.state, job.c.model_set).where(
        job.c.study_instance_uid.in_(uids)
    )
    states: dict[str, set[tuple[JobKind, JobState]]] = {uid: set() for uid in uids}
    reported: dict[str, set[str]] = {uid: set() for uid in uids}
    for row in connection.execute(work.distinct()):
        states[row.study_instance_uid].add((JobKind(row.kind), JobState(row.state)))
        if row.kind == JobKind.REPORT:
            reported[row.study_instance_uid].add(row.model_set)
    return [
        StudyLine(
            StudyFacts(
                row.study_instance_uid,
                row.patient_id,
                row.accession_number,
                row.received_utc,
                row.last_received_utc,
            ),
            images.get(row.study_instance_uid, 0),
            tuple(said[row.study_instance_uid]),
            frozenset(reported[row.study_instance_uid]),
            frozenset(states[row.study_instance_uid]),
        )
        for row in rows
    ]
