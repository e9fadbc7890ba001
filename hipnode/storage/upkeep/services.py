"""Who is alive: a row for each running service, written every few seconds.

Beats are told in the database's own time, so that machines whose clocks differ agree on who is
silent; how far each clock is off stands beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, func, select

from hipnode.storage.database.dialects import in_both, run
from hipnode.storage.database.engine import Database
from hipnode.storage.database.watching import service

_FORGOTTEN: Final = timedelta(hours=1)
"""A dead service is forgotten after this long, where another of its kind is alive."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What a service says of itself."""

    name: str
    host: str
    pid: int
    version: str
    settings: str  # the digest of the effective settings
    models: tuple[dict[str, Any], ...] = ()
    doing: str = ""
    hangs: str = ""  # which of its threads, in words
    ready: bool = False


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The newest beat of a service, and how long it has been silent since."""

    beat: Beat
    started_utc: datetime
    beat_utc: datetime
    silent_s: float
    skew_s: float  # its clock, less the database's


class Services:
    """The services of a node, as the database knows them.

    Parameters
    ----------
    database
        Where the rows are.
    now
        The database's clock.
    machine
        This machine's, where it may be another.
    follow
        Called within the transaction of each beat.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime],
        machine: Callable[[], datetime] | None = None,
        follow: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._now = now
        self._machine = machine or now
        self._follow = follow

    def beat(self, beat: Beat) -> float:
        """Write a beat; return how many seconds this machine's clock is ahead of the database's.

        Raises
        ------
        StorageUnavailable
            If it could not be written.
        """
        return self._database.write(lambda connection: self._write(connection, beat, None))

    def _write(self, connection: Connection, beat: Beat, started: datetime | None) -> float:
        off = self._machine() - (now := self._clock(connection))
        run(
            connection,
            _BEAT,
            {
                "name": beat.name,
                "host": beat.host,
                "pid": beat.pid,
                "version": beat.version,
                "settings": beat.settings,
                "models": json.dumps(beat.models),
                "doing": beat.doing,
                "hangs": beat.hangs,
                "ready": beat.ready,
                "skew_ms": off // timedelta(milliseconds=1),
                "started_utc": started or now,
                "beat_utc": now,
            },
        )
        self._follow(connection)
        return off.total_seconds()

    def begin(self, beat: Beat) -> float:
        """Write a process's first beat, in the place of those that died before it on its host.

        If the one before it never got ready, this one has been starting since that one has.

        Raises
        ------
        StorageUnavailable
            If it could not be written.
        """
        own = (service.c.name == beat.name, service.c.host == beat.host)

        def work(connection: Connection) -> float:
            there = connection.execute(select(service).where(*own)).all()
            dead = [row for row in there if row.pid == beat.pid or not _is_running(row.pid)]
            connection.execute(
                delete(service).where(*own, service.c.pid.in_([row.pid for row in dead]))
            )
            since = [row.started_utc for row in dead if not row.ready]
            return self._write(connection, beat, min(since, default=None))

        return self._database.write(work)

    def leave(self, beat: Beat) -> None:
        """Take the row of a service away that stops as it should."""
        own = (
            service.c.name == beat.name,
            service.c.host == beat.host,
            service.c.pid == beat.pid,
        )
        self._database.write(lambda c: c.execute(delete(service).where(*own)))

    def all(self) -> list[ServiceState]:
        """Return every service that is alive, or died and has no successor."""
        return self._database.read(self._all)

    def forget(self) -> None:
        """Forget what died long ago and has a successor elsewhere."""

        def work(connection: Connection) -> None:
            horizon = self._clock(connection) - _FORGOTTEN
            alive = select(service.c.name).where(service.c.beat_utc > horizon)
            connection.execute(
                delete(service).where(service.c.beat_utc <= horizon, service.c.name.in_(alive))
            )

        self._database.write(work)

    def _clock(self, connection: Connection) -> datetime:
        if connection.dialect.name == "sqlite":
            return self._now()
        moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return moment

    def _all(self, connection: Connection) -> list[ServiceState]:
        now = self._clock(connection)
        rows = connection.execute(
            select(service).order_by(service.c.name, service.c.host, service.c.pid)
        ).all()
        return [
            ServiceState(
                Beat(
                    row.name,
                    row.host,
                    row.pid,
                    row.version,
                    row.settings,
                    tuple(json.loads(row.models)),
                    row.doing,
                    row.hangs,
                    row.ready,
                ),
                row.started_utc,
                row.beat_utc,
                max(0.0, (now - row.beat_utc).total_seconds()),
                row.skew_ms / 1000,
            )
            for row in rows
        ]


def _is_running(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def _beaten(insert: Any) -> Any:
    statement = insert(service)
    news = ("version", "settings", "models", "doing", "hangs", "ready", "skew_ms", "beat_utc")
    return statement.on_conflict_do_update(
        index_elements=["name", "host", "pid"],
        set_={name: statement.excluded[name] for name in news},
    )


_BEAT: Final = in_both(_beaten)
