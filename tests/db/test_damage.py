"""Files that are not what they were: named, set aside, and never read, reported or sent on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from blake3 import blake3

from hipnode.domain import JobKind, JobState
from hipnode.services.housekeeper.service import Housekeeper
from hipnode.services.worker.service import Worker
from tests.db.conftest import Bench, OpenStore
from tests.senders import SAMPLES


@pytest.fixture
def bench(open_store: OpenStore) -> Bench:
    return open_store(report={"quiet_s": 0}, destinations=[])


def keep(bench: Bench, source: Path, uid: str) -> Path:
    """Receive a file, and return where it lies."""
    from hipnode.dicom import read_header
    from hipnode.storage import Received

    data = source.read_bytes()
    incoming = bench.store.files.incoming()
    incoming.write(data)
    digest = blake3(data).hexdigest()
    path = bench.store.files.keep(incoming, uid, digest)
    header = read_header(bench.store.files.path(path))
    bench.store.ledger.ingest(
        Received(header, "MOD", "HIPNODE", "127.0.0.1", path, digest, len(data), "a"),
        action="read",
        priority=0,
        model_sets=("set-a",),
        quiet_s=0,
    )
    return bench.store.files.path(path)


@pytest.fixture
def worker(bench: Bench) -> Iterator[Worker]:
    made = Worker(bench.settings, bench.store)
    yield made
    made.close()


def read_by(worker: Worker, bench: Bench) -> None:
    worker.handle(bench.take(JobKind.READ))


@pytest.mark.slow
def test_a_changed_image_is_not_read_and_goes_on_when_it_comes_again(
    bench: Bench, worker: Worker
) -> None:
    path = keep(bench, SAMPLES[0], "1.1")
    path.write_bytes(SAMPLES[1].read_bytes())  # another patient's
    read_by(worker, bench)
    (job,) = bench.store.lookups.jobs(kind=JobKind.READ)
    assert job.state is JobState.QUARANTINED
    events = bench.events()
    assert "image_damaged" in events
    assert "image_read" not in events
    assert not path.exists()
    assert bench.store.take_up() == 0
    keep(bench, SAMPLES[0], "1.1")
    Housekeeper(bench.settings, bench.store).sweep()
    (job,) = bench.store.lookups.jobs(kind=JobKind.READ)
    assert job.state is JobState.QUEUED
    read_by(worker, bench)
    assert {"image_read", "image_abstained"} & set(bench.events())


@pytest.mark.slow
def test_a_study_whose_image_was_changed_after_it_was_read_is_not_reported(
    bench: Bench, worker: Worker
) -> None:
    path = keep(bench, SAMPLES[0], "1.1")
    read_by(worker, bench)
    path.write_bytes(SAMPLES[1].read_bytes())
    bench.clock.forward(1)
    worker.handle(bench.take(JobKind.REPORT))
    (job,) = bench.store.lookups.jobs(kind=JobKind.REPORT)
    assert job.state is JobState.QUARANTINED
    assert "report_made" not in bench.events()
    assert "image_damaged" in bench.events()


def test_the_scrub_names_what_was_changed_and_what_is_missing_once(bench: Bench) -> None:
    paths = [keep(bench, SAMPLES[number], f"{number}.1") for number in range(3)]
    assert bench.store.scrub().damaged == 0
    bench.store.scrub()
    with paths[0].open("r+b") as file:  # a bit
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))
    paths[1].unlink()
    assert bench.store.scrub().damaged == 2
    assert not paths[0].exists()
    assert len(list(bench.store.files.files("quarantine/damaged"))) == 1
    assert any("image_damaged" in fault for fault in bench.store.faults())
    for _ in range(3):
        bench.store.scrub()
    assert bench.events().count("image_damaged") == 2, "the changed one is missing by now"
    for number in range(2):
        keep(bench, SAMPLES[number], f"{number}.1")
    for _ in range(4):
        bench.store.scrub()
    assert bench.store.faults() == []


def test_the_scrub_goes_on_where_it_was(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hipnode.storage.upkeep.scrub._AT_LEAST", 1)
    for number in range(3):
        keep(bench, SAMPLES[number], f"{number}.1")
    looked = [bench.store.scrub(0.01).looked_at for _ in range(4)]
    assert looked == [1, 1, 1, 0]
    paths = sa.select(sa.column("path")).select_from(sa.table("instance"))
    assert len(bench.store.database.read(lambda c: c.execute(paths).all())) == 3


def test_the_quarantine_has_an_end(open_store: OpenStore) -> None:
    """In days, and in bytes: the oldest goes first, and it is audited."""
    bench = open_store(retention={"quarantine_days": 10, "quarantine_bytes": 250})
    folder = bench.settings.node.data_dir / "quarantine"

    def put(name: str, days: float) -> Path:
        path = folder / name
        path.write_bytes(bytes(100))
        os.utime(path, (time.time() - days * 86_400,) * 2)
        return path

    files = [put("a", 40), put("b", 9), put("c", 8), put("d", 1)]
    assert bench.store.quarantined() == (4, 400)
    assert bench.store.trim_quarantine() == 2
    assert [path.exists() for path in files] == [False, False, True, True]
    assert bench.store.trim_quarantine() == 0
    assert bench.events() == ["quarantine_trimmed"]
