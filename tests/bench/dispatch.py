"""The queue as the services take it: read, report, deliver, each job through the dispatcher.

`queue` measures claiming and completing alone; here the dispatcher is told of each job, fetches it
and hands it to a thread, as in a worker and a courier. What the jobs do is nothing.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Final

from hipnode.domain import Header, Job, JobKind, ResultKind
from hipnode.storage import NewResult, Received, Store, dispatcher_for
from tests.bench import databases
from tests.bench.harness import Run, Table, Target
from tests.bench.queue import READING, WORKERS
from tests.postgres import Postgres

DIRECT: Final = "claim called directly"
_PLACE: Final = "pacs"
_WORKER: Final = (JobKind.READ, JobKind.REPORT)
_NUMBERS: Final = count(1)


def tables(run: Run) -> Iterator[Table]:
    """Yield the tables of this measurement."""
    with databases.server() as server:
        for engine in databases.ENGINES:
            studies = run.size(300, 20)
            table = Table(
                f"Dispatch: {studies} studies read, reported, delivered, {engine}",
                "jobs/s",
                targets=(Target(DIRECT, at_least=0.5),),
            )
            contestants: dict[str, Callable[[], float]] = {
                "hipnode": partial(_rate, run, engine, server, studies, dispatched),
                DIRECT: partial(_rate, run, engine, server, studies, directly),
            }
            yield table.run(contestants, run.rounds)
            waking = Table(
                f"Dispatch: from an image that is safe to its job, nothing else to do, {engine}",
                "ms",
                targets=(Target(at_most=30),),
            )
            contestants = {"hipnode": partial(_woken_ms, run, engine, server)}
            yield waking.run(contestants, run.rounds)


def _rate(
    run: Run,
    engine: str,
    server: Postgres,
    studies: int,
    through: Callable[[Store, threading.Event, Callable[[Job], None]], list[threading.Thread]],
) -> float:
    """Return how many jobs a second are done of a backlog of studies, three jobs each."""
    with databases.store(engine, run.new_folder("dispatch"), server) as store:
        for _ in range(studies):
            ingest(store)
        done = threading.Semaphore(0)
        stop = threading.Event()

        def handle(job: Job) -> None:
            finish(store, job)
            done.release()

        start_s = time.perf_counter()
        threads = through(store, stop, handle)
        try:
            for _ in range(3 * studies):
                if not done.acquire(timeout=120):
                    raise RuntimeError("jobs are left, and nobody does them")
            return 3 * studies / (time.perf_counter() - start_s)
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def _woken_ms(run: Run, engine: str, server: Postgres) -> float:
    """Return how long an idle dispatcher takes to hand over a job that has just been made."""
    with databases.store(engine, run.new_folder("dispatch"), server) as store:
        woken = threading.Event()

        def handle(job: Job) -> None:
            if job.kind is JobKind.READ:
                woken.set()
            finish(store, job)

        with _running(store, handle):
            taken_ms = []
            for _ in range(run.size(15, 5)):
                time.sleep(0.7)  # SQLite's looks more often for half a second after a write
                woken.clear()
                ingest(store)
                start_s = time.perf_counter()
                if not woken.wait(60):
                    raise RuntimeError("nobody was woken")
                taken_ms.append((time.perf_counter() - start_s) * 1000)
        return statistics.median(taken_ms[1:])


@contextmanager
def _running(store: Store, handle: Callable[[Job], None]) -> Iterator[None]:
    stop = threading.Event()
    threads = dispatched(store, stop, handle)
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def dispatched(
    store: Store, stop: threading.Event, handle: Callable[[Job], None]
) -> list[threading.Thread]:
    """Start a worker's dispatcher and a courier's."""
    run = dispatcher_for(store).run
    work = partial(run, _WORKER, handle, stop, "worker", WORKERS)
    courier = partial(run, (JobKind.DELIVER,), handle, stop, "courier", destination=_PLACE)
    threads = [threading.Thread(target=target) for target in (work, courier)]
    for thread in threads:
        thread.start()
    return threads


def directly(
    store: Store, stop: threading.Event, handle: Callable[[Job], None]
) -> list[threading.Thread]:
    """Start as many threads that ask the ledger for the next job again and again."""

    def take(kinds: tuple[JobKind, ...], destination: str = "") -> None:
        while not stop.is_set():
            job = store.ledger.claim(kinds, "direct", destination=destination)
            if job is None:
                stop.wait(0.002)
            else:
                handle(job)

    threads = [threading.Thread(target=take, args=(_WORKER,)) for _ in range(WORKERS)]
    threads.append(threading.Thread(target=take, args=((JobKind.DELIVER,), _PLACE)))
    for thread in threads:
        thread.start()
    return threads


def ingest(store: Store) -> None:
    """Let the store have an image of a study of its own."""
    number = next(_NUMBERS)
    header = Header("1.2.840.10008.5.1.4.1.1.1.1", f"1.2.3.{number}", f"1.2.{number}")
    received = Received(
        header=header, calling_ae="MODALITY", called_ae="HIPNODE", peer_address="127.0.0.1",
        path=f"images/{number}.dcm", digest=f"{number:064x}", size_bytes=1000,
        association_id="bench",
    )  # fmt: skip
    store.ledger.ingest(received, action="read", model_sets=("m",), quiet_s=0)


def finish(store: Store, job: Job) -> None:
    """Do a job that takes no time, and note that it is done."""
    if job.kind is JobKind.READ:
        store.ledger.finish_read(job, READING)
    elif job.kind is JobKind.REPORT:
        uid = f"2.25.{job.id}"
        made = NewResult(ResultKind.SR, "1.2.840.1", uid, f"results/{uid}.dcm", "0" * 64)
        store.ledger.finish_report(job, [made], (_PLACE,))
    else:
        store.ledger.finish_delivery(job, status=0, sop_class_uid="1.2.840.1", peer="PACS")
