"""The listener, against dcmtk and a peer that we control byte by byte."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian

from hipnode.codes import device_uid
from hipnode.domain import AuditEvent, JobKind, JobState
from tests.peers import require, run
from tests.protocol.conftest import Service
from tests.protocol.objects import DX, encoded, radiograph, save
from tests.protocol.wire import (
    Wire,
    store,
)

Make = Callable[..., Service]
KEEP_ALL = [{"action": "keep"}]


def send(node: Service, *paths: Path | str, program: str = "storescu", check: bool = True) -> str:
    done = run(
        [require(program, "dcmtk"), "-v", "-aec", "HIPNODE", node.host, str(node.port), *paths],
        check=check,
    )
    return done.stdout + done.stderr


# --- objects ----------------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["storescu", "dcmsend"])
def test_an_image_is_on_disk_and_queued_before_it_is_acknowledged(
    service: Make, tmp_path: Path, program: str
) -> None:
    node = service().listen()
    ds = radiograph(StationName="ED1")
    send(node, save(ds, tmp_path / "dx.dcm"), program=program)
    jobs = node.store.lookups.jobs(kind=JobKind.READ)
    assert [job.state for job in jobs] == [JobState.QUEUED]
    kept = node.store.lookups.instance(jobs[0].instance_id or 0)
    assert dcmread(node.store.files.path(kept.path)).PixelData == ds.PixelData
    assert kept.header.station_name == "ED1"
    assert not node.files("incoming")


SYNTAXES = {
    "1.2.840.10008.1.2": "MR_small_implicit.dcm",
    "1.2.840.10008.1.2.1": "CT_small.dcm",
    "1.2.840.10008.1.2.2": "MR_small_bigendian.dcm",
    "1.2.840.10008.1.2.1.99": "image_dfl.dcm",
    "1.2.840.10008.1.2.5": "MR_small_RLE.dcm",
    "1.2.840.10008.1.2.4.50": "SC_rgb_jpeg_dcmtk.dcm",
    "1.2.840.10008.1.2.4.51": "JPEG-lossy.dcm",
    "1.2.840.10008.1.2.4.70": "SC_rgb_jpeg_gdcm.dcm",
    "1.2.840.10008.1.2.4.80": "MR_small_jpeg_ls_lossless.dcm",
    "1.2.840.10008.1.2.4.90": "MR_small_jp2klossless.dcm",
    "1.2.840.10008.1.2.4.91": "JPEG2000.dcm",
}


def data_set_of(path: Path) -> bytes:
    """Return the bytes after the file meta."""
    with path.open("rb") as file:
        content = file.read()
    (length,) = struct.unpack_from("<I", content, 140)
    return content[144 + length :]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_transfer_syntax_byte_for_byte(service: Make, syntax: str) -> None:
    node = service(rules=KEEP_ALL).listen()
    source = Path(get_testdata_file(SYNTAXES[syntax], read=False))
    ds = dcmread(source)
    assert ds.file_meta.TransferSyntaxUID == syntax
    with Wire(node.port) as wire:
        wire.associate(contexts=[(ds.SOPClassUID, [syntax])])
        data = data_set_of(source)
        assert store(wire, ds.SOPInstanceUID, data, sop_class=ds.SOPClassUID, sizes=(1000,)) == 0
        wire.release()
    (kept,) = node.files("images")
    assert data_set_of(kept) == data
    assert dcmread(kept).file_meta.TransferSyntaxUID == syntax


@pytest.mark.parametrize("last", ["201", "202", "203"])
def test_high_throughput_jpeg_2000_is_taken(service: Make, last: str) -> None:
    node = service(rules=KEEP_ALL).listen()
    ds = radiograph()
    del ds.PixelData
    data = encoded(ds) + bytes.fromhex(
        "e07f1000 4f42 0000 ffffffff feff00e0 00000000 feffdde0 00000000"
    )
    with Wire(node.port) as wire:
        wire.associate(contexts=[(DX, [f"1.2.840.10008.1.2.4.{last}"])])
        assert store(wire, ds.SOPInstanceUID, data) == 0


def test_dcmtk_sends_all_its_transfer_syntaxes(service: Make) -> None:
    node = service(rules=KEEP_ALL).listen()
    names = [name for name in SYNTAXES.values() if name != "image_dfl.dcm"]
    said = send(node, *(get_testdata_file(n, read=False) for n in names), program="dcmsend")
    assert said.count("Received C-STORE Response (Success)") == len(names)
    assert node.store.lookups.account().kept == len(node.files("images")) >= 6


def test_rules_decide_and_everything_is_acknowledged(service: Make, tmp_path: Path) -> None:
    node = service(
        rules=[{"match": {"station_name": "ED*"}, "action": "read", "priority": 7}]
    ).listen()
    urgent = save(radiograph(StationName="ED1"), tmp_path / "1.dcm")
    plain = save(radiograph(), tmp_path / "2.dcm")
    made_here = device_uid("", "hipnode", "HIPNODE")
    own = save(radiograph(Manufacturer="hipnode", DeviceUID=made_here), tmp_path / "3.dcm")
    made_there = device_uid("", "hipnode", "OTHERNODE")
    other = save(radiograph(Manufacturer="hipnode", DeviceUID=made_there), tmp_path / "4.dcm")
    said = send(node, urgent, plain, own, other, get_testdata_file("CT_small.dcm", read=False))
    assert said.count("Received Store Response (Success)") == 5
    jobs = node.store.lookups.jobs(kind=JobKind.READ)
    assert [job.priority for job in jobs] == [7, 0, 0]
    assert len(node.audited(AuditEvent.INSTANCE_DISCARDED)) == 2
    assert len(node.files("images")) == 3
    assert not node.files("incoming")


def test_the_same_again_is_not_read_again_and_a_change_is_kept(
    service: Make, tmp_path: Path
) -> None:
    node = service().listen()
    ds = radiograph()
    first = save(ds, tmp_path / "1.dcm")
    send(node, first)
    send(node, first)
    assert len(node.store.lookups.jobs(kind=JobKind.READ)) == 1
    assert len(node.audited(AuditEvent.INSTANCE_DUPLICATED)) == 1
    ds.PixelData = bytes(len(ds.PixelData))
    send(node, save(ds, tmp_path / "2.dcm"))
    assert len(node.store.lookups.jobs(kind=JobKind.READ)) == 2
    assert len(node.audited(AuditEvent.INSTANCE_CHANGED)) == 1
    assert len(node.files("images")) == 2


@pytest.mark.parametrize(
    ("damage", "status"),
    [
        ({"StudyInstanceUID": ""}, 0xA900),
        ({"SOPInstanceUID": "1.2.3.4"}, 0xA900),  # another than the request says
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1"}, 0xA900),
    ],
)
def test_a_broken_header_is_quarantined(service: Make, damage: dict[str, str], status: int) -> None:
    node = service().listen()
    ds = radiograph()
    uid = ds.SOPInstanceUID
    for keyword, value in damage.items():
        setattr(ds, keyword, value)
    with Wire(node.port) as wire:
        wire.associate()
        assert store(wire, uid, encoded(ds)) == status
        good = radiograph()
        assert store(wire, good.SOPInstanceUID, encoded(good)) == 0
        wire.release()
    assert len(node.files("quarantine")) == 1
    assert not node.files("incoming")
    (refused,) = node.audited(AuditEvent.INSTANCE_REFUSED)
    assert refused.record.detail["status"] == f"0x{status:04X}"


def test_noise_instead_of_a_data_set(service: Make) -> None:
    node = service().listen()
    with Wire(node.port) as wire:
        wire.associate()
        for size in (0, 1, 7, 500, 70_000):
            assert store(wire, "1.2.3", os.urandom(size)) in (0xA900, 0xC000)
        wire.release()
    assert not node.files("incoming")


def test_uids_never_become_paths(service: Make) -> None:
    node = service(rules=KEEP_ALL).listen()
    ds = radiograph()
    hostile = "../../../tmp/x"
    data = encoded(ds).replace(
        ds.SOPInstanceUID.encode(), hostile.ljust(len(ds.SOPInstanceUID)).encode()
    )
    with Wire(node.port) as wire:
        wire.associate()
        assert store(wire, hostile, data) == 0xA900
        wire.release()
    assert not node.files("images")


def test_an_object_that_is_too_large(service: Make) -> None:
    node = service(listener={"max_object_bytes": 100_000}).listen()
    with Wire(node.port) as wire:
        wire.associate()
        large = radiograph(400, 400)
        assert store(wire, large.SOPInstanceUID, encoded(large), sizes=(16000,) * 19) == 0xC000
        small = radiograph()
        assert store(wire, small.SOPInstanceUID, encoded(small)) == 0
        wire.release()
    assert not node.files("incoming")
    assert not node.files("quarantine")


def test_a_sop_class_that_is_not_the_contexts(service: Make) -> None:
    node = service().listen()
    ds = radiograph()
    with Wire(node.port) as wire:
        wire.associate(contexts=[("1.2.840.10008.5.1.4.1.1.1", [ExplicitVRLittleEndian])])
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0x0122
