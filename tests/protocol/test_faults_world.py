"""Disk, folders, database or PACS break: the node says so, loses nothing, and recovers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pynetdicom import evt

from hipnode.domain import AuditEvent, JobKind
from tests.account import (
    assert_the_archive_holds_every_result_once,
    assert_the_audit_log_is_unbroken,
    assert_the_count_adds_up,
    events,
    settled,
)
from tests.archive import Orthanc
from tests.crew import SERVICES, Crew, Load
from tests.disks import SmallDisk, on_a_small_disk
from tests.peers import eventually
from tests.postgres import Postgres
from tests.protocol.conftest import Service
from tests.protocol.objects import encoded, radiograph
from tests.protocol.test_courier import (  # noqa: F401 - a fixture
    CAPTURE,
    SR_3D,
    Answering,
    all_done,
    answering,
    destination,
    reported,
)
from tests.protocol.wire import Wire, store

Make = Callable[..., Service]
pytestmark = pytest.mark.timeout(600)


# --- disk and folders -------------------------------------------------------------------------


@on_a_small_disk
def test_a_disk_that_is_really_full(service: Make, small_disk: Callable[[int], SmallDisk]) -> None:
    """Files, rows and audit log: nothing can be written any more. Then there is room again."""
    disk = small_disk(6)
    node = service(node={"data_dir": disk.folder}).listen()
    images = [radiograph(512, 512) for _ in range(16)]  # 0.5 MB each
    with Wire(node.port, timeout_s=120) as wire:
        wire.associate()
        statuses = [store(wire, ds.SOPInstanceUID, encoded(ds)) for ds in images]
        taken = statuses.count(0)
        assert 0 < taken < len(images)
        assert set(statuses) == {0, 0xA700}
        disk.resize(64)
        for ds, status in zip(images, statuses, strict=True):
            if status:
                assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0
        wire.release()
    assert len(node.files("images")) == len(images)
    assert len(node.store.lookups.jobs(kind=JobKind.READ)) == len(images)
    node.store.audit.seal()
    assert node.store.audit.verify() is None


@on_a_small_disk
def test_a_folder_that_went_read_only(
    service: Make, small_disk: Callable[[int], SmallDisk], postgres_url: str
) -> None:
    disk = small_disk(64)
    node = service(node={"data_dir": disk.folder}, database={"url": postgres_url}).listen()
    ds = radiograph()
    with Wire(node.port, timeout_s=60) as wire:
        wire.associate()
        disk.read_only(True)
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0xA700
        disk.read_only(False)
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0
        wire.release()
    (refused,) = node.audited(AuditEvent.INSTANCE_REFUSED)
    assert refused.record.detail["status"] == "0xA700"


@pytest.mark.parametrize("folder", ["incoming", "images"])
def test_a_folder_that_is_gone_and_comes_back(service: Make, folder: str) -> None:
    node = service().listen()
    path = node.store.files.root / folder
    ds = radiograph()
    with Wire(node.port, timeout_s=60) as wire:
        wire.associate()
        path.rename(path.with_name("elsewhere"))
        path.touch()  # so that nobody makes it anew
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0xA700
        path.unlink()
        path.with_name("elsewhere").rename(path)
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0
        wire.release()
    assert len(node.files("images")) == 1
    assert node.files("incoming") == []


# --- the PACS ---------------------------------------------------------------------------------


def test_a_slow_pacs_is_waited_for_beyond_the_lease(
    service: Make,
    answering: Callable[..., Answering],  # noqa: F811
) -> None:
    peer = answering()
    plain = peer._store

    def slow(event: evt.Event) -> int:
        time.sleep(3)  # three times as long as the lease
        return plain(event)

    peer.server.bind(evt.EVT_C_STORE, slow)
    node = service(destinations=destination(peer, timeout_s=60), queue={"lease_s": 1})
    (made,) = reported(node, (SR_3D, True))
    node.deliver()
    eventually(lambda: all_done(node), timeout_s=60)
    node.store.recovery.expire_leases()
    assert peer.taken == [made.sop_instance_uid]
    assert len(node.audited(AuditEvent.JOB_LEASE_EXPIRED)) == 0


def test_a_pacs_that_falls_silent_is_asked_again(
    service: Make,
    answering: Callable[..., Answering],  # noqa: F811
) -> None:
    peer = answering()
    plain, awake = peer._store, threading.Event()

    def silent(event: evt.Event) -> int:
        awake.wait(60)
        return plain(event)

    peer.server.bind(evt.EVT_C_STORE, silent)
    node = service(destinations=destination(peer, timeout_s=2))
    made = reported(node, (SR_3D, True), (CAPTURE, True))
    node.deliver()
    eventually(lambda: node.audited(AuditEvent.DELIVERY_FAILED))
    awake.set()
    eventually(lambda: all_done(node), timeout_s=60)
    assert set(peer.taken) == {one.sop_instance_uid for one in made}
    assert {job.attempts for job in node.store.lookups.jobs(kind=JobKind.DELIVER)} == {0}


def test_a_pacs_that_hangs_up_in_the_middle_of_an_object(
    service: Make,
    answering: Callable[..., Answering],  # noqa: F811
) -> None:
    peer = answering()
    cuts = [True, True]

    def cut(event: evt.Event) -> None:
        if type(event.pdu).__name__ == "P_DATA_TF" and cuts:
            cuts.pop()
            event.assoc.dul.socket.close()

    peer.server.bind(evt.EVT_PDU_RECV, cut)
    node = service(destinations=destination(peer, timeout_s=5))
    made = reported(node, (SR_3D, True), (CAPTURE, True))
    node.deliver()
    eventually(lambda: all_done(node), timeout_s=60)
    assert peer.taken == [one.sop_instance_uid for one in made]
    assert {job.attempts for job in node.store.lookups.jobs(kind=JobKind.DELIVER)} == {0}


# --- the database -----------------------------------------------------------------------------


def are_up(crew: Crew) -> bool:
    """Tell whether every service is past its start; the worker has loaded two model sets then."""
    seen = events(crew.node)
    return seen["service_started"] == len(SERVICES) and seen["model_set_loaded"] == 2


def test_the_database_is_restarted_under_load(
    new_crew: Callable[..., Crew],
    orthanc: Orthanc,
    postgres: Postgres,
    postgres_url: str,
    tmp_path: Path,
) -> None:
    """Once it is shut down, once it is killed: services wait, and not one of them dies."""
    crew = new_crew(postgres_url, lease_s=10, objects=["sr"], storage_commitment=False)
    (tmp_path / "images").mkdir()
    load = Load(crew, tmp_path / "images", every_s=0.5)
    crew.start()
    eventually(lambda: are_up(crew), 180, 0.5)
    load.start()

    def more(count: int) -> Callable[[], bool]:
        wanted = load.sent + count
        return lambda: crew.tend() is None and load.sent >= wanted

    try:
        for end in (postgres.stop, postgres.kill):
            eventually(more(2), timeout_s=120, what="images are taken")
            end()
            tries = load.modality.tries
            eventually(lambda n=tries: load.modality.tries > n + 3, 120)  # type: ignore[misc]
            crew.tend()
            postgres.start()
        eventually(more(2), timeout_s=120, what="images are taken again")
    finally:
        load.stopping.set()
        postgres.start()
        load.join(120)
    status = settled(crew.node)
    assert status["account"]["delivered"] == load.sent
    assert_the_count_adds_up(status["account"])
    assert_the_archive_holds_every_result_once(crew.node, orthanc)
    assert events(crew.node)["image_read"] == load.sent
    assert_the_audit_log_is_unbroken(crew.node)
    assert set(crew.deaths.values()) == {0}
    crew.stop()
