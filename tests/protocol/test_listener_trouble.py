"""The listener when the sender, the disk or the database fails it, and when it stops."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hipnode.domain import AuditEvent, JobKind
from tests.archive import Orthanc
from tests.peers import eventually
from tests.postgres import Postgres
from tests.protocol.conftest import Service
from tests.protocol.objects import DX, encoded, radiograph, save
from tests.protocol.wire import (
    RELEASE_RQ,
    Wire,
    p_data,
    pdv,
    store,
    store_rq,
)

Make = Callable[..., Service]


@pytest.mark.parametrize("how", ["close", "abort"])
def test_half_an_object_leaves_nothing(service: Make, how: str) -> None:
    node = service().listen()
    ds = radiograph(512, 512)
    with Wire(node.port) as wire:
        wire.associate()
        wire.send(p_data(pdv(1, 3, store_rq(DX, ds.SOPInstanceUID))))
        wire.send(p_data(pdv(1, 0, encoded(ds)[:200_000])))
        eventually(lambda: node.files("incoming"))
        if how == "abort":
            wire.send(b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00")
            assert wire.closed()
    eventually(lambda: not node.files("incoming"))
    assert not node.files("images")


def test_a_full_disk_is_out_of_resources_until_there_is_room(service: Make, tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    room = 2 * 1024**3
    node = service(retention={"disk_low_bytes": free - room}).listen()
    ds = radiograph()
    hog = tmp_path / "hog"
    with hog.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 2 * room)
    with Wire(node.port) as wire:
        wire.associate()
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0xA700
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0xA700
        hog.unlink()
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0
        wire.release()
    assert len(node.audited(AuditEvent.DISK_LOW)) == 1


def test_a_database_that_is_away(service: Make, postgres: Postgres, postgres_url: str) -> None:
    node = service(database={"url": postgres_url}).listen()
    ds = radiograph()
    with Wire(node.port, timeout_s=60) as wire:
        wire.associate()
        postgres.stop()
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0xA700
        postgres.start()
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0
        wire.release()
    assert len(node.store.lookups.jobs(kind=JobKind.READ)) == 1


@pytest.mark.slow
def test_a_database_that_is_locked_is_answered_before_the_sender_gives_up(service: Make) -> None:
    """By another program: a sender waits for half a minute, and gets 0xA700 before that."""
    node = service().listen()
    ds = radiograph()
    path = node.store.database.path
    assert path is not None
    other = sqlite3.connect(path, isolation_level=None)
    with Wire(node.port, timeout_s=30) as wire:
        wire.associate()
        other.execute("BEGIN IMMEDIATE")
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0xA700
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0xA700
        other.execute("ROLLBACK")
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0
        wire.release()
    other.close()
    eventually(lambda: node.audited(AuditEvent.INSTANCE_STORED))


def test_release_makes_reports_due(service: Make) -> None:
    node = service(report={"quiet_s": 3600, "report_on_release": True}).listen()
    ds = radiograph()
    with Wire(node.port) as wire:
        wire.associate()
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0
        before = node.store.ledger.claim([JobKind.READ], "test")
        assert before
        wire.release()

    def due() -> bool:
        (report,) = node.store.lookups.jobs(kind=JobKind.REPORT)
        study = node.store.lookups.study(ds.StudyInstanceUID)
        return (report.due_utc - study.received_utc).total_seconds() != 3600

    eventually(due)


def test_stop_lets_a_running_transfer_finish(service: Make) -> None:
    node = service().listen()
    ds = radiograph()
    data = encoded(ds)
    with Wire(node.port) as wire:
        wire.associate()
        wire.send(p_data(pdv(1, 3, store_rq(DX, ds.SOPInstanceUID)), pdv(1, 0, data[:1000])))
        stopper = threading.Thread(target=node.stop)
        stopper.start()

        def refused() -> bool:
            try:
                Wire(node.port).socket.close()
            except ConnectionError as error:
                return isinstance(error, ConnectionRefusedError)  # reset: it was being closed
            return False

        eventually(refused)
        wire.send(p_data(pdv(1, 2, data[1000:])))
        assert wire.status() == 0
        wire.release()
        stopper.join()
    assert len(node.files("images")) == 1


def test_orthanc_forwards_to_the_node(service: Make, orthanc: Orthanc, tmp_path: Path) -> None:
    node = service().listen()
    ds = radiograph()
    orthanc.store(save(ds, tmp_path / "dx.dcm").read_bytes())
    orthanc.set_modality("node", "HIPNODE", node.host, node.port)
    (found,) = orthanc.instances()
    orthanc.request("POST", "/modalities/node/store", [found["OrthancID"]])
    (job,) = node.store.lookups.jobs(kind=JobKind.READ)
    assert node.store.lookups.instance(job.instance_id or 0).calling_ae == "ORTHANC"


def test_release_request_and_image_in_one_segment(service: Make) -> None:
    node = service().listen()
    ds = radiograph()
    message = p_data(pdv(1, 3, store_rq(DX, ds.SOPInstanceUID)), pdv(1, 2, encoded(ds)))
    with Wire(node.port) as wire:
        wire.associate()
        wire.send(message + RELEASE_RQ)
        assert wire.status() == 0
        assert wire.pdu()[0] == 6
