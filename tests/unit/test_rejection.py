"""Rejection notes: those that come are understood, those that leave are valid and complete."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from hipnode import codes, dicom
from hipnode.cli.conform import dciodvfy
from hipnode.domain import ResultKind, Side
from hipnode.reporting import Withdrawal, build, rejection_notes, render
from tests import cases
from tests.factory import header, hip, reading, uid
from tests.peers import require

KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"


def item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def note(code: str = "113037", scheme: str = "DCM", images: tuple[str, ...] = ("1",)) -> Dataset:
    """Return a note as an archive sends it, for images of `header`'s study."""
    refs = [
        item(
            ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.1.1",
            ReferencedSOPInstanceUID=uid("1", i),
        )
        for i in images
    ]
    series = item(SeriesInstanceUID=uid("1", "series"), ReferencedSOPSequence=refs)
    study = item(StudyInstanceUID=uid("1"), ReferencedSeriesSequence=[series])
    title = item(CodeValue=code, CodingSchemeDesignator=scheme, CodeMeaning="Rejected")
    return item(
        SOPClassUID=KEY_OBJECTS,
        SOPInstanceUID=uid("note"),
        StudyInstanceUID=uid("1"),
        SeriesInstanceUID=uid("note", "series"),
        PatientID="P1",
        Modality="KO",
        ConceptNameCodeSequence=[title],
        CurrentRequestedProcedureEvidenceSequence=[study],
    )


@pytest.mark.parametrize("code", codes.REJECTIONS)
def test_a_note_names_what_it_takes_back(code: str) -> None:
    found = dicom.rejection_of(note(code, images=("1", "2")))
    assert found is not None
    assert found.code == code
    assert set(found.images) == {(uid("1"), uid("1", "1")), (uid("1"), uid("1", "2"))}


def test_other_key_objects_take_nothing_back() -> None:
    assert dicom.rejection_of(note("113000")) is None  # of interest
    assert dicom.rejection_of(note(scheme="99SITE")) is None
    assert dicom.rejection_of(header()) is None
    untitled = note()
    del untitled.ConceptNameCodeSequence
    assert dicom.rejection_of(untitled) is None


def test_a_note_without_evidence_is_read_from_its_content() -> None:
    ds = note()
    refs = ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    del ds.CurrentRequestedProcedureEvidenceSequence
    ds.ContentSequence = [item(ReferencedSOPSequence=refs.ReferencedSOPSequence)]
    found = dicom.rejection_of(ds)
    assert found is not None
    assert found.images == ((uid("1"), uid("1", "1")),)


@pytest.mark.parametrize("code", codes.REJECTIONS)
def test_our_own_note_is_valid_and_names_every_object(code: str, tmp_path: Path) -> None:
    require("dciodvfy", "dicom3tools")
    hips = [hip(Side.RIGHT, 0.97), hip(Side.LEFT, 0.02)]
    sent = [
        dcmread(BytesIO(b.to_bytes()))
        for b in build(cases.request(cases.source("1", reading(hips))))
    ]
    assert all(uid("1", "1") in dicom.referenced_in(ds) for ds in sent)
    taken = Withdrawal(tuple(sent), codes.REJECTIONS[code], cases.NODE, cases.MADE_UTC, 2)
    (made,) = rejection_notes(taken)
    path = tmp_path / "note.dcm"
    path.write_bytes(made.to_bytes())
    (verdict,) = dciodvfy([path])
    assert not verdict.errors + verdict.warnings
    ds = dcmread(path)
    assert made.kind is ResultKind.NOTE
    assert ds.SeriesDescription.startswith("AI rejection v2")  # no outcome: nothing has failed
    assert (ds.PatientID, ds.StudyInstanceUID) == (sent[0].PatientID, sent[0].StudyInstanceUID)
    found = dicom.rejection_of(ds)
    assert found is not None
    assert found.code == code
    assert {named for _, named in found.images} == {one.SOPInstanceUID for one in sent}
    assert rejection_notes(taken)[0].to_bytes() == made.to_bytes()
    kind, text, _ = render(path)
    assert kind is ResultKind.NOTE
    assert b"rejected or moved" in text


def test_objects_of_two_patients_are_taken_back_apart() -> None:
    other = cases.source(
        "1", reading([hip(Side.LEFT, 0.2)], image="2"), "2", ds=header("1", "2", PatientID="P2")
    )
    first = cases.source("1", reading([hip(Side.RIGHT, 0.97)]))
    sent = [dcmread(BytesIO(b.to_bytes())) for b in build(cases.request(first, other))]
    title = codes.REJECTIONS[codes.MOVED]
    notes = rejection_notes(Withdrawal(tuple(sent), title, cases.NODE, cases.MADE_UTC, 2))
    for made in notes:
        named = {u for _, u in dicom.rejection_of(made.dataset).images}  # type: ignore[union-attr]
        assert named == {s.SOPInstanceUID for s in sent if s.PatientID == made.patient_id}
    assert {made.patient_id for made in notes} == {"P1", "P2"}
