"""What is in the bucket is compared with the rows, and deleted when nobody needs it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from hipnode.domain import JobKind, JobState
from hipnode.errors import StorageUnavailable
from hipnode.services.housekeeper.service import Housekeeper
from hipnode.storage import FileStore
from hipnode.storage.files.bucket import CACHED_S
from hipnode.storage.files.disk import YOUNG_S
from tests.bucket import MotoBucket
from tests.db.conftest import Bench, OpenStore

DAY_S = 86_400


@pytest.fixture
def bench(open_store: OpenStore, bucket: MotoBucket) -> Bench:
    """A store whose files lie in the bucket."""
    return open_store(bucket=bucket.tables, retention={"disk_low_bytes": 0})


def received(bench: Bench, bucket: MotoBucket, uid: str = "1.2.3.1") -> str:
    """Receive an image that is in the bucket, and nowhere else; return its name."""
    key = f"images/{uid}-a.dcm"
    bucket.put(key, b"pixels")
    bench.receive(uid)
    return key


def test_images_go_from_bucket_and_cache_when_they_are_old_and_delivered(
    bench: Bench, bucket: MotoBucket
) -> None:
    key = received(bench, bucket)
    copy = bench.store.files.path(key)
    assert copy.read_bytes() == b"pixels"
    bucket.age(key, 15 * DAY_S)
    bench.read()
    bench.report()
    bench.clock.forward(15 * DAY_S)
    assert bench.store.retire().images == 0, "a result of theirs is not delivered"
    assert bucket.keys() == [key]
    bench.deliver()
    assert bench.store.retire().images == 1
    assert bucket.keys() == []
    assert not copy.exists()


def test_an_image_that_has_come_again_stays_in_the_bucket(bench: Bench, bucket: MotoBucket) -> None:
    key = received(bench, bucket)  # just now, by the bucket's clock
    bench.read()
    bench.report()
    bench.deliver()
    bench.clock.forward(15 * DAY_S)
    bench.store.retire()
    assert bucket.keys() == [key]
    bucket.age(key, YOUNG_S + 10)  # and its sender never came to the end
    assert bench.store.reconcile().retired == 1
    assert bucket.keys() == []


def test_a_row_without_its_object_is_given_up_and_nothing_is_fetched(
    bench: Bench, bucket: MotoBucket
) -> None:
    received(bench, bucket, "1.1")
    bench.receive("1.2")  # rows only
    assert bench.store.reconcile().rows_without_file == 1
    states = {job.instance_id: job.state for job in bench.store.lookups.jobs(kind=JobKind.READ)}
    assert sorted(states.values()) == [JobState.QUARANTINED, JobState.QUEUED]
    assert list(bench.store.files.files("images")) == []


def test_an_object_without_its_row_is_put_aside(bench: Bench, bucket: MotoBucket) -> None:
    """A crash between the bucket's answer and the row: the sender was told nothing."""
    known = received(bench, bucket)
    incoming = bench.store.files.incoming()
    incoming.write(b"never acknowledged")
    unknown = bench.store.files.keep(incoming, "1.2.3.9", "ab" * 32)
    assert sorted(bucket.keys()) == sorted([known, unknown])
    assert bench.store.reconcile().files_without_row == 0, "its association may still be open"
    for key in (known, unknown):
        bucket.age(key, YOUNG_S + 10)
    assert bench.store.reconcile().files_without_row == 1
    assert bucket.keys("images/") == [known]
    (aside,) = bucket.keys("quarantine/")
    assert bucket.get(aside) == b"never acknowledged"
    assert list(bench.store.files.files("images")) == []
    assert bench.store.reconcile().files_without_row == 0


@pytest.mark.parametrize("how", ["down", "deleted"])
def test_a_bucket_that_is_away_is_not_an_empty_bucket(
    bench: Bench, bucket: MotoBucket, how: str
) -> None:
    key = received(bench, bucket)
    if how == "down":
        bucket.stop()
    else:
        bucket.remove()
    with pytest.raises(StorageUnavailable):
        bench.store.reconcile()
    with pytest.raises(StorageUnavailable):
        bench.store.files.path(key)
    (job,) = bench.store.lookups.jobs(kind=JobKind.READ)
    assert job.state is JobState.QUEUED


# --- the copies on a machine ------------------------------------------------------------------


def copied(files: FileStore, bucket: MotoBucket, *names: str) -> list[Path]:
    """Have files fetched one after the other, each a minute after the one before."""
    found = []
    for number, name in enumerate(names):
        bucket.put(f"images/00/{name}", bytes(1000))
        found.append(files.path(f"images/00/{name}"))
        used_s = time.time() - 600 + 60 * number
        os.utime(found[-1], (used_s, used_s))
    return found


def test_a_full_disk_drops_the_copies_that_were_not_used_for_longest(
    open_store: OpenStore, bucket: MotoBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = open_store(bucket=bucket.tables, retention={"disk_low_bytes": 1}).store.files
    copies = copied(files, bucket, "1", "2", "3", "4")
    assert files.path("images/00/1") == copies[0]  # used again
    usage = shutil.disk_usage(files.root)

    def small(_root: Path) -> object:
        return usage._replace(free=3 - sum(path.exists() for path in copies))

    monkeypatch.setattr("hipnode.storage.files.disk.shutil.disk_usage", small)
    files.tidy()
    assert [path.exists() for path in copies] == [True, False, False, True]
    assert len(bucket.keys()) == 4
    assert files.path("images/00/2").read_bytes() == bytes(1000)


def test_copies_out_of_use_go_though_there_is_room(
    open_store: OpenStore, bucket: MotoBucket
) -> None:
    bench = open_store(bucket=bucket.tables, retention={"disk_low_bytes": 0})
    old, young = copied(bench.store.files, bucket, "1", "2")
    os.utime(old, (time.time() - CACHED_S - 10,) * 2)
    Housekeeper(bench.settings, bench.store).sweep()
    assert old.exists(), "this process has looked a moment ago"
    again = open_store(bucket=bucket.tables, retention={"disk_low_bytes": 0})
    Housekeeper(again.settings, again.store).sweep()
    assert [old.exists(), young.exists()] == [False, True]
    assert len(bucket.keys()) == 2
