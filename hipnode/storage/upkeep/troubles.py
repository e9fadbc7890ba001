"""Troubles that somebody is told of: one message when one begins, one when it ends.

Kept in the database, so that it does not matter which service looks, nor how often it is started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from hipnode.storage.database.engine import Database
from hipnode.storage.database.watching import notice, trouble, watch

_SENDING: Final = timedelta(minutes=5)
"""Who has taken a message and says no more of it has died: another sends it then."""
_AGAIN_FIRST: Final = timedelta(seconds=30)
_AGAIN_CAP: Final = timedelta(hours=1)
_KEPT: Final = timedelta(days=30)
_AT_ONCE: Final = 20
_ERROR_LENGTH: Final = 400


@dataclass(frozen=True, slots=True)
class Notice:
    """A message that is to be sent."""

    id: int
    alert: str  # who is told
    key: str
    what: str
    ended: bool
    since_utc: datetime
    at_utc: datetime  # of the end, where it ended; else when it was clear that it lasts
    attempts: int


class Troubles:
    """What is wrong, as far as alerts know.

    Parameters
    ----------
    database
        Where the rows are.
    now
        The clock.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    def take_turn(self, every_s: float) -> bool:
        """Tell whether it is the caller's turn to look; nobody else's is for ``every_s`` seconds.

        Raises
        ------
        StorageUnavailable
            If the database cannot be used.
        """
        now, every = self._now(), timedelta(seconds=every_s)
        due = (watch.c.due_utc <= now) | (watch.c.due_utc > now + 2 * every)  # a clock went back
        statement = update(watch).where(due).values(due_utc=now + every)
        return bool(self._database.write(lambda c: c.execute(statement).rowcount))

    def note(self, faults: Mapping[str, str], alerts: Iterable[str], hold_s: float) -> None:
        """Compare what is wrong now with what is known, and write the messages that follow.

        Parameters
        ----------
        faults
            What is wrong now: of each its key, and a line.
        alerts
            Who is told, by name.
        hold_s
            How long a trouble must last before it is told of, and be gone before its end is.
        """
        now, hold, names = self._now(), timedelta(seconds=hold_s), list(alerts)

        def work(connection: Connection) -> None:
            locked = select(trouble).order_by(trouble.c.key).with_for_update()
            known = {row.key: row for row in connection.execute(locked).all()}
            for key, row in known.items():
                if key not in faults and now - row.seen_utc >= hold:
                    connection.execute(delete(trouble).where(trouble.c.key == key))
                    if row.told:
                        _tell(connection, names, row, now, ended=True)
            for key, what in faults.items():
                self._see(connection, known.get(key), key, what)
            for row in connection.execute(select(trouble).where(~trouble.c.told)).all():
                if row.key in faults and now - row.since_utc >= hold:
                    _tell(connection, names, row, now, ended=False)
                    told = update(trouble).where(trouble.c.key == row.key).values(told=True)
                    connection.execute(told)
            connection.execute(delete(notice).where(notice.c.at_utc < now - _KEPT))

        self._database.write(work)

    def _see(self, connection: Connection, known: Row[Any] | None, key: str, what: str) -> None:
        now = self._now()
        if known is not None:
            seen = {"seen_utc": now, "what": what}
            connection.execute(update(trouble).where(trouble.c.key == key).values(seen))
        else:
            first = {"key": key, "what": what, "since_utc": now, "seen_utc": now, "told": False}
            connection.execute(insert(trouble).values(first))

    def take_due(self) -> list[Notice]:
        """Take the messages that are to be sent now; nobody else gets them meanwhile."""
        now = self._now()

        def work(connection: Connection) -> list[Notice]:
            due = (
                select(notice)
                .where(notice.c.sent_utc.is_(None), notice.c.due_utc <= now)
                .order_by(notice.c.id)
                .limit(_AT_ONCE)
                .with_for_update(skip_locked=True)
            )
            rows = connection.execute(due).all()
            connection.execute(
                update(notice)
                .where(notice.c.id.in_([row.id for row in rows]))
                .values(due_utc=now + _SENDING, attempts=notice.c.attempts + 1)
            )
            return [_to_notice(row) for row in rows]

        return self._database.write(work)

    def sent(self, message: Notice) -> None:
        """Note that a message has gone out."""
        self._set(message, sent_utc=self._now(), error="")

    def not_sent(self, message: Notice, error: str) -> None:
        """Note that a message has not gone out: it is tried again, later each time."""
        wait = min(_AGAIN_CAP, _AGAIN_FIRST * 2 ** min(message.attempts, 10))
        self._set(message, due_utc=self._now() + wait, error=error[:_ERROR_LENGTH])

    def _set(self, message: Notice, **values: Any) -> None:
        statement = update(notice).where(notice.c.id == message.id).values(values)
        self._database.write(lambda c: c.execute(statement))


def _tell(
    connection: Connection, alerts: list[str], row: Row[Any], now: datetime, *, ended: bool
) -> None:
    for name in alerts:
        connection.execute(
            insert(notice).values(
                alert=name,
                key=row.key,
                what=row.what,
                ended=ended,
                since_utc=row.since_utc,
                at_utc=now,
                due_utc=now,
            )
        )


def _to_notice(row: Row[Any]) -> Notice:
    return Notice(
        row.id, row.alert, row.key, row.what, row.ended, row.since_utc, row.at_utc, row.attempts
    )
