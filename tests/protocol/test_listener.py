"""The listener, against dcmtk and a peer that we control byte by byte."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian

from hipnode.domain import AuditEvent, JobKind, JobState, Outcome
from tests.archive import Orthanc
from tests.peers import eventually, require, run
from tests.postgres import Postgres
from tests.protocol.conftest import Service
from tests.protocol.objects import DX, encoded, radiograph, save
from tests.protocol.wire import (
    RELEASE_RQ,
    VERIFICATION,
    Wire,
    associate_rq,
    fragmented,
    p_data,
    pdv,
    store_rq,
)

Make = Callable[..., Service]
KEEP_ALL = [{"action": "keep"}]


def send(node: Service, *paths: Path | str, program: str = "storescu", check: bool = True) -> str:
    done = run(
        [require(program, "dcmtk"), "-v", "-aec", "HIPNODE", node.host, str(node.port), *paths],
        check=check,
    )
    return done.stdout + done.stderr


def store(
    wire: Wire, uid: str, data: bytes, *, sop_class: str = DX, sizes: tuple[int, ...] = ()
) -> int:
    for item in fragmented(1, True, store_rq(sop_class, uid), ()):
        wire.send(p_data(item))
    for item in fragmented(1, False, data, sizes):
        wire.send(p_data(item))
    return wire.status()


# --- associations -----------------------------------------------------------------------------


def test_echo(service: Make) -> None:
    node = service().listen()
    run([require("echoscu", "dcmtk"), "-aec", "HIPNODE", node.host, str(node.port)])
    assert [e.record.ae_title for e in node.audited(AuditEvent.ECHO_ANSWERED)] == ["ECHOSCU"]


@pytest.mark.parametrize(
    ("listener", "options", "reason"),
    [
        ({}, ["-aec", "OTHER"], "Called AE Title Not Recognized"),
        ({"accept_any_caller": False}, [], "Calling AE Title Not Recognized"),
        (
            {
                "accept_any_caller": False,
                "callers": [{"ae_title": "ECHOSCU", "addresses": ["10.0.0.1"]}],
            },
            [],
            "Calling AE Title Not Recognized",
        ),
    ],
)
def test_refusals_give_the_reason_of_the_standard(
    service: Make, listener: dict[str, object], options: list[str], reason: str
) -> None:
    node = service(listener={"port": 0, "accept_any_caller": True, **listener}).listen()
    done = run(
        [require("echoscu", "dcmtk"), "-aec", "HIPNODE", *options, node.host, str(node.port)],
        check=False,
    )
    assert done.returncode
    assert reason in done.stdout + done.stderr
    refused = eventually(lambda: node.audited(AuditEvent.ASSOCIATION_REFUSED))
    assert refused[0].record.outcome is Outcome.REFUSED


def test_too_many_associations_are_refused_for_now(service: Make) -> None:
    node = service(listener={"max_associations": 2}).listen()
    with Wire(node.port) as first, Wire(node.port) as second:
        first.associate()
        second.associate()
        with Wire(node.port) as third:
            third.send(associate_rq())
            kind, body = third.pdu()
            assert (kind, tuple(body[1:])) == (3, (2, 3, 2))  # transient, local limit exceeded
        first.release()

        def accepted() -> bool:
            with Wire(node.port) as again:
                again.send(associate_rq())
                return again.pdu()[0] == 2

        eventually(accepted)


def test_wrong_application_context(service: Make) -> None:
    node = service().listen()
    with Wire(node.port) as wire:
        wire.send(associate_rq(application_context="1.2.840.10008.3.1.1.2"))
        kind, body = wire.pdu()
        assert (kind, tuple(body[1:])) == (3, (1, 1, 2))


def test_half_open_connections_do_not_keep_callers_out(service: Make) -> None:
    node = service(
        listener={
            "port": 0,
            "accept_any_caller": False,
            "callers": [{"ae_title": "WIRE", "addresses": ["127.0.0.1"]}],
            "max_associations": 4,
            "acse_timeout_s": 2,
        }
    ).listen()
    strangers = []
    for number in range(60):  # from an address that no caller has
        sock = socket.socket()
        sock.bind(("127.0.0.2", 0))
        sock.connect(("127.0.0.1", node.port))
        strangers.append(sock)
        if number % 20 == 19:
            with Wire(node.port) as wire:
                wire.associate()
                wire.release()
    assert threading.active_count() < 40
    for sock in strangers:
        sock.close()


def test_silence_ends_an_association(service: Make) -> None:
    node = service(
        listener={"acse_timeout_s": 1, "dimse_timeout_s": 1, "network_timeout_s": 2}
    ).listen()
    with Wire(node.port) as never_asks, Wire(node.port) as idle, Wire(node.port) as mid_message:
        idle.associate()
        mid_message.associate()
        mid_message.send(p_data(pdv(1, 3, store_rq(DX, "1.2.3"))))
        mid_message.send(p_data(pdv(1, 0, b"\x08\x00")))
        assert never_asks.closed()
        assert mid_message.closed()
        assert idle.closed()
    eventually(lambda: not node.files("incoming"))


# --- objects ----------------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["storescu", "dcmsend"])
def test_an_image_is_on_disk_and_queued_before_it_is_acknowledged(
    service: Make, tmp_path: Path, program: str
) -> None:
    node = service().listen()
    ds = radiograph(StationName="ED1")
    send(node, save(ds, tmp_path / "dx.dcm"), program=program)
    jobs = node.store.ledger.jobs(kind=JobKind.READ)
    assert [job.state for job in jobs] == [JobState.QUEUED]
    kept = node.store.ledger.instance(jobs[0].instance_id or 0)
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
    assert node.store.ledger.account().kept == len(node.files("images")) >= 6


def test_rules_decide_and_everything_is_acknowledged(service: Make, tmp_path: Path) -> None:
    node = service(
        rules=[{"match": {"station_name": "ED*"}, "action": "read", "priority": 7}]
    ).listen()
    urgent = save(radiograph(StationName="ED1"), tmp_path / "1.dcm")
    plain = save(radiograph(), tmp_path / "2.dcm")
    own = save(radiograph(Manufacturer="hipnode"), tmp_path / "3.dcm")
    said = send(node, urgent, plain, own, get_testdata_file("CT_small.dcm", read=False))
    assert said.count("Received Store Response (Success)") == 4
    jobs = node.store.ledger.jobs(kind=JobKind.READ)
    assert [job.priority for job in jobs] == [7, 0]
    assert len(node.audited(AuditEvent.INSTANCE_DISCARDED)) == 2
    assert len(node.files("images")) == 2
    assert not node.files("incoming")


def test_the_same_again_is_not_read_again_and_a_change_is_kept(
    service: Make, tmp_path: Path
) -> None:
    node = service().listen()
    ds = radiograph()
    first = save(ds, tmp_path / "1.dcm")
    send(node, first)
    send(node, first)
    assert len(node.store.ledger.jobs(kind=JobKind.READ)) == 1
    assert len(node.audited(AuditEvent.INSTANCE_DUPLICATED)) == 1
    ds.PixelData = bytes(len(ds.PixelData))
    send(node, save(ds, tmp_path / "2.dcm"))
    assert len(node.store.ledger.jobs(kind=JobKind.READ)) == 2
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


# --- trouble ----------------------------------------------------------------------------------


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


BREACHES = {
    "data set without a command": p_data(pdv(1, 2, b"x" * 50)),
    "context that was not accepted": p_data(pdv(9, 3, store_rq(DX, "1.2.3"))),
    "PDV longer than its PDU": struct.pack(">BxIIBB", 4, 10, 400, 1, 3) + b"xxxx",
    "PDV without a header": struct.pack(">BxII", 4, 6, 0) + b"xx",
    "PDU without a PDV": struct.pack(">BxI", 4, 3) + b"xxx",
    "command that is noise": p_data(pdv(1, 3, b"\xff" * 64)),
    "command without end": p_data(*(pdv(1, 1, b"\0" * 16000) for _ in range(8))),
    "PDU of an unknown type": b"\x63\x00\x00\x00\x00\x04abcd",
    "another association request": associate_rq(),
    "a PDU of four gigabytes": b"\x05\x00\xff\xff\xff\xff" + b"x" * 2_000_000,
    "command in the middle of a data set": p_data(
        pdv(1, 3, store_rq(DX, "1.2.3")), pdv(1, 0, b"abcd"), pdv(1, 3, store_rq(DX, "1.2.4"))
    ),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_of_the_protocol_is_aborted(service: Make, breach: str) -> None:
    node = service().listen()
    with Wire(node.port) as wire:
        wire.associate()
        try:
            wire.send(BREACHES[breach])
            assert wire.pdu()[0] == 7  # A-ABORT
        except ConnectionError:
            pass  # it was closed before all of it was sent
        assert wire.closed()
    with Wire(node.port) as wire:
        wire.associate(contexts=[(VERIFICATION, [ExplicitVRLittleEndian])])
        wire.release()
    assert not node.files("incoming")


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
    assert len(node.store.ledger.jobs(kind=JobKind.READ)) == 1


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
        (report,) = node.store.ledger.jobs(kind=JobKind.REPORT)
        study = node.store.ledger.study(ds.StudyInstanceUID)
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
        time.sleep(0.7)
        with pytest.raises(ConnectionRefusedError):
            Wire(node.port)
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
    (job,) = node.store.ledger.jobs(kind=JobKind.READ)
    assert node.store.ledger.instance(job.instance_id or 0).calling_ae == "ORTHANC"


def test_release_request_and_image_in_one_segment(service: Make) -> None:
    node = service().listen()
    ds = radiograph()
    message = p_data(pdv(1, 3, store_rq(DX, ds.SOPInstanceUID)), pdv(1, 2, encoded(ds)))
    with Wire(node.port) as wire:
        wire.associate()
        wire.send(message + RELEASE_RQ)
        assert wire.status() == 0
        assert wire.pdu()[0] == 6
