"""The courier, against dcmtk's storescp, Orthanc, and an SCP that answers as it is told."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt

from hipnode.domain import (
    Abstention,
    AbstentionReason,
    AuditEvent,
    Header,
    JobKind,
    JobState,
    Reading,
    ResultKind,
)
from hipnode.storage import NewResult, Received, Store
from tests.archive import Orthanc
from tests.conftest import StoreSCP
from tests.peers import eventually, free_port
from tests.protocol.conftest import Service
from tests.results import write_result

Make = Callable[..., Service]
SR_3D, SR, TEXT = (f"1.2.840.10008.5.1.4.1.1.88.{last}" for last in ("34", "33", "11"))
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def result(store: Store, sop_class: str, study: str, where: tuple[str, ...] | None) -> NewResult:
    """Write a result's file; return what the worker would tell the ledger of it."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, generate_uid(None)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, generate_uid(None)
    ds.PatientID, ds.PatientName, ds.Modality = "P1", "Müller^Änne", "SR"
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = store.files.root / "new.dcm"
    ds.save_as(path, enforce_file_format=True)
    data = path.read_bytes()
    path.unlink()
    kind = {CAPTURE: ResultKind.CAPTURE, TEXT: ResultKind.TEXT}.get(sop_class, ResultKind.SR)
    relative = write_result(store.files, ds.SOPInstanceUID, data)
    digest = hashlib.sha256(data).hexdigest()
    return NewResult(kind, sop_class, ds.SOPInstanceUID, relative, digest, where)


def reported(
    node: Service, *objects: tuple[str, bool], destination: str = "pacs"
) -> list[NewResult]:
    """Take a study through the ledger up to its report; ``(SOP class, is it queued)`` each."""
    ledger, study = node.store.ledger, str(generate_uid(None))
    header = Header("1.2.840.10008.5.1.4.1.1.1", str(generate_uid(None)), study)
    ledger.ingest(
        Received(header, "CR1", "HIPNODE", "127.0.0.1", "x", "00", 1, "a"),
        action="read",
        model_sets=("default",),
    )
    read = ledger.claim([JobKind.READ], "test")
    assert read
    nothing = Abstention(AbstentionReason.NOT_FRONTAL)
    made = Reading(header.sop_instance_uid, 1, 1, "default", "d", abstention=nothing)
    ledger.finish_read(read, made)
    report = ledger.claim([JobKind.REPORT], "test")
    assert report
    results = [
        result(node.store, sop_class, study, (destination,) if queued else ())
        for sop_class, queued in objects
    ]
    ledger.finish_report(report, results)
    return results


def destination(peer: Any, **options: Any) -> list[dict[str, Any]]:
    port = getattr(peer, "dicom_port", None) or peer.port
    return [
        {"name": "pacs", "host": "127.0.0.1", "port": port, "ae_title": peer.ae_title, **options}
    ]


def states(node: Service) -> list[JobState]:
    return [job.state for job in node.store.lookups.jobs(kind=JobKind.DELIVER)]


def all_done(node: Service) -> bool:
    return set(states(node)) == {JobState.DONE}


class Answering:
    """pynetdicom's SCP, which answers each C-STORE with the next of ``statuses`` (then 0x0000)."""

    ae_title = "ANSWERING"

    def __init__(self, statuses: Sequence[int], classes: Sequence[str]) -> None:
        self.statuses = list(statuses)
        self.refused: dict[str, int] = {}  # SOP Instance UID -> what it is always answered
        self.taken: list[str] = []
        self.associations = 0
        ae = AE(self.ae_title)
        for uid in classes:
            ae.add_supported_context(uid, ImplicitVRLittleEndian)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_ACCEPTED, self._accepted)]
        self.server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = self.server.server_address[1]

    def _accepted(self, _event: evt.Event) -> None:
        self.associations += 1

    def _store(self, event: evt.Event) -> int:
        status = self.statuses.pop(0) if self.statuses else 0
        status = self.refused.get(event.request.AffectedSOPInstanceUID, status)
        if status == -1:
            event.assoc.abort()
            return 0xC000
        if status == 0 or status >> 12 == 0xB:
            self.taken.append(event.dataset.SOPInstanceUID)
        return status


@pytest.fixture
def answering() -> Iterator[Callable[..., Answering]]:
    started: list[Answering] = []

    def start(*statuses: int, classes: Sequence[str] = (SR_3D, SR, TEXT, CAPTURE)) -> Answering:
        started.append(Answering(statuses, classes))
        return started[-1]

    yield start
    for peer in started:
        peer.server.shutdown()


# --- what arrives -----------------------------------------------------------------------------


