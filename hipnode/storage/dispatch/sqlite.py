"""Dispatch on SQLite: it looks for itself whether anybody has written."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Final

from hipnode.domain import Job, JobKind
from hipnode.errors import StorageUnavailable
from hipnode.log import Event, get_logger
from hipnode.pulse import ROUND_S
from hipnode.storage.dispatch.hands import Handle, Hands, longer
from hipnode.storage.store import Store

_LOOK_S: Final = 0.02
"""How often an idle SQLite dispatcher asks whether anybody has written: it takes microseconds."""
_LOOK_OFTEN_S: Final = 0.002
_OFTEN_FOR_S: Final = 0.5
"""After a write it asks more often for a while: one step of a study follows upon another."""


class SQLiteDispatcher:
    """Looks for itself: as soon as anybody writes to the database file, and every ``poll_s``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def run(
        self,
        kinds: Iterable[JobKind],
        handle: Handle,
        stop: threading.Event,
        owner: str,
        threads: int = 1,
        *,
        destination: str = "",
    ) -> None:
        """See `Dispatcher.run`."""
        hands = Hands(self._store, handle, stop)
        wanted = tuple(kinds)
        workers = [
            threading.Thread(
                target=self._loop,
                args=(wanted, hands, stop, owner, destination),
                name=f"{destination or 'jobs'}-{number}",
            )
            for number in range(threads)
        ]
        with hands.renewing():
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()

    def _loop(
        self,
        kinds: tuple[JobKind, ...],
        hands: Hands,
        stop: threading.Event,
        owner: str,
        destination: str,
    ) -> None:
        log = get_logger(service="dispatcher")
        away_s = 0.0
        job: Job | None = None
        before, often_until_s = -1, 0.0
        while not stop.is_set():
            self._store.pulse.went_round(ROUND_S + self._store.settings.queue.poll_s)
            try:
                known, before = before, self._store.database.written()
                if before != known:
                    often_until_s = time.monotonic() + _OFTEN_FOR_S
                job = self._store.ledger.claim(
                    kinds, owner, destination=destination, look_first=job is None
                )
            except StorageUnavailable as error:
                if not away_s:
                    log.error(Event.DATABASE_WENT_AWAY, reason=str(error))
                away_s = longer(away_s)
                stop.wait(away_s)
                continue
            if away_s:
                log.info(Event.DATABASE_CAME_BACK)
                away_s = 0.0
            if job is not None:
                hands.do(job)
            else:
                self._wait(stop, before, often_until_s)
        self._store.pulse.forget()

    def _wait(self, stop: threading.Event, before: int, often_until_s: float) -> None:
        """Wait until somebody has written, ``poll_s`` at most: jobs come due without a write."""
        until_s = time.monotonic() + self._store.settings.queue.poll_s
        while (now_s := time.monotonic()) < until_s:
            look_s = _LOOK_OFTEN_S if now_s < often_until_s else _LOOK_S
            if stop.wait(min(look_s, until_s - now_s)) or self._has_been_written(before):
                return

    def _has_been_written(self, before: int) -> bool:
        try:
            return self._store.database.written() != before
        except StorageUnavailable:  # the claim that follows says so
            return True
