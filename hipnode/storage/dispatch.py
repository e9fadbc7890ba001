"""Who runs what next: a loop that claims, renews leases while work is done, and stops cleanly."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from hipnode.domain import Job, JobKind
from hipnode.errors import HipnodeError, LeaseLost, StorageUnavailable
from hipnode.log import Event, get_logger

if TYPE_CHECKING:
    from hipnode.storage.store import Store

Handle = Callable[[Job], None]

_LOOK_S: Final = 0.02
"""How often an idle SQLite dispatcher asks whether anybody has written: it takes microseconds."""
_LOOK_OFTEN_S: Final = 0.002
_OFTEN_FOR_S: Final = 0.5
"""After a write it asks more often for a while: one step of a study follows upon another."""
AWAY_FIRST_S: Final = 0.5
AWAY_CAP_S: Final = 10.0


def longer(away_s: float) -> float:
    """Return how long to wait next for what is away, having waited so long for it; 0 at first."""
    return min(AWAY_CAP_S, away_s * 2 or AWAY_FIRST_S)


class Dispatcher(Protocol):
    """Gives jobs to whoever can do them."""

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
        """Claim jobs and hand each to ``handle``, until ``stop`` is set and all hands are empty.

        Parameters
        ----------
        kinds
            What to claim.
        handle
            Does the job and tells the ledger how it ended (``finish_…``, ``retry``, ``quarantine``
            or ``hand_back``). Its lease is renewed meanwhile.
        stop
            Set it to stop: jobs at hand are finished, no further one is claimed.
        owner
            Who claims, for the audit log.
        threads
            How many jobs are handled side by side.
        destination
            Deliveries to this destination only.
        """


class Hands:
    """What the dispatchers share: doing one job with its lease kept alive.

    Parameters
    ----------
    store
        Whose ledger.
    handle
        Does the job.
    stop
        Set when no further job is wanted: nobody waits then.
    """

    def __init__(self, store: Store, handle: Handle, stop: threading.Event) -> None:
        self._ledger = store.ledger
        self._handle = handle
        self._stop = stop
        self._away_s = 0.0
        self._every_s = store.settings.queue.lease_s / 3
        self._held: dict[int, Job] = {}
        self._lock = threading.Lock()
        self._log = get_logger(service="dispatcher")

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew the leases of the jobs at hand, in a thread of its own."""
        done = threading.Event()
        thread = threading.Thread(target=self._renew, args=(done,), name="leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def do(self, job: Job) -> None:
        """Handle one job. Nothing that goes wrong in it gets past here."""
        with self._lock:
            self._held[job.id] = job
        try:
            self._handle(job)
            self._away_s = 0.0
        except LeaseLost:
            self._log.warning(Event.LEASE_LOST, job_id=job.id, job_kind=job.kind, token=job.token)
        except StorageUnavailable as error:
            self._wait_and_return(job, error)
        except Exception as error:  # noqa: BLE001 - the one net of a process's loop
            self._log.error(
                Event.JOB_FAILED, job_id=job.id, job_kind=job.kind, error_type=type(error).__name__
            )
            self._again(job, error)
        finally:
            with self._lock:
                self._held.pop(job.id, None)

    def _wait_and_return(self, job: Job, error: StorageUnavailable) -> None:
        """Wait, longer each time, and return the job: that files cannot be used is not its fault.

        Where the database is what is away, the lease runs out in the end, and the attempt counts.
        """
        self._log.error(Event.JOB_FAILED, job_id=job.id, reason=str(error))
        self._away_s = longer(self._away_s)
        self._stop.wait(self._away_s)
        try:
            self._ledger.retry(job, str(error), count_attempt=False)
        except HipnodeError as further:
            self._log.warning(Event.JOB_FAILED, job_id=job.id, reason=str(further))

    def _again(self, job: Job, error: Exception) -> None:
        """Count the attempt; where even that fails, the lease runs out and is counted then."""
        reason = str(error) if isinstance(error, HipnodeError) else ""
        try:
            self._ledger.retry(job, f"{type(error).__name__}: {reason}".rstrip(": "))
        except HipnodeError as further:
            self._log.warning(Event.JOB_FAILED, job_id=job.id, reason=str(further))

    def _renew(self, done: threading.Event) -> None:
        while not done.wait(self._every_s):
            with self._lock:
                held = list(self._held.values())
            for job in held:
                try:
                    self._ledger.renew(job)
                except LeaseLost:
                    with self._lock:
                        self._held.pop(job.id, None)
                except StorageUnavailable as error:
                    self._log.warning(Event.DATABASE_WENT_AWAY, reason=str(error))


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
                name=f"{owner}-{number}",
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


def dispatcher_for(store: Store) -> Dispatcher:
    """Return the dispatcher that fits the store's database."""
    if store.database.is_sqlite:
        return SQLiteDispatcher(store)
    module = importlib.import_module("hipnode.storage.dispatch_postgresql")
    dispatcher: Dispatcher = module.PostgreSQLDispatcher(store)
    return dispatcher