def test_orthanc_gets_what_was_made(service: Make, orthanc: Orthanc) -> None:
    node = service(destinations=destination(orthanc))
    made = reported(node, (SR_3D, True), (CAPTURE, True), (TEXT, True))
    node.deliver()
    eventually(lambda: all_done(node))
    assert orthanc.sop_instance_uids() == sorted(m.sop_instance_uid for m in made)
    assert str(orthanc.fetch(made[0].sop_instance_uid).PatientName) == "Müller^Änne"
    rows = node.audited(AuditEvent.OBJECT_DELIVERED)
    assert [(r.record.ae_title, r.record.detail["status"]) for r in rows] == [
        ("ORTHANC", "0x0000")
    ] * 3


def test_storescp_gets_them_in_order_in_one_association(
    service: Make, answering: Callable[..., Answering]
) -> None:
    peer = answering()
    node = service(destinations=destination(peer))
    made = [*reported(node, (SR_3D, True), (CAPTURE, True)), *reported(node, (SR_3D, True))]
    node.deliver()
    eventually(lambda: all_done(node))
    assert peer.taken == [m.sop_instance_uid for m in made]
    assert peer.associations == 1
    eventually(lambda: not peer.server.active_associations, what="an idle association is released")


def test_a_pacs_that_is_away_gets_everything_in_order_when_it_is_back(
    service: Make, new_orthanc: Callable[..., Orthanc]
) -> None:
    orthanc = new_orthanc()
    node = service(
        destinations=destination(orthanc),
        queue={"max_attempts": 1, "backoff_first_s": 0.2, "backoff_cap_s": 0.4},
    )
    orthanc.stop()
    made = reported(node, (SR_3D, True), (CAPTURE, True))
    node.deliver()
    eventually(lambda: len(node.audited(AuditEvent.DELIVERY_FAILED)) > 3)
    made += reported(node, (SR_3D, True))
    jobs = node.store.lookups.jobs(kind=JobKind.DELIVER)
    assert {job.attempts for job in jobs} == {0}
    (place,) = node.store.lookups.overview().destinations
    assert place.away_since_utc is not None
    orthanc.start()
    eventually(lambda: all_done(node))
    assert orthanc.sop_instance_uids() == sorted(m.sop_instance_uid for m in made)
    delivered = [e.record.sop_instance_uid for e in node.audited(AuditEvent.OBJECT_DELIVERED)]
    assert delivered == [m.sop_instance_uid for m in made]
    (place,) = node.store.lookups.overview().destinations
    assert place.away_since_utc is None


# --- what it answers --------------------------------------------------------------------------


def test_dcmtk_that_does_not_know_3d_reports_gets_the_next_class(
    service: Make, storescp: Callable[..., StoreSCP], tmp_path: Path
) -> None:
    profile = tmp_path / "storescp.cfg"
    profile.write_text(
        "[[TransferSyntaxes]]\n[Any]\nTransferSyntax1 = LittleEndianImplicit\n"
        "TransferSyntax2 = LittleEndianExplicit\n"
        "[[PresentationContexts]]\n[Old]\n"
        "PresentationContext1 = ComprehensiveSRStorage\\Any\n"
        "PresentationContext2 = SecondaryCaptureImageStorage\\Any\n"
        "[[Profiles]]\n[Default]\nPresentationContexts = Old\n"
    )
    peer = storescp("-xf", str(profile), "Default")
    node = service(destinations=destination(peer))
    three_d, other, capture = reported(node, (SR_3D, True), (SR, False), (CAPTURE, True))
    node.deliver()
    eventually(lambda: all_done(node))
    got = {dcmread(path).SOPInstanceUID for path in peer.received()}
    assert got == {other.sop_instance_uid, capture.sop_instance_uid}
    (fell,) = node.audited(AuditEvent.DELIVERY_FELL_BACK)
    assert fell.record.detail["refused_instance"] == three_d.sop_instance_uid
    assert node.audited(AuditEvent.OBJECT_DELIVERED)[0].record.detail["sop_class"] == SR


def test_a_class_refused_by_status_falls_back_too(
    service: Make, answering: Callable[..., Answering]
) -> None:
    peer = answering(0x0122)
    node = service(destinations=destination(peer))
    _, other = reported(node, (SR_3D, True), (SR, False))
    node.deliver()
    eventually(lambda: all_done(node))
    assert peer.taken == [other.sop_instance_uid]


