"""The audit log by the page: records, one after the other by moment and number, never by count.

What no index helps with (who acted, words within the detail) is looked for among a number of
records that is bounded; the page then says how far back it has looked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, ColumnElement, cast, func, literal, select, tuple_

from hipnode.domain import AuditEvent
from hipnode.storage.audit import days
from hipnode.storage.audit.days import DayCount
from hipnode.storage.audit.log import AuditEntry, AuditFilter, as_entry
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import Moment, audit, instance, result

SEARCHED: Final = 10_000
"""So many records are looked through for a page at most."""
_PAGE: Final = 1000
_GROUPS: Final = 50
Place = tuple[datetime, int]
"""Where a record stands in the order of the log."""

_VALUES: Final = (AuditEvent.COVARIATE_TOLD, AuditEvent.COVARIATE_REFUSED)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the log: a filter, and what no index helps with."""

    wanted: AuditFilter = field(default_factory=AuditFilter)
    actor: str = ""  # whole, in any case
    words: str = ""  # within the detail, in any case
    object_uid: str = ""  # of a SOP Instance

    @property
    def is_searched(self) -> bool:
        """Tell whether records must be looked through."""
        return bool(self.actor or self.words or self.object_uid)

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Yield what no index helps with, as SQL; the detail is JSON, in ASCII."""
        if self.actor:
            yield func.lower(audit.c.actor) == func.lower(self.actor)
        if self.object_uid:
            yield audit.c.sop_instance_uid == self.object_uid
        if self.words:
            escaped = json.dumps(self.words)[1:-1].lower()
            yield func.lower(audit.c.detail).contains(escaped, autoescape=True)


@dataclass(frozen=True, slots=True)
class Found:
    """A page of records, the newest first; ``next`` is where the next one begins."""

    entries: tuple[AuditEntry, ...]
    next: Place | None = None
    searched_to: datetime | None = None  # where not all could be looked through


class Records:
    """The audit log as the desk reads it. That it is asked, the desk puts on the log itself.

    Parameters
    ----------
    database
        Where the log is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, asked: Asked, before: Place | None = None, limit: int = 50) -> Found:
        """Return the newest records that fit, or the newest before a place."""
        asked = self._of_its_study(asked)
        end = self._end(asked, before) if asked.is_searched else None
        rows = self._rows(asked, before, limit + 1, end)
        if len(rows) > limit:
            last = rows[limit - 1]
            return Found(_entries(rows[:limit]), (last.at_utc, last.id))
        return Found(_entries(rows), end, end[0] if end else None)

    def counted(self, asked: Asked, by: str) -> list[tuple[str, int]]:
        """Return how often each value of a key of the detail is among the newest that fit."""
        asked = self._of_its_study(asked)
        end = self._end(asked, None)
        conditions = (*asked.wanted.conditions(), *asked.conditions(), *_between(None, end))
        value = func.coalesce(self._value(by), "")
        statement = (
            select(value, func.count())
            .where(*conditions)
            .group_by(value)
            .order_by(func.count().desc(), value)
            .limit(_GROUPS)
        )
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        return [(str(name), int(count)) for name, count in rows]

    def _value(self, key: str) -> ColumnElement[Any]:
        if self._database.is_sqlite:
            return func.json_extract(audit.c.detail, f"$.{key}")
        value: ColumnElement[Any] = cast(audit.c.detail, JSON)[key].as_string()
        return value

    def _of_its_study(self, asked: Asked) -> Asked:
        """Look for an object that is known among the records of its study alone."""
        if not asked.object_uid or asked.wanted.study_instance_uid is not None:
            return asked
        for table in (instance, result):
            statement = select(table.c.study_instance_uid).where(
                table.c.sop_instance_uid == asked.object_uid
            )
            uid = self._database.read(lambda c, s=statement: c.execute(s.limit(1)).scalar())  # type: ignore[misc]
            if uid:
                return replace(asked, wanted=replace(asked.wanted, study_instance_uid=uid))
        return asked

    def _end(self, asked: Asked, before: Place | None) -> Place | None:
        """Return how far back is looked; None where that is to the end."""
        at, number = audit.c.at_utc, audit.c.id
        statement = (
            select(at, number)
            .where(*asked.wanted.conditions(), *_between(before, None))
            .order_by(at.desc(), number.desc())
            .offset(SEARCHED - 1)
            .limit(1)
        )
        row = self._database.read(lambda connection: connection.execute(statement).first())
        return (row[0], row[1]) if row else None

    def all(self, asked: Asked) -> Iterator[AuditEntry]:
        """Yield every record that fits, the newest first."""
        before: Place | None = None
        while True:
            rows = self._rows(asked, before, _PAGE)
            for row in rows:
                before = row.at_utc, row.id
                yield as_entry(row)
            if len(rows) < _PAGE:
                return

    def get(self, number: int) -> tuple[AuditEntry, str] | None:
        """Return a record and which connection wrote it, or None."""
        statement = select(audit).where(audit.c.id == number)
        row = self._database.read(lambda connection: connection.execute(statement).first())
        return None if row is None else (as_entry(row), row.writer)

    def of_study(self, uid: str, limit: int) -> list[AuditEntry]:
        """Return the newest records of a study, the oldest of them first."""
        rows = self._rows(Asked(AuditFilter(study_instance_uid=uid)), None, limit)
        return [as_entry(row) for row in reversed(rows)]

    def before_images(self, accession: str, patient_id: str, limit: int) -> list[AuditEntry]:
        """Return what came for an examination before any image of it did: values from outside.

        What names another patient is left out: accession numbers are not always one's own.
        """
        if not accession:
            return []
        statement = (
            select(audit)
            .where(
                audit.c.accession_number == accession,
                audit.c.study_instance_uid == "",
                audit.c.patient_id.in_(("", patient_id)),
                audit.c.event.in_(_VALUES),
            )
            .order_by(audit.c.at_utc.desc(), audit.c.id.desc())
            .limit(limit)
        )
        rows = self._database.rows(statement)
        return [as_entry(row) for row in reversed(rows)]

    def newest(self, event: AuditEvent) -> AuditEntry | None:
        """Return the newest record of an event, or None."""
        rows = self._rows(Asked(AuditFilter(event=event)), None, 1)
        return as_entry(rows[0]) if rows else None

    def days(self, now: datetime, number: int) -> list[DayCount]:
        """Return how often what happened on each of the newest days."""
        return self._database.read(lambda connection: days.days(connection, now, number))

    def _rows(
        self, asked: Asked, before: Place | None, limit: int, end: Place | None = None
    ) -> list[Any]:
        statement = (
            select(audit)
            .where(*asked.wanted.conditions(), *asked.conditions(), *_between(before, end))
            .order_by(audit.c.at_utc.desc(), audit.c.id.desc())
            .limit(limit)
        )
        return list(self._database.read(lambda connection: connection.execute(statement).all()))


def _between(before: Place | None, end: Place | None) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions that a record stands before a place, and at or after another."""
    place = tuple_(audit.c.at_utc, audit.c.id)
    if before is not None:
        yield place < tuple_(literal(before[0], Moment), literal(before[1]))
    if end is not None:
        yield place >= tuple_(literal(end[0], Moment), literal(end[1]))


def _entries(rows: list[Any]) -> tuple[AuditEntry, ...]:
    return tuple(as_entry(row) for row in rows)
