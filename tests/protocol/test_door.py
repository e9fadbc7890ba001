"""What is refused at the door is told to the sender and to the audit log in the same words."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from hipnode.domain import AuditEvent
from tests.protocol.conftest import Service
from tests.protocol.objects import DX, encoded, radiograph
from tests.protocol.wire import Wire, associate_rq, fragmented, p_data, store, store_rq

Make = Callable[..., Service]
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"


def send(node: Service, uid: str, data: bytes, sop_class: str, syntax: str) -> tuple[int, str]:
    """Send an object; return the status and the Error Comment."""
    with Wire(node.port) as wire:
        wire.send(associate_rq(((sop_class, (syntax,)),)))
        assert wire.pdu()[0] == 2
        for item in fragmented(1, True, store_rq(sop_class, uid), ()):
            wire.send(p_data(item))
        for item in fragmented(1, False, data, ()):
            wire.send(p_data(item))
        kind, body = wire.pdu()
        assert kind == 4
        status = body[body.index(b"\0\0\0\x09\x02\0\0\0") + 8 :][:2]
        where = body.find(b"\0\0\x02\x09")
        length = int.from_bytes(body[where + 4 : where + 8], "little")
        comment = body[where + 8 : where + 8 + length].decode().rstrip() if where > 0 else ""
        wire.release()
    return int.from_bytes(status, "little"), comment


@pytest.mark.parametrize(
    ("attributes", "sentence", "known"),
    [
        (
            {"PatientID": "AB12\\CD34"},
            "The PatientID has more than one value.",
            {"patient_id": "", "accession_number": "A1"},
        ),
        (
            {"StudyInstanceUID": "1.2.x"},
            "The object has an unusable StudyInstanceUID.",
            {"patient_id": "P1", "study_instance_uid": ""},
        ),
        (
            {"SeriesInstanceUID": ""},
            "The object has no SeriesInstanceUID.",
            {"patient_id": "P1", "accession_number": "A1"},
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_refusal_is_told_in_the_same_words(
    service: Make, attributes: dict[str, str], sentence: str, known: dict[str, str]
) -> None:
    node, ds = service().listen(), radiograph(**attributes)
    answer = send(node, ds.SOPInstanceUID, encoded(ds), DX, ExplicitVRLittleEndian)
    assert answer == (0xA900, sentence)
    (row,) = node.audited(AuditEvent.INSTANCE_REFUSED)
    assert row.record.detail["sentence"] == sentence
    assert row.record.sop_instance_uid == ds.SOPInstanceUID
    for name, value in known.items():
        assert getattr(row.record, name) == value


def test_what_cannot_be_inflated_is_said_in_plain_words(service: Make) -> None:
    node, ds = service().listen(), radiograph()
    data = zlib.compress(encoded(ds))  # with a header that PS3.5 A.5 does not have
    status, comment = send(node, ds.SOPInstanceUID, data, DX, DeflatedExplicitVRLittleEndian)
    assert status == 0xC000
    assert "deflated bytes are damaged" in comment


@pytest.mark.filterwarnings("ignore")
def test_other_identifiers_are_left_out_with_a_note(service: Make) -> None:
    node, ds = service().listen(), radiograph(AccessionNumber="A1\\A2")
    with Wire(node.port) as wire:
        wire.associate()
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0
    (row,) = node.audited(AuditEvent.INSTANCE_STORED)
    assert row.record.accession_number == ""
    assert row.record.detail["left_out"] == ["AccessionNumber left out: it has more than one value"]


def test_a_rejection_note_is_kept_and_takes_back_what_it_names(service: Make) -> None:
    node, ds = service().listen(), radiograph()
    with Wire(node.port) as wire:
        wire.associate()
        assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0

    def item(**values: object) -> Dataset:
        made = Dataset()
        for keyword, value in values.items():
            setattr(made, keyword, value)
        return made

    image = item(ReferencedSOPClassUID=DX, ReferencedSOPInstanceUID=ds.SOPInstanceUID)
    series = item(SeriesInstanceUID=ds.SeriesInstanceUID, ReferencedSOPSequence=[image])
    study = item(StudyInstanceUID=ds.StudyInstanceUID, ReferencedSeriesSequence=[series])
    title = item(CodeValue="113037", CodingSchemeDesignator="DCM", CodeMeaning="Rejected")
    note = item(
        SOPClassUID=KEY_OBJECTS,
        SOPInstanceUID="1.2.3.9",
        StudyInstanceUID=ds.StudyInstanceUID,
        SeriesInstanceUID="1.2.3.8",
        PatientID="P1",
        Modality="KO",
        ConceptNameCodeSequence=[title],
        CurrentRequestedProcedureEvidenceSequence=[study],
    )
    assert send(node, "1.2.3.9", encoded(note), KEY_OBJECTS, ExplicitVRLittleEndian)[0] == 0
    assert [r.record.sop_instance_uid for r in node.audited(AuditEvent.INSTANCE_STORED)] == [
        ds.SOPInstanceUID,
        "1.2.3.9",
    ]
    (row,) = node.audited(AuditEvent.IMAGES_REJECTED)
    assert row.record.study_instance_uid == ds.StudyInstanceUID
    assert row.record.detail["images"] == [ds.SOPInstanceUID]
    assert row.record.ae_title == "WIRE"
