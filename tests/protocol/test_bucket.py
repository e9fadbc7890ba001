"""Images and results in an S3-compatible bucket, each machine with a cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import cast

import pytest
from pydicom import dcmread

from hipnode.domain import JobKind
from hipnode.errors import StorageUnavailable
from hipnode.settings import Settings
from hipnode.storage import Store
from tests.account import (
    assert_the_archive_holds_every_result_once,
    assert_the_audit_log_is_unbroken,
    assert_the_count_adds_up,
    settled,
)
from tests.archive import Orthanc
from tests.bucket import Bucket
from tests.disks import SmallDisk, on_a_small_disk
from tests.node import HIPNODE, Node, destination
from tests.peers import Process, eventually
from tests.protocol.conftest import Service
from tests.protocol.objects import encoded, radiograph
from tests.protocol.wire import Wire, store
from tests.results import write_result
from tests.senders import SAMPLES, copies, storescu
from tests.swift import Swift

Make = Callable[..., Service]


@pytest.fixture(params=["moto", "swift"])
def any_bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    """An empty bucket of each object store."""
    if request.param == "moto":
        return cast("Bucket", request.getfixturevalue("bucket"))
    return cast("Swift", request.getfixturevalue("swift")).bucket(tmp_path)


def test_an_image_is_in_the_bucket_before_it_is_acknowledged(
    service: Make, any_bucket: Bucket, tmp_path: Path
) -> None:
    bucket = any_bucket
    node = service(bucket=bucket.tables).listen()
    ds = radiograph()
    with Wire(node.port, timeout_s=120) as wire:
        wire.associate()
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0
        (job,) = node.store.lookups.jobs(kind=JobKind.READ)
        kept = node.store.lookups.instance(job.instance_id or 0)
        assert bucket.keys() == [kept.path]
        here = node.store.files.path(kept.path).read_bytes()

        # Another machine has another cache and the same bucket.
        other = Settings.model_validate(
            {
                "node": {"data_dir": tmp_path / "other"},
                "database": {"url": str(node.store.database.engine.url)},
                "audit": {"key_file": node.store.settings.audit_key_file},
                "bucket": bucket.tables,
            }
        )
        elsewhere = Store.open(other)
        assert elsewhere.files.path(kept.path).read_bytes() == here
        assert elsewhere.files.delete(kept.path, unless_touched_since_s=0) is False
        assert elsewhere.files.delete(kept.path)
        assert bucket.keys() == []
        assert not elsewhere.files.path(kept.path).exists()
        elsewhere.close()

        bucket.remove()
        late = radiograph()
        assert store(wire, late.SOPInstanceUID, encoded(late)) == 0xA700
        assert len(node.store.lookups.jobs(kind=JobKind.READ)) == 1
        bucket.make()
        assert store(wire, late.SOPInstanceUID, encoded(late)) == 0
        assert len(bucket.keys()) == 1
        wire.release()


def test_a_result_is_in_the_bucket_before_its_path_is_known(
    service: Make, any_bucket: Bucket
) -> None:
    bucket = any_bucket
    node = service(bucket=bucket.tables)
    relative = write_result(node.store.files, "1.2.3", b"a report")
    assert bucket.keys() == [relative]
    (node.store.files.root / relative).unlink()
    assert node.store.files.path(relative).read_bytes() == b"a report"
    bucket.remove()
    with pytest.raises(StorageUnavailable):
        write_result(node.store.files, "1.2.4", b"another")


@on_a_small_disk
def test_a_cache_that_fills_its_disk_makes_room_for_what_comes(
    service: Make, bucket: Bucket, small_disk: Callable[[int], SmallDisk], postgres_url: str
) -> None:
    node = service(
        node={"data_dir": small_disk(6).folder},
        database={"url": postgres_url},
        bucket=bucket.tables,
        retention={"disk_low_bytes": 2_000_000},
    ).listen()
    images = [radiograph(512, 512) for _ in range(16)]  # 0.5 MB each
    with Wire(node.port, timeout_s=120) as wire:
        wire.associate()
        assert {store(wire, ds.SOPInstanceUID, encoded(ds)) for ds in images} == {0}
        wire.release()
    kept = bucket.keys()
    assert len(kept) == len(images)
    assert 0 < len(node.files("images")) < len(images)
    for key in kept:
        assert node.store.files.path(key).read_bytes() == bucket.get(key)


def test_a_whole_node_waits_for_its_bucket_and_keeps_its_files_there(
    swift: Swift, orthanc: Orthanc, tmp_path: Path
) -> None:
    """That the bucket is away is no job's fault: not a single attempt is counted."""
    bucket = swift.bucket(tmp_path)
    node = Node(
        tmp_path / "node",
        bucket=bucket.tables,
        destinations=[destination(orthanc, objects=["sr", "text"])],
        report={"quiet_s": 0.5, "report_on_release": True},
        queue={"max_attempts": 1},
    )
    try:
        node.start("listen")
        storescu(node, copies(SAMPLES[0], 1, tmp_path))
        node.stop()
        swift.stop()
        node.start()
        said = "The object store cannot be used"
        eventually(lambda: any(said in text for text in reasons(node)), timeout_s=180)
        swift.start()
        account = settled(node)["account"]
        assert account["received"] == account["delivered"] == 1
        sent = assert_the_archive_holds_every_result_once(node, orthanc)
        assert len(bucket.keys("images/")) == 1
        results = [dcmread(BytesIO(bucket.get(key))) for key in bucket.keys("results/")]
        assert {ds.SOPInstanceUID for ds in results} >= set(sent)
        assert node.stop() == 0
    finally:
        node.kill()


def reasons(node: Node) -> list[str]:
    """Return why jobs were tried again, as the audit log has it."""
    found = [record for record in node.audit() if record["event"] == "job_retried"]
    return [record["detail"]["error"] for record in found]


def test_machines_are_lost_with_their_disks(
    swift: Swift, postgres_url: str, orthanc: Orthanc, tmp_path: Path
) -> None:
    """Nothing but bucket and database is shared, and nothing else is needed."""
    bucket = swift.bucket(tmp_path)
    listener, worker, courier = (
        Node(
            tmp_path / name,
            postgres_url,
            bucket=bucket.tables,
            destinations=[destination(orthanc, objects=["sr"])],
            report={"quiet_s": 0.5, "report_on_release": True},
            audit={"key_file": tmp_path / "audit.key"},  # machines on one database share it
        )
        for name in ("listener", "worker", "courier")
    )
    listener.start("listen")
    storescu(listener, copies(SAMPLES[0], 2, tmp_path))
    listener.kill()
    shutil.rmtree(listener.folder)

    def start(node: Node, command: str) -> Process:
        return Process([*HIPNODE, command, "--config", node.config], node.folder / "node.log")

    working = start(worker, "work")
    try:
        eventually(
            lambda: courier.status()["jobs"].get("deliver", {}).get("queued") == 2,
            timeout_s=240,
            poll_s=1,
            what="two reports wait for the courier",
        )
    finally:
        working.kill()
    shutil.rmtree(worker.folder)
    delivering = start(courier, "deliver")
    try:
        account = settled(courier)["account"]
        assert account["received"] == account["delivered"] == 2
        assert_the_count_adds_up(account)
        assert len(assert_the_archive_holds_every_result_once(courier, orthanc)) == 2
        assert delivering.stop() == 0
    finally:
        delivering.kill()
    assert_the_audit_log_is_unbroken(courier)
