"""The one clock of a node: the database's. Whose machine tells another time is late for nothing.

PostgreSQL's clock is its server's. SQLite has no clock, but only one machine: its processes agree
on how far the time is from the machine's count of seconds since it was started, which nobody can
set. Between two looks that count goes on, so that a clock that is set does nothing to a process.

A clock that has gone far ahead is not believed for a day where belief deletes files.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, select

from hipnode.faults import clock_ahead
from hipnode.storage.database import marks
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import from_us, mark, to_us
from hipnode.storage.database.watching import service
from hipnode.storage.upkeep import faults

_COUNT: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_AGREE: Final = timedelta(seconds=1)
"""Clocks that differ by less say the same."""
_ALIVE: Final = timedelta(seconds=30)
_LEAP: Final = timedelta(days=7)
"""A node that was not seen for longer was off for long, or its clock is wrong."""
_HOLD: Final = timedelta(days=1)
"""So long a person has to look, before anything is deleted because it is old."""
_SEEN: Final = "clock:seen"
_HELD: Final = "clock:held until"
_FAULT: Final = "clock"


def utc_now() -> datetime:
    """Return the present moment by this process's clock."""
    return datetime.now(UTC) + clock_ahead()


def _count_us() -> int:
    """Return microseconds since the machine was started, sleep included."""
    return time.clock_gettime_ns(_COUNT) // 1000


def _boot() -> str:
    """Return the name of what is known of this machine's present run."""
    with suppress(OSError):
        return "clock:" + Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return "clock:no boot id"


class DatabaseClock:
    """Tells the database's time; `ask` first, and `follow` every few seconds.

    Parameters
    ----------
    database
        Whose.
    machine
        This process's own clock, which may be wrong.
    """

    def __init__(self, database: Database, machine: Callable[[], datetime] = utc_now) -> None:
        self.machine = machine
        self._database = database
        self._boot = _boot()
        self._ahead_us = to_us(machine()) - _count_us()

    def __call__(self) -> datetime:
        """Return the present moment, as the database counts it."""
        return from_us(self._ahead_us + _count_us())

    def ask(self) -> None:
        """Ask the database.

        Raises
        ------
        StorageUnavailable
            If it cannot be asked.
        """
        self._database.read(self._take)

    def follow(self, connection: Connection) -> None:
        """Ask again, in a transaction that writes; see to it that this run of the machine is known.

        Where every service says that the machine's clock is another, it was set: SQLite's follows.
        """
        self._take(connection)
        if self._database.is_sqlite:
            ahead_us = to_us(self.machine()) - _count_us()
            is_new = marks.get(connection, self._boot) is None
            if is_new or self._is_set(connection):
                others = mark.c.name.like("clock:%") & mark.c.name.not_in([_SEEN, _HELD])
                connection.execute(mark.delete().where(others))
                marks.put(connection, self._boot, ahead_us)
                self._ahead_us = ahead_us
        self._look_for_a_leap(connection)

    def _take(self, connection: Connection) -> None:
        if self._database.is_sqlite:
            known = marks.get(connection, self._boot)
            if known is not None:
                self._ahead_us = known
            return
        before_us = _count_us()
        moment = connection.execute(select(func.clock_timestamp())).scalar_one()
        self._ahead_us = to_us(moment) - (before_us + _count_us()) // 2

    def _is_set(self, connection: Connection) -> bool:
        """Tell whether all services' clocks, this one's included, are off by the same."""
        off = self.machine() - self()
        if abs(off) < _AGREE:
            return False
        alive = select(service.c.skew_ms).where(service.c.beat_utc > self() - _ALIVE)
        said = [timedelta(milliseconds=ms) for ms in connection.execute(alive).scalars()]
        return bool(said) and all(abs(one - off) < _AGREE for one in said)

    def _look_for_a_leap(self, connection: Connection) -> None:
        now = self()
        seen_us, held_us = marks.get(connection, _SEEN), marks.get(connection, _HELD)
        marks.put(connection, _SEEN, to_us(now))
        if seen_us is not None and now - from_us(seen_us) > _LEAP:
            marks.put(connection, _HELD, to_us(now + _HOLD))
            days = (now - from_us(seen_us)).days
            why = (
                f"it says that this node was last alive {days} days ago; if that is wrong, set it."
                f" Nothing is deleted for its age until {now + _HOLD:%Y-%m-%d %H:%M} UTC"
            )
            faults.note(connection, now, _FAULT, why)
        elif held_us is not None and not _is_held(held_us, now):
            marks.drop(connection, _HELD)
            faults.note(connection, now, _FAULT, "")


def _is_held(held_us: int, now: datetime) -> bool:
    return now < from_us(held_us) <= now + _HOLD


def forbids_to_delete(connection: Connection, now: datetime) -> bool:
    """Tell whether the clock has leapt, and nothing may be deleted because it seems old."""
    held_us = marks.get(connection, _HELD)
    return held_us is not None and _is_held(held_us, now)
