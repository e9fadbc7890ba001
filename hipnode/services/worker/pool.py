"""Reading processes that may die without taking the worker along."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import ParamSpec, TypeVar

from pebble import ProcessExpired, ProcessPool

from hipnode.errors import WorkerKilled

P = ParamSpec("P")
T = TypeVar("T")


def _leave_stopping_to_the_worker() -> None:
    """Outlive a signal to the whole process group (Ctrl-C, say), so that the job is finished."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class ReaderPool:
    """A few warm processes, each replaced when it dies or is ended for taking too long."""

    def __init__(self, processes: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pool = ProcessPool(
            max_workers=processes,
            # Forking a process that has threads (ours has) copies locks that nobody will release.
            context=multiprocessing.get_context("spawn"),
            initializer=_leave_stopping_to_the_worker,
        )

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` in a reading process and wait for its result.

        Raises
        ------
        WorkerKilled
            If the process died, or took longer than the limit and was ended.
        HipnodeError
            As the function raised it.
        """
        future = self._pool.schedule(
            function, args=list(args), kwargs=kwargs, timeout=self._timeout_s
        )
        try:
            result: T = future.result()
        except FutureTimeoutError:
            raise WorkerKilled(f"The reading took longer than {self._timeout_s:g} s.") from None
        except ProcessExpired as error:
            raise WorkerKilled(
                f"The reading process died (exit status {error.exitcode})."
            ) from error
        return result

    def close(self) -> None:
        """End the processes; running calls are waited for."""
        self._pool.close()  # type: ignore[no-untyped-call]
        self._pool.join()
