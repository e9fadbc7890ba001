"""Dispatch by procrastinate: any number of workers and couriers on any number of hosts.

procrastinate says "run job N" or "look into this outbox"; the ledger decides whether there is
anything to do. Its rows are written by `ledger.hints`, in the ledger's transactions.
This is the only module that imports it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import procrastinate
import psycopg
from procrastinate.exceptions import ConnectorException
from psycopg.conninfo import make_conninfo

from hipnode.domain import Job, JobKind
from hipnode.errors import StorageUnavailable
from hipnode.log import Event, get_logger
from hipnode.storage.database.door import PATIENCE
from hipnode.storage.dispatch.hands import Handle, Hands, longer
from hipnode.storage.ledger import hints
from hipnode.storage.store import Store

_STOP_S: Final = 0.1
_RETRY_S: Final = 1
_NOTHING_S: Final = 0.02


class PostgreSQLDispatcher:
    """Runs a procrastinate worker, and starts it again when the database has been away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._log = get_logger(service="dispatcher")
        for library in ("procrastinate", "psycopg"):  # told here, in our words
            logging.getLogger(library).setLevel(logging.CRITICAL)

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
        """See `hipnode.storage.dispatch.hands.Dispatcher.run`."""
        hands = Hands(self._store, handle, stop)
        queues = self._queues(tuple(kinds), destination)
        with hands.renewing():
            asyncio.run(self._serve(queues, hands, stop, owner, threads))

    def _queues(self, kinds: tuple[JobKind, ...], destination: str) -> list[str]:
        queues = [hints.queue_name(kind) for kind in kinds if kind is not JobKind.DELIVER]
        if JobKind.DELIVER in kinds:
            every = [place.name for place in self._store.settings.destinations]
            names = [destination] if destination else every
            queues += [hints.queue_name(JobKind.DELIVER, name) for name in names]
        return queues

    async def _serve(
        self, queues: list[str], hands: Hands, stop: threading.Event, owner: str, threads: int
    ) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads + 2))
        away_s = 0.0
        while not stop.is_set():
            try:
                async with self._app(hands, stop, owner).open_async() as app:
                    if away_s:
                        self._log.info(Event.DATABASE_CAME_BACK)
                        away_s = 0.0
                    await self._work(app, queues, stop, owner, threads)
            except (ConnectorException, psycopg.Error) as error:
                if not away_s:
                    self._log.error(Event.DATABASE_WENT_AWAY, error_type=type(error).__name__)
                away_s = longer(away_s)
                self._store.pulse.went_round()
                await asyncio.to_thread(stop.wait, away_s)
        self._store.pulse.forget()

    async def _work(
        self,
        app: procrastinate.App,
        queues: list[str],
        stop: threading.Event,
        owner: str,
        threads: int,
    ) -> None:
        """Run procrastinate's worker until ``stop`` is set or the database goes away."""
        worker = asyncio.create_task(
            app.run_worker_async(
                queues=queues,
                name=owner,
                concurrency=threads,
                fetch_job_polling_interval=self._store.settings.queue.poll_s,
                install_signal_handlers=False,
                delete_jobs="always",
            )
        )
        while not stop.is_set() and not worker.done():
            self._store.pulse.went_round()
            await asyncio.wait([worker], timeout=_STOP_S)
        worker.cancel()  # it finishes what it has at hand
        with contextlib.suppress(asyncio.CancelledError):
            await worker

    def _app(self, hands: Hands, stop: threading.Event, owner: str) -> procrastinate.App:
        url = self._store.database.engine.url.set(drivername="postgresql")
        conninfo = make_conninfo(url.render_as_string(hide_password=False), **PATIENCE)
        connector = procrastinate.PsycopgConnector(
            conninfo=conninfo, min_size=1, max_size=4, timeout=10
        )
        app = procrastinate.App(connector=connector)
        again = procrastinate.RetryStrategy(wait=_RETRY_S, retry_exceptions=[StorageUnavailable])

        @app.task(name=hints.RUN, retry=again)
        def run(job_id: int) -> None:
            if not stop.is_set():
                do(self._store.ledger.claim_this(job_id, owner))
            else:
                self._store.ledger.nudge(job_id)

        @app.task(name=hints.LOOK, retry=again)
        def look(destination: str) -> None:
            if not stop.is_set():
                kinds = (JobKind.DELIVER,)
                do(self._store.ledger.claim(kinds, owner, destination=destination))
            self._store.ledger.nudge_outbox(destination)

        def do(job: Job | None) -> None:
            if job is None:
                stop.wait(_NOTHING_S)  # clocks differ: give a hint that came too early its time
            else:
                hands.do(job)

        return app
