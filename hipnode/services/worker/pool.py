"""Reading processes that may die without taking the worker along."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from typing import Final, ParamSpec, TypeVar

from pebble import ProcessExpired, ProcessPool

from hipnode.errors import WorkerKilled

P = ParamSpec("P")
T = TypeVar("T")

_START_S: Final = 120
"""How long a process may take to start before it takes its first call."""
_DIED_IDLE: Final = "The reading process died before the reading began."


def _begin() -> None:
    """Bring in what reads and reports before a job waits for it; leave stopping to the worker.

    A signal to the whole process group (Ctrl-C, say) is outlived, so that the job is finished.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gc.disable()  # looking again and again through what importing makes took a fifth of the start
    import_module("hipnode.services.worker.reader").prepare()
    gc.freeze()  # what is there by now stays
    gc.enable()


class ReaderPool:
    """A few warm processes, each replaced when it dies or is ended for taking too long.

    Parameters
    ----------
    processes
        How many calls run side by side; no more may be made at a time.
    timeout_s
        How long one may take.
    """

    def __init__(self, processes: int, timeout_s: float) -> None:
        self._processes = processes
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._pool = self._made()

    def _made(self) -> ProcessPool:
        return ProcessPool(
            max_workers=self._processes,
            # Forking a process that has threads (ours has) copies locks that nobody will release.
            context=multiprocessing.get_context("spawn"),
            initializer=_begin,
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
        with self._lock:
            if not self._pool.active:
                self._replace()
            pool = self._pool
        try:
            future = pool.schedule(
                function, args=list(args), kwargs=kwargs, timeout=self._timeout_s
            )
        except RuntimeError as error:  # it broke in between
            raise WorkerKilled(_DIED_IDLE) from error
        try:
            result: T = future.result(self._timeout_s + _START_S)
        except FutureTimeoutError:
            if not future.done():  # its process died before it could say that it had taken the call
                with self._lock:
                    if pool is self._pool:
                        self._replace()
            raise WorkerKilled(f"The reading took longer than {self._timeout_s:g} s.") from None
        except ProcessExpired as error:
            raise WorkerKilled(
                f"The reading process died (exit status {error.exitcode})."
            ) from error
        except BrokenProcessPool as error:
            raise WorkerKilled(_DIED_IDLE) from error
        return result

    def _replace(self) -> None:
        """Start anew: pebble gives up for good when a process dies that has nothing to do."""
        broken, self._pool = self._pool, self._made()
        broken.stop()  # type: ignore[no-untyped-call]
        broken.join()

    def close(self) -> None:
        """End the processes; running calls are waited for."""
        self._pool.close()  # type: ignore[no-untyped-call]
        self._pool.join()
