"""One contract for both dispatchers: SQLite's own, and procrastinate on PostgreSQL.

Workers are real processes; they are killed with signal 9 where the name of the test says so.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
import sqlalchemy as sa

from hipnode.domain import Job, JobKind, JobState
from hipnode.errors import StorageUnavailable
from hipnode.settings import Settings
from hipnode.storage import Store, dispatcher_for
from hipnode.storage.database.schema import job as jobs
from tests.db.conftest import Bench
from tests.peers import Process, eventually
from tests.postgres import Postgres

ALL = (JobKind.READ, JobKind.REPORT, JobKind.DELIVER)
PACS = {"name": "pacs", "host": "127.0.0.1", "port": 104, "ae_title": "PACS"}


@pytest.fixture
def live(database_url: str, tmp_path: Path) -> Iterator[Bench]:
    """A store whose clock is the real one."""
    settings = Settings.model_validate(
        {
            "node": {"data_dir": tmp_path / "data"},
            "database": {"url": database_url},
            "queue": {
                "lease_s": 1.5,
                "max_attempts": 3,
                "poll_s": 0.1,
                "backoff_first_s": 0.4,
                "backoff_cap_s": 0.4,
            },
            "destinations": [PACS],
        }
    )
    store = Store.open(settings, migrate=not database_url)
    bench = Bench(store, None, settings)  # type: ignore[arg-type]
    yield bench
    store.close()


@pytest.fixture
def worker(live: Bench, tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    """A function that starts a worker process; what it does is in ``tmp_path / "log"``."""
    started: list[Process] = []

    def start(mode: str) -> Process:
        document = live.settings.model_dump(mode="json")
        document["database"]["url"] = live.settings.database.url.get_secret_value()
        command = [sys.executable, "-m", "tests.db.worker_process", json.dumps(document), mode]
        output = tmp_path / f"worker-{len(started)}.txt"
        started.append(Process([*command, str(tmp_path / "log")], output))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def lines(tmp_path: Path, word: str) -> list[list[str]]:
    log = tmp_path / "log"
    rows = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [row for row in rows if row[0] == word]


@dataclass
class all_done:  # noqa: N801 - reads as the condition that it is
    """Whether so many objects were delivered, for `eventually`; as text, what is left to do."""

    bench: Bench
    deliveries: int

    def __call__(self) -> bool:
        self.bench.store.recovery.expire_leases()
        self.bench.store.sweep_dispatch()
        found = self.bench.store.lookups.jobs(kind=JobKind.DELIVER)
        return [job.state for job in found] == [JobState.DONE] * self.deliveries

    def __str__(self) -> str:
        left = [job for job in self.bench.store.lookups.jobs() if job.state is not JobState.DONE]
        return f"{self.deliveries} deliveries; left: {left}"


class Hand:
    """Runs a dispatcher in a thread, with a handler of the test's own."""

    def __init__(self, bench: Bench, handle: Callable[[Job], None], **options: Any) -> None:
        self.stop = threading.Event()
        self.thread = threading.Thread(
            target=dispatcher_for(bench.store).run,
            args=(ALL, handle, self.stop, "tester"),
            kwargs=options,
        )

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


def do(bench: Bench, job: Job) -> None:
    if job.kind is JobKind.READ:
        bench.read(job)
    elif job.kind is JobKind.REPORT:
        bench.report(job)
    else:
        bench.deliver(job)


def test_a_study_goes_all_the_way(live: Bench) -> None:
    with Hand(live, lambda job: do(live, job)):
        live.receive()
        eventually(all_done(live, 1))
    assert live.store.lookups.account().delivered == 1


def test_work_that_waits_is_found_at_start(live: Bench) -> None:
    for number in range(5):
        live.receive(f"{number}.1", str(number))
    with Hand(live, lambda job: do(live, job), threads=2):
        eventually(all_done(live, 5))


def test_a_new_job_does_not_wait_for_the_next_look(live: Bench) -> None:
    began: list[int] = []

    def handle(job: Job) -> None:
        began.append(job.id)
        do(live, job)

    queue = live.settings.queue.model_copy(update={"poll_s": 600})
    live.store.settings = live.settings.model_copy(update={"queue": queue})
    with Hand(live, handle):
        time.sleep(2)  # it is idle by now
        live.receive(quiet_s=60)
        eventually(lambda: began)


def test_urgent_jobs_first(live: Bench) -> None:
    for number in range(4):
        live.receive(f"{number}.1", str(number), quiet_s=60)
    live.receive("9.1", "9", priority=5, quiet_s=60)
    order: list[str] = []

    def handle(job: Job) -> None:
        order.append(job.study_instance_uid)
        do(live, job)

    with Hand(live, handle):
        eventually(lambda: len(order) == 5)
    assert order == ["9", "0", "1", "2", "3"]


