"""The GPU may be lost at any time; reading goes on without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Concatenate, ParamSpec, TypeVar

from hipnode.domain import AuditEvent, AuditRecord, Outcome
from hipnode.errors import EngineLost
from hipnode.log import Event, get_logger
from hipnode.services.worker.pool import ReaderPool
from hipnode.services.worker.reader import ReaderSpec
from hipnode.storage import Store

P = ParamSpec("P")
T = TypeVar("T")


class SteadyPool:
    """Reading processes that turn to the CPU once the GPU has failed them.

    The call in hand is made again at once. The GPU is tried again when the worker is started again,
    which is a person's decision: a device that comes and goes would read every other image twice.

    Parameters
    ----------
    pool
        The processes.
    store
        Whose audit log says that the GPU was lost.
    """

    def __init__(self, pool: ReaderPool, store: Store) -> None:
        self._pool = pool
        self._store = store
        self._lost = False

    def call(
        self,
        function: Callable[Concatenate[ReaderSpec, P], T],
        spec: ReaderSpec,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run ``function`` in a reading process, on the GPU if the spec says so and there is one.

        Raises
        ------
        WorkerKilled
            If the process died, or took longer than the limit and was ended.
        StorageUnavailable
            If the GPU was lost and the audit log cannot be told.
        HipnodeError
            As the function raised it.
        """
        if not self._lost:
            try:
                return self._pool.call(function, spec, *args, **kwargs)
            except EngineLost as error:
                self._note(spec.device, str(error))
        return self._pool.call(function, replace(spec, device="cpu"), *args, **kwargs)

    def _note(self, device: str, reason: str) -> None:
        detail = {"device": device, "reason": reason, "instead": "cpu"}
        record = AuditRecord(AuditEvent.ENGINE_LOST, Outcome.FAILED, actor="worker", detail=detail)
        self._store.audit.append(record)
        self._lost = True
        get_logger(service="worker").error(Event.ENGINE_LOST, device=device, reason=reason)

    def close(self) -> None:
        """End the processes; running calls are waited for."""
        self._pool.close()
