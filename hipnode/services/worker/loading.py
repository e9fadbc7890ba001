"""Which model set is loaded when: what is asked for first, the others while nothing is to be done.

Each is loaded in a reading process before anything is read with it, and is then on the audit log.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from hipnode.domain import AuditEvent, AuditRecord, JobKind, JobState
from hipnode.errors import (
    BundleRefused,
    HipnodeError,
    SettingsInvalid,
    StorageUnavailable,
    WorkerKilled,
)
from hipnode.log import Event, get_logger
from hipnode.services.modelsets import ModelSets
from hipnode.services.worker import reader
from hipnode.services.worker.device import SteadyPool
from hipnode.storage import Store

_TRIES: Final = 3
_QUIET_S: Final = 0.5
"""So long has nothing been read when a set is loaded that nobody has asked for."""
_PATIENCE_S: Final = 60.0
"""Past this, it is loaded beside the work: a set that cannot be used must be known before long."""


class SetLoader:
    """Loads the model sets of a worker.

    Parameters
    ----------
    spec
        For a reading process.
    sets
        Which there are.
    pool
        The reading processes.
    store
        Its audit log says what was loaded; its pulse says so to whoever asks for the status.
    """

    def __init__(
        self, spec: reader.ReaderSpec, sets: ModelSets, pool: SteadyPool, store: Store
    ) -> None:
        self._spec = spec
        self._sets = sets
        self._pool = pool
        self._store = store
        self._log = get_logger(service="worker")
        self._waiting: dict[str, str] = {}
        self._one_at_a_time = threading.Lock()
        self._ended_by: HipnodeError | None = None
        self._stop: threading.Event | None = None
        self._counting = threading.Lock()
        self._at_work = 0
        self._quiet_since_s = 0.0

    def first(self) -> None:
        """Load the set that the image at the head of the queue asks for, else the usual one.

        Raises
        ------
        SettingsInvalid
            If it reports and cannot be loaded.
        """
        self._waiting = dict(self._sets.references)
        for reference, why in self._sets.broken.items():
            self._say_broken(reference, why)
        images = self._store.lookups.jobs(kind=JobKind.READ, state=JobState.QUEUED, limit=1)
        wanted = next((job.model_set for job in images), "")
        self.need(wanted if wanted in self._waiting else self._sets.default)
        self._store.pulse.ready = True

    def need(self, digest: str) -> None:
        """Have a set loaded before anything is read with it.

        Raises
        ------
        SettingsInvalid
            If it reports and cannot be loaded.
        """
        if digest not in self._waiting:
            return
        with self._one_at_a_time:
            if digest not in self._waiting:
                return
            reference = self._waiting[digest]
            try:
                self._load(reference)
            except BundleRefused as error:
                if not self._sets.is_only_shadow(digest):
                    raise SettingsInvalid(f"worker.model_set(s), {reference}: {error}") from error
                self._sets.leave_out(digest, str(error))
                self._say_broken(reference, str(error))
            del self._waiting[digest]

    @contextmanager
    def loading_the_rest(self, stop: threading.Event) -> Iterator[None]:
        """Load the others beside the work within, in moments in which nothing is read.

        Parameters
        ----------
        stop
            Ends it; set where a set that reports cannot be loaded, so that the work ends too.

        Raises
        ------
        SettingsInvalid, WorkerKilled
            At the end, in that case.
        """
        self._stop, self._quiet_since_s = stop, time.monotonic()
        thread = threading.Thread(target=self._load_when_quiet, args=(stop,), name="model sets")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if self._ended_by is not None:
            raise self._ended_by

    @contextmanager
    def reading(self, digest: str) -> Iterator[None]:
        """Mark that an image is read, with a set that is loaded before where it is not yet.

        Raises
        ------
        StorageUnavailable
            If it reports and cannot be loaded: no fault of the image, and the work ends.
        """
        with self._counting:
            self._at_work += 1
        try:
            try:
                self.need(digest)
            except SettingsInvalid as error:
                if self._stop is not None:
                    self._end(error, self._stop)
                raise StorageUnavailable(str(error)) from error
            yield
        finally:
            with self._counting:
                self._at_work -= 1
                self._quiet_since_s = time.monotonic()

    def _load_when_quiet(self, stop: threading.Event) -> None:
        until_s = time.monotonic() + _PATIENCE_S
        while self._waiting and not stop.wait(_QUIET_S / 5):
            now_s = time.monotonic()
            quiet = not self._at_work and now_s - self._quiet_since_s >= _QUIET_S
            if not quiet and now_s < until_s:
                continue
            try:
                self.need(next(iter(self._waiting)))
            except StopIteration:  # a reading has just asked for the last
                return
            except StorageUnavailable:  # the audit log cannot be told now
                continue
            except HipnodeError as error:
                self._end(error, stop)

    def _end(self, error: HipnodeError, stop: threading.Event) -> None:
        self._ended_by = self._ended_by or error
        stop.set()

    def _say_broken(self, reference: str, why: str) -> None:
        self._log.error(Event.SHADOW_SET_BROKEN, model_set=reference, reason=why)
        self._store.pulse.models.append({"set": reference, "error": why})

    def _load(self, reference: str) -> None:
        loaded = self._warmed(replace(self._spec, model_set=reference))
        models = {
            role: {"model": of.name, "model_version": of.version, "model_digest": of.digest}
            for role, of in loaded.models.items()
        }
        detail = {"model_set": loaded.name, "digest": loaded.digest, "models": models}
        self._store.audit.append(AuditRecord(AuditEvent.MODEL_SET_LOADED, detail=detail))
        self._log.info(Event.MODEL_SET_LOADED, model_set=loaded.name, digest=loaded.digest)
        self._store.pulse.models.append(
            {
                "set": reference,
                "digest": loaded.digest,
                "models": {role: f"{of.name} {of.version}" for role, of in loaded.models.items()},
            }
        )

    def _warmed(self, spec: reader.ReaderSpec) -> reader.Warmed:
        """Load one set; a process that is killed meanwhile (memory ran out, say) is no verdict."""
        for _ in range(_TRIES - 1):
            with suppress(WorkerKilled):
                return self._pool.call(reader.warm, spec)
        return self._pool.call(reader.warm, spec)