def test_files_that_are_away_are_waited_for_and_cost_no_attempt(
    live: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hipnode.storage.dispatch.hands.AWAY_CAP_S", 0.1)
    away = [True] * 2 * live.settings.queue.max_attempts

    def handle(job: Job) -> None:
        if away:
            away.pop()
            raise StorageUnavailable
        do(live, job)

    live.receive("1.1", "1")
    with Hand(live, handle):
        eventually(all_done(live, 1))
    assert not away
    assert {job.attempts for job in live.store.lookups.jobs()} == {0}


def test_a_report_waits_for_the_quiet_period(live: Bench) -> None:
    done: dict[str, datetime] = {}

    def handle(job: Job) -> None:
        done[job.kind] = datetime.now(UTC)
        do(live, job)

    with Hand(live, handle):
        live.receive("1.1", "1", quiet_s=2)
        time.sleep(1)
        live.receive("1.2", "1", quiet_s=2)
        last = datetime.now(UTC)
        eventually(all_done(live, 1))
    assert (done[JobKind.REPORT] - last).total_seconds() > 1.9


def test_a_failed_job_comes_back_after_its_back_off(live: Bench) -> None:
    tries: list[float] = []

    def handle(job: Job) -> None:
        if job.kind is JobKind.READ:
            tries.append(time.monotonic())
            live.store.recovery.retry(job, "not now")

    with Hand(live, handle):
        live.receive()
        eventually(lambda: live.store.lookups.jobs(state=JobState.QUARANTINED))
    assert len(tries) == 3
    assert tries[1] - tries[0] >= 0.19


def test_an_error_in_the_handler_is_the_jobs_alone(live: Bench) -> None:
    def handle(job: Job) -> None:
        if job.study_instance_uid == "1":
            raise ZeroDivisionError
        do(live, job)

    with Hand(live, handle):
        live.receive("1.1", "1", quiet_s=60)
        live.receive("2.1", "2")
        eventually(all_done(live, 1))
        eventually(lambda: live.store.lookups.jobs(state=JobState.QUARANTINED))
    (job,) = live.store.lookups.jobs(state=JobState.QUARANTINED)
    assert "ZeroDivisionError" in job.error


def test_a_destination_that_is_away_gets_all_in_order_when_it_is_back(live: Bench) -> None:
    away = threading.Event()
    away.set()
    sent: list[int] = []

    def handle(job: Job) -> None:
        if job.kind is JobKind.DELIVER and away.is_set():
            live.store.recovery.retry(job, "connection refused", count_attempt=False)
        else:
            if job.kind is JobKind.DELIVER:
                sent.append(job.id)
            do(live, job)

    with Hand(live, handle, threads=2):
        for number in range(4):
            live.receive(f"{number}.1", str(number))
        eventually(lambda: len(live.store.lookups.jobs(kind=JobKind.DELIVER)) == 4)
        time.sleep(2)
        assert not sent
        away.clear()
        eventually(lambda: len(sent) == 4)
    in_order = sa.select(jobs.c.id).where(jobs.c.kind == "deliver").order_by(jobs.c.position_us)
    assert sent == live.store.database.read(lambda c: list(c.execute(in_order).scalars()))
    assert all(job.attempts == 0 for job in live.store.lookups.jobs(kind=JobKind.DELIVER))


def test_leases_are_renewed_while_a_job_is_done(live: Bench) -> None:
    def handle(job: Job) -> None:
        if job.kind is JobKind.READ:
            time.sleep(4)  # lease_s is 1.5
        do(live, job)

    with Hand(live, handle):
        live.receive()
        eventually(all_done(live, 1))
    (job,) = live.store.lookups.jobs(kind=JobKind.READ)
    assert (job.attempts, job.token) == (0, 1)


def test_a_killed_workers_job_is_taken_over_and_its_late_word_does_not_count(
    live: Bench, worker: Callable[[str], Process], tmp_path: Path
) -> None:
    live.receive()
    victim = worker("stick")
    eventually(lambda: lines(tmp_path, "begun"), 60)
    worker("work")
    victim.kill()
    eventually(all_done(live, 1), poll_s=0.5)
    (job,) = live.store.lookups.jobs(kind=JobKind.READ)
    assert (job.attempts, job.token) == (1, 2)
    assert live.store.lookups.account().delivered == 1


def test_nothing_is_lost_while_workers_are_killed(
    live: Bench, worker: Callable[[str], Process], tmp_path: Path
) -> None:
    workers = [worker("slow") for _ in range(2)]
    eventually(lambda: len(lines(tmp_path, "ready")) == 2, 60)
    for number in range(12):
        live.receive(f"{number}.1", str(number))
        if number % 4 == 3:
            time.sleep(0.4)
            workers.pop(0).kill()
            workers.append(worker("slow"))
    eventually(all_done(live, 12), 120, poll_s=0.5)
    account = live.store.lookups.account()
    assert account.received == account.delivered == 12
    results = [r for n in range(12) for r in live.store.lookups.results(str(n))]
    assert len({r.sop_instance_uid for r in results}) == len(results) == 12
    live.store.audit.seal()
    assert live.store.audit.verify() is None


def test_a_worker_asked_to_stop_finishes_its_job_and_takes_no_other(
    live: Bench, worker: Callable[[str], Process], tmp_path: Path
) -> None:
    for number in range(20):
        live.receive(f"{number}.1", str(number), quiet_s=600)
    process = worker("slow")
    eventually(lambda: lines(tmp_path, "begun"), 60)
    assert process.stop() == 0
    assert len(lines(tmp_path, "begun")) == len(lines(tmp_path, "ended"))
    states = [job.state for job in live.store.lookups.jobs(kind=JobKind.READ)]
    assert JobState.CLAIMED not in states
    assert states.count(JobState.QUEUED) > 10


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_dispatcher_outlives_its_database(live: Bench, postgres: Postgres) -> None:
    with Hand(live, lambda job: do(live, job)):
        live.receive("1.1", "1")
        eventually(all_done(live, 1))
        postgres.stop()
        time.sleep(2)
        postgres.start()
        live.receive("2.1", "2")
        eventually(all_done(live, 2))
