"""Several processes on one database: nobody waits for ever, nothing acknowledged is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hipnode.domain import JobKind
from hipnode.errors import LeaseLost, StorageUnavailable
from hipnode.storage import Store
from tests.db.conftest import Bench, OpenStore
from tests.peers import Process, eventually

_SENDER = """
import sys
from hipnode.settings import Settings
from hipnode.storage import Store
from tests.db.conftest import Bench
settings = Settings.model_validate_json(sys.argv[1])
first, count = map(int, sys.argv[2:])
bench = Bench(Store.open(settings), None, settings)
for number in range(first, first + count):
    bench.receive(f"{number}.1", str(number))
    print(number, flush=True)  # the acknowledgement
bench.store.close()
"""


def command(bench: Bench, first: int, count: int) -> list[str]:
    document = bench.settings.model_dump(mode="json")
    document["database"]["url"] = bench.settings.database.url.get_secret_value()
    return [sys.executable, "-c", _SENDER, json.dumps(document), str(first), str(count)]


def test_many_processes_write_at_once(bench: Bench) -> None:
    senders = [
        subprocess.Popen(command(bench, 1000 * n, 50), stdout=subprocess.DEVNULL) for n in range(6)
    ]
    assert [sender.wait(200) for sender in senders] == [0] * 6
    assert bench.store.lookups.account().received == 300
    bench.store.audit.seal()
    assert bench.store.audit.verify() is None


def test_what_was_acknowledged_survives_a_kill(bench: Bench, tmp_path: Path) -> None:
    for round_ in range(4):
        log = tmp_path / f"sender-{round_}"
        process = Process(command(bench, 1000 * round_, 100_000), log)
        eventually(lambda log=log: len(log.read_text().splitlines()) > 20, 60)  # type: ignore[misc]
        process.kill()
    acknowledged = {
        line for log in tmp_path.glob("sender-*") for line in log.read_text().splitlines()
    }
    stored = {
        job.study_instance_uid for job in bench.store.lookups.jobs(kind=JobKind.READ, limit=10**6)
    }
    assert acknowledged <= stored
    assert len(stored - acknowledged) <= 4, "at most the one that was under way, each time"
    reports = bench.store.lookups.jobs(kind=JobKind.REPORT, limit=10**6)
    assert len(reports) == len(stored), "an image is there with all that belongs to it"


def test_threads_never_get_the_same_job(bench: Bench) -> None:
    for number in range(60):
        bench.receive(f"{number}.1", str(number))
    taken: list[int] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            while (job := bench.claim(JobKind.READ)) is not None:
                taken.append(job.id)
                bench.read(job)
        except (LeaseLost, StorageUnavailable) as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(taken) == len(set(taken)) == 60


def test_the_same_image_from_many_associations_at_once_is_one_image(bench: Bench) -> None:
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def send() -> None:
        start.wait()
        outcomes.append(bench.receive())

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["duplicate"] * 7 + ["stored"]
    assert len(bench.store.lookups.jobs()) == 2  # one reading, one report


def test_images_of_one_study_arrive_and_are_read_at_once(bench: Bench) -> None:
    """The last reading makes the report due, whoever comes last."""
    reading = threading.Event()
    reading.set()

    def work() -> None:
        while reading.is_set() or bench.claim(JobKind.READ) is not None:
            if (job := bench.claim(JobKind.READ)) is not None:
                bench.read(job)

    readers = [threading.Thread(target=work) for _ in range(3)]
    senders = [
        threading.Thread(target=lambda n=n: [bench.receive(f"1.{n}.{i}", "1") for i in range(8)])
        for n in range(4)
    ]
    for thread in (*readers, *senders):
        thread.start()
    for thread in senders:
        thread.join()
    eventually(lambda: reads_open(bench) == 0, 60)
    reading.clear()
    for thread in readers:
        thread.join()
    job = bench.take(JobKind.REPORT)
    assert len(bench.store.readings.of_study("1", "set-a")) == 32
    bench.report(job)
    assert bench.claim(JobKind.REPORT) is None


def reads_open(bench: Bench) -> int:
    overview = bench.store.lookups.overview().jobs
    return sum(n for (kind, state), n in overview.items() if kind == "read" and state != "done")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_stopped_process_blocks_nobody_for_ever(bench: Bench) -> None:
    """A process that is frozen within a transaction costs the others a refusal, not a hang."""
    holding, release = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        holding.set()
        release.wait()

    other = Store.open(bench.settings)
    thread = threading.Thread(target=lambda: other.database.write(hold))
    thread.start()
    holding.wait()
    began = time.monotonic()
    with pytest.raises(StorageUnavailable):
        bench.receive()
    assert time.monotonic() - began < 60
    release.set()
    thread.join()
    bench.receive()
    assert bench.store.lookups.account().received == 1, "what was refused was not written later"
    other.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_one_failing_transaction_of_a_group_is_alone(open_store: OpenStore) -> None:
    bench = open_store()
    gate = threading.Event()
    results: list[object] = []

    def attempt(work: Callable[[object], object]) -> None:
        try:
            results.append(bench.store.database.write(work))
        except ZeroDivisionError as error:
            results.append(error)

    first = threading.Thread(target=attempt, args=(lambda _: gate.wait(),))
    first.start()
    time.sleep(0.2)  # the writer is busy: what comes now is one group
    others = [threading.Thread(target=attempt, args=((lambda _, n=n: 1 // n),)) for n in (1, 0, 1)]
    for thread in others:
        thread.start()
    time.sleep(0.2)
    gate.set()
    for thread in (first, *others):
        thread.join()
    assert sorted(map(repr, results)) == [
        "1",
        "1",
        "True",
        "ZeroDivisionError('integer division or modulo by zero')",
    ]
