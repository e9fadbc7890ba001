"""The audit log by the page: records, one after the other by moment and number, never by count.

What no index helps with (who acted, words within the detail) is looked for among a number of
records that is bounded; the page then says how far back it has looked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, literal, select, tuple_

from hipnode.domain import AuditEvent
from hipnode.storage.audit import days
from hipnode.storage.audit.days import DayCount
from hipnode.storage.audit.log import AuditEntry, AuditFilter, as_entry
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import Moment, audit

SEARCHED: Final = 10_000
"""So many records are looked through for a page at most."""
_PAGE: Final = 1000
Place = tuple[datetime, int]
"""Where a record stands in the order of the log."""


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

    def fits(self, row: Any) -> bool:
        """Tell whether a row is wanted."""
        return (
            (not self.actor or row.actor.lower() == self.actor.lower())
            and (not self.object_uid or row.sop_instance_uid == self.object_uid)
            and (not self.words or self.words.lower() in row.detail.lower())
        )


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
        found: list[Any] = []
        searched = 0
        size = _PAGE if asked.is_searched else limit + 1
        while True:
            rows = self._rows(asked.wanted, before, size)
            for row in rows:
                searched += 1
                before = row.at_utc, row.id
                if asked.fits(row):
                    found.append(row)
                if len(found) > limit:
                    last = found[limit - 1]
                    return Found(_entries(found[:limit]), (last.at_utc, last.id))
            if len(rows) < size:
                return Found(_entries(found))
            if searched >= SEARCHED and before is not None:
                return Found(_entries(found), before, before[0])

    def all(self, asked: Asked) -> Iterator[AuditEntry]:
        """Yield every record that fits, the newest first."""
        before: Place | None = None
        while True:
            rows = self._rows(asked.wanted, before, _PAGE)
            for row in rows:
                before = row.at_utc, row.id
                if asked.fits(row):
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
        rows = self._rows(AuditFilter(study_instance_uid=uid), None, limit)
        return [as_entry(row) for row in reversed(rows)]

    def newest(self, event: AuditEvent) -> AuditEntry | None:
        """Return the newest record of an event, or None."""
        rows = self._rows(AuditFilter(event=event), None, 1)
        return as_entry(rows[0]) if rows else None

    def days(self, now: datetime, number: int) -> list[DayCount]:
        """Return how often what happened on each of the newest days."""
        return self._database.read(lambda connection: days.days(connection, now, number))

    def _rows(self, wanted: AuditFilter, before: Place | None, limit: int) -> list[Any]:
        conditions: list[ColumnElement[bool]] = wanted.conditions()
        if before is not None:
            place = tuple_(audit.c.at_utc, audit.c.id)
            conditions.append(place < tuple_(literal(before[0], Moment), literal(before[1])))
        statement = (
            select(audit)
            .where(*conditions)
            .order_by(audit.c.at_utc.desc(), audit.c.id.desc())
            .limit(limit)
        )
        return list(self._database.read(lambda connection: connection.execute(statement).all()))


def _entries(rows: list[Any]) -> tuple[AuditEntry, ...]:
    return tuple(as_entry(row) for row in rows)
