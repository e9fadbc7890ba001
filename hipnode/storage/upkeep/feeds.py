"""How far each of the hospital's own logs has been told what is on this one.

Only sealed rows are told, in the order of their numbers: none can appear between them any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from hipnode.storage.audit import chain
from hipnode.storage.audit.heads import Head
from hipnode.storage.audit.log import AuditEntry, AuditLog, as_entry
from hipnode.storage.database import marks
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import audit
from hipnode.storage.upkeep import faults


@dataclass(frozen=True, slots=True)
class Due:
    """What a feed is to be told next.

    Attributes
    ----------
    entries
        Sealed rows in their order; empty where it knows everything.
    until_id
        How far they go.
    head
        The log's newest head, where they go as far as it.
    """

    entries: Sequence[AuditEntry]
    until_id: int
    head: Head | None = None


class Feeds:
    """The positions of the feeds, and what is wrong with each.

    Parameters
    ----------
    database
        Where the audit log is.
    log
        The audit log.
    now
        The clock.
    """

    def __init__(self, database: Database, log: AuditLog, now: Callable[[], datetime]) -> None:
        self._database = database
        self._log = log
        self._now = now

    def due(self, name: str, limit: int) -> Due:
        """Return what a feed is to be told next; a new one begins with what is sealed later."""

        def work(connection: Connection) -> tuple[int | None, int, list[AuditEntry]]:
            newest = chain.newest_seal(connection)
            sealed = newest.last_id if newest else 0
            position = marks.get(connection, position_of(name))
            if position is None:
                return None, sealed, []
            rows = connection.execute(
                select(audit)
                .where(audit.c.id > position, audit.c.id <= sealed)
                .order_by(audit.c.id)
                .limit(limit)
            )
            return position, sealed, [as_entry(row) for row in rows]

        position, sealed, entries = self._database.read(work)
        if position is None:
            self.told(name, sealed)
            return Due((), sealed)
        until = entries[-1].id if entries else position
        is_all = bool(entries) and until >= sealed
        return Due(entries, until, self._log.head() if is_all else None)

    def told(self, name: str, until_id: int) -> None:
        """Note how far a feed has been told, and that nothing is wrong with it."""

        def work(connection: Connection) -> None:
            marks.put(connection, position_of(name), until_id)
            faults.note(connection, self._now(), _fault(name), "")

        self._database.write(work)

    def away(self, name: str, why: str) -> None:
        """Note that a feed cannot be told; since when stays as it was."""
        now = self._now()
        self._database.write(lambda connection: faults.note(connection, now, _fault(name), why))


def position_of(name: str) -> str:
    """Return the name of the mark that says how far a feed has been told."""
    return f"feed:{name}"


def _fault(name: str) -> str:
    return f"audit feed {name}"