def test_without_another_class_it_is_quarantined_and_others_pass(
    service: Make, answering: Callable[..., Answering]
) -> None:
    peer = answering(classes=(SR,))
    node = service(
        destinations=destination(peer, sr_sop_classes=["comprehensive-3d"]),
        queue={"max_attempts": 2, "backoff_first_s": 0.1},
    )
    reported(node, (SR_3D, True), (SR, False))
    (passing,) = reported(node, (SR, True))
    node.deliver()
    eventually(lambda: states(node) == [JobState.QUARANTINED, JobState.DONE])
    assert peer.taken == [passing.sop_instance_uid]
    assert len(node.audited(AuditEvent.DELIVERY_FAILED)) == 2


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0x0107, 0x0111])
def test_a_warning_counts_as_delivered_and_is_audited(
    service: Make, answering: Callable[..., Answering], status: int
) -> None:
    peer = answering(status)
    node = service(destinations=destination(peer))
    reported(node, (SR_3D, True))
    node.deliver()
    eventually(lambda: all_done(node))
    (row,) = node.audited(AuditEvent.OBJECT_DELIVERED)
    assert row.record.detail["status"] == f"0x{status:04X}"


@pytest.mark.parametrize("status", [0xA700, -1])  # out of resources; A-ABORT in the middle
def test_a_busy_destination_is_waited_for(
    service: Make, answering: Callable[..., Answering], status: int
) -> None:
    peer = answering(status, status, status)
    node = service(
        destinations=destination(peer, timeout_s=5),
        queue={"max_attempts": 1, "backoff_first_s": 0.1, "backoff_cap_s": 0.2},
    )
    made = reported(node, (SR_3D, True), (CAPTURE, True))
    node.deliver()
    eventually(lambda: all_done(node))
    assert peer.taken == [m.sop_instance_uid for m in made]


def test_a_refused_object_is_tried_again_then_quarantined(
    service: Make, answering: Callable[..., Answering]
) -> None:
    peer = answering()
    node = service(
        destinations=destination(peer),
        queue={"max_attempts": 3, "backoff_first_s": 0.1, "backoff_cap_s": 0.2},
    )
    first, second = reported(node, (SR_3D, True), (CAPTURE, True))
    peer.refused[first.sop_instance_uid] = 0xC000
    node.deliver()
    eventually(lambda: states(node) == [JobState.QUARANTINED, JobState.DONE])
    assert peer.taken == [second.sop_instance_uid]
    failed = node.audited(AuditEvent.DELIVERY_FAILED)
    assert ["0xC000" in row.record.detail["reason"] for row in failed] == [True] * 3


def test_a_result_that_was_changed_on_disk_is_not_sent(
    service: Make, answering: Callable[..., Answering]
) -> None:
    peer = answering()
    node = service(destinations=destination(peer))
    (made,) = reported(node, (SR_3D, True))
    path = node.store.files.path(made.path)
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    node.deliver()
    eventually(lambda: states(node) == [JobState.QUARANTINED])
    assert not peer.taken


def test_a_wrong_ae_title_is_no_attempt(service: Make, orthanc: Orthanc) -> None:
    node = service(destinations=destination(orthanc, ae_title="WRONG"))
    reported(node, (SR_3D, True))
    node.deliver()

    def reasons() -> list[str]:
        return [row.record.detail["error"] for row in node.audited(AuditEvent.DELIVERY_FAILED)]

    eventually(lambda: any("reason 7" in reason for reason in reasons()))
    assert node.store.lookups.jobs(kind=JobKind.DELIVER)[0].attempts == 0
    (place,) = node.store.lookups.overview().destinations
    assert place.rejects
    assert "does not know the called AE title WRONG" in place.error


def test_destinations_do_not_wait_for_each_other(
    service: Make, answering: Callable[..., Answering]
) -> None:
    there = answering()
    gone = {"name": "gone", "host": "127.0.0.1", "port": free_port(), "ae_title": "GONE"}
    node = service(destinations=[gone, *destination(there)])
    reported(node, (SR_3D, True), destination="gone")
    (made,) = reported(node, (SR_3D, True))
    node.deliver()
    eventually(lambda: there.taken == [made.sop_instance_uid])


def test_stop_finishes_the_object_that_is_on_its_way(
    service: Make, answering: Callable[..., Answering]
) -> None:
    peer = answering()
    inside = threading.Event()
    plain = peer._store

    def slow(event: evt.Event) -> int:
        inside.set()
        time.sleep(1)
        return plain(event)

    peer.server.bind(evt.EVT_C_STORE, slow)
    node = service(destinations=destination(peer))
    reported(node, (SR_3D, True), (CAPTURE, True))
    node.deliver()
    assert inside.wait(10)
    node.stop()
    assert sorted(states(node)) == [JobState.DONE, JobState.QUEUED]
