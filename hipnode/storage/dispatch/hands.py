"""Who runs what next: a loop that claims, renews leases while work is done, and stops cleanly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from hipnode.domain import Job, JobKind
from hipnode.errors import HipnodeError, LeaseLost, StorageUnavailable
from hipnode.log import Event, get_logger
from hipnode.settings import Settings

if TYPE_CHECKING:
    from hipnode.storage.store import Store

Handle = Callable[[Job], None]

_START_S: Final = 120.0
"""What it may take a reading process to start, or a large object to go out."""
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


def _limits_s(settings: Settings) -> dict[JobKind, float]:
    """Return after how long a job of each kind hangs: what it may take by the settings, twice."""
    one_s = settings.worker.job_timeout_s + _START_S
    delivery_s = max((place.timeout_s for place in settings.destinations), default=0.0)
    return {
        JobKind.READ: 2 * one_s,
        JobKind.REPORT: 2 * one_s,
        JobKind.DELIVER: 8 * delivery_s + _START_S,
    }


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
        self._recovery = store.recovery
        self._pulse = store.pulse
        self._limits_s = _limits_s(store.settings)
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
            with self._pulse.doing(f"at {job.kind} job {job.id}", self._limits_s[job.kind]):
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
            self._recovery.retry(job, str(error), count_attempt=False)
        except HipnodeError as further:
            self._log.warning(Event.JOB_FAILED, job_id=job.id, reason=str(further))

    def _again(self, job: Job, error: Exception) -> None:
        """Count the attempt; where even that fails, the lease runs out and is counted then."""
        reason = str(error) if isinstance(error, HipnodeError) else ""
        try:
            self._recovery.retry(job, f"{type(error).__name__}: {reason}".rstrip(": "))
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
