"""The objects: coded content, places, identifiers, versions, pictures."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import highdicom as hd
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from hipnode import DISCLAIMER, codes
from hipnode.domain import REPORTED, Box, ResultKind, Side
from hipnode.reporting import (
    BuiltObject,
    NodeIdentity,
    SourceImage,
    build,
    read_back,
    render,
)
from tests import cases, factory
from tests.cases import request, source
from tests.factory import header, hip, reading, scene

R, L = Side.RIGHT, Side.LEFT


def made(name: str, kind: ResultKind) -> BuiltObject:
    """Return the first object of a kind of a case."""
    return next(b for b in build(cases.CASES[name].request(name)) if b.kind is kind)


def items(ds: Dataset) -> list[Dataset]:
    """Return every content item of a document, depth first."""
    found = []
    for child in ds.get("ContentSequence", []):
        found += [child, *items(child)]
    return found


# --- which objects ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", cases.CASES)
def test_every_case_gets_the_objects_that_fit_it(name: str) -> None:
    case = cases.CASES[name]
    kinds = [b.kind for b in build(case.request(name))]
    assert (ResultKind.SR in kinds) == case.measured
    assert kinds.count(ResultKind.TEXT) == 1
    assert kinds.count(ResultKind.PDF) == 1
    with_pixels = sum(s.pixels is not None for s in case.request(name).sources)
    assert kinds.count(ResultKind.CAPTURE) == with_pixels


def test_nothing_ends_in_silence() -> None:
    """Pitfall 1: not an empty TID 1500, which kills OHIF, but a text."""
    for name in ("child", "failed", "implants"):
        wanted = replace(cases.CASES[name].request(name), objects=frozenset({ResultKind.SR}))
        assert [b.kind for b in build(wanted)] == [ResultKind.TEXT]


def test_a_profile_gets_what_it_asks_for() -> None:
    wanted = replace(
        cases.CASES["negative"].request("n"),
        objects=frozenset({ResultKind.SR}),
        sr_classes=("comprehensive-3d", "comprehensive"),
    )
    first, second = build(wanted)
    assert first.sop_class_uid == "1.2.840.10008.5.1.4.1.1.88.34"
    assert second.sop_class_uid == "1.2.840.10008.5.1.4.1.1.88.33"
    assert first.sop_instance_uid != second.sop_instance_uid
    assert not [
        i for i in items(first.dataset) if i.ConceptNameCodeSequence[0].CodeValue == "121200"
    ]


@pytest.mark.parametrize("name", [name for name, case in cases.CASES.items() if case.measured])
def test_highdicom_accepts_the_tree_in_each_sop_class(name: str) -> None:
    """Value types, relationships and references, as its constructors check them."""
    asked = replace(
        cases.CASES[name].request(name), sr_classes=("comprehensive-3d", "comprehensive")
    )
    built = build(asked)
    shown = [b.dataset for b in built if b.kind is ResultKind.CAPTURE]
    reports = [b.dataset for b in built if b.kind is ResultKind.SR]
    for report, cls in zip(reports, (hd.sr.Comprehensive3DSR, hd.sr.ComprehensiveSR), strict=True):
        cls(
            evidence=[*(s.dataset for s in asked.sources), *shown],
            content=report.group_dataset(0x0040),
            series_instance_uid="2.25.1",
            series_number=1,
            sop_instance_uid="2.25.2",
            instance_number=1,
            manufacturer="test",
        )


# --- what is measured -------------------------------------------------------------------------


def test_positive_and_negative_hips_are_measured_alike() -> None:
    right, left = read_back(made("positive-right", ResultKind.SR).to_bytes())
    assert (right.side, right.presence, right.percent) == (R, "Present", 97.0)
    assert right.finding == "FX_INTRACAPSULAR"
    assert right.classes_percent == {
        "RIGHT intracapsular fx AI": 82.45,
        "RIGHT trochanteric fx AI": 14.55,
    }
    assert (left.side, left.presence, left.percent) == (L, "Absent", 2.0)
    assert left.finding == "FX_NOT_DETECTED"


@pytest.mark.parametrize("name", [n for n, case in cases.CASES.items() if case.measured])
def test_boxes_survive_to_the_pixel(name: str) -> None:
    """Pitfall 6; and pitfall 1: every group has a region."""
    wanted = [
        (s.reading.sop_instance_uid, h.roi.side, h.roi.box)
        for s in cases.CASES[name].request(name).sources
        if s.reading is not None
        for h in s.reading.hips
        for f in h.findings
        if not f.shadow
    ]
    measured = read_back(made(name, ResultKind.SR).to_bytes())
    found = [(m.source_sop_instance_uid, m.side, Box(*map(int, m.box))) for m in measured]
    assert found == wanted


def test_no_fracture_code_stands_as_finding_of_a_hip_without_one() -> None:
    for name in ("negative", "doubtful", "positive-right"):
        for m in read_back(made(name, ResultKind.SR).to_bytes()):
            assert (m.presence == "Present") == (not m.finding.startswith(("FX_NOT", "FX_DOUB")))


@pytest.mark.parametrize("name", [n for n, case in cases.CASES.items() if case.measured])
def test_the_side_is_in_words_wherever_a_viewer_may_look(name: str) -> None:
    """Pitfall 2: OHIF shows neither the coded laterality nor the tracking identifier."""
    for item in items(made(name, ResultKind.SR).dataset):
        meaning = item.ConceptNameCodeSequence[0].CodeMeaning
        if item.ValueType == "NUM":
            assert meaning.startswith(("RIGHT ", "LEFT ", "SIDE UNKNOWN "))
            assert meaning.endswith(" AI")
    for m in read_back(made(name, ResultKind.SR).to_bytes()):
        assert all(words.startswith(m.side.word) for words in m.classes_percent)


def test_a_probability_never_without_its_threshold_and_model() -> None:
    sr = made("positive-right", ResultKind.SR).dataset
    groups = [i for i in items(sr) if i.ConceptNameCodeSequence[0].CodeValue == "125007"]
    for group in groups:
        number = next(i for i in group.ContentSequence if i.ValueType == "NUM")
        below = {i.ConceptNameCodeSequence[0].CodeMeaning for i in number.ContentSequence}
        assert {"Algorithm Name", "Algorithm Version", "Algorithm Parameters"} <= below
        texts = [i.TextValue for i in number.ContentSequence if i.ValueType == "TEXT"]
        assert "operating point balanced: possible from 12 %, likely from 85 %" in texts
        assert f"bundle sha256 {factory.MODEL.digest}" in texts


def test_what_was_not_assessed_is_coded() -> None:
    sr = made("several-images", ResultKind.SR).dataset
    reasons = {
        (i.ConceptNameCodeSequence[0].CodeValue, i.ConceptCodeSequence[0].CodeValue)
        for i in items(sr)
        if i.ValueType == "CODE"
    }
    assert ("IMG_NOT_ASSESSED", "NA_NOT_FRONTAL") in reasons
    assert ("IMG_NOT_ASSESSED", "NA_FAILED") in reasons
    implant = made("implant", ResultKind.SR).dataset
    assert any(
        i.ValueType == "CODE" and i.ConceptCodeSequence[0].CodeValue == "NA_IMPLANT"
        for i in items(implant)
    )
    unusable = made("unusable", ResultKind.TEXT).dataset
    assert any(
        i.ValueType == "CODE" and i.ConceptCodeSequence[0].CodeValue == "111235"
        for i in items(unusable)
    )


def test_shadow_findings_are_in_no_object() -> None:
    """Their probability, their model and their task are for the audit log alone."""
    built = build(cases.CASES["several-tasks"].request("s"))
    assert len(read_back(next(b for b in built if b.kind is ResultKind.SR).to_bytes())) == 3
    for b in built:
        assert b"FX_RISK" not in b.to_bytes()
        assert b"RISK" not in b.to_bytes().replace(b"BRISK", b"")


def test_every_image_is_evidence_and_every_reference_is_in_it() -> None:
    sr = made("several-images", ResultKind.SR).dataset
    (study,) = sr.CurrentRequestedProcedureEvidenceSequence
    evidence = {
        ref.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for ref in series.ReferencedSOPSequence
    }
    assert {factory.uid("several-images", n) for n in "1234"} <= evidence
    for item in items(sr):
        for ref in item.get("ReferencedSOPSequence", []):
            assert ref.ReferencedSOPInstanceUID in evidence


@pytest.mark.parametrize("kind", sorted(REPORTED))
def test_the_disclaimer_is_in_the_series_list_and_in_the_object(kind: ResultKind) -> None:
    """Pitfall 5."""
    built = made("positive-right", kind)
    assert built.dataset.SeriesDescription.endswith(DISCLAIMER)
    assert len(built.dataset.SeriesDescription) <= 64
    kind_of, content, suffix = render(built.to_bytes())
    assert kind_of is kind
    if suffix != ".png":
        assert DISCLAIMER.encode() in content


def test_documents_are_unverified_and_preliminary() -> None:
    for kind in (ResultKind.SR, ResultKind.TEXT):
        ds = made("positive-right", kind).dataset
        assert (ds.CompletionFlag, ds.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
        assert ds.PreliminaryFlag == "PRELIMINARY"
        assert ds.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99HIPNODE"


# --- identifiers and versions -----------------------------------------------------------------


def uids(*sources: SourceImage, **changes: object) -> list[str]:
    """Return the SOP Instance UIDs of everything made of these images."""
    return [b.sop_instance_uid for b in build(request(*sources, **changes))]


def test_the_same_content_is_the_same_object() -> None:
    """Pitfall 8: whenever and however often it is made."""
    read = reading([hip(R, 0.97)])
    first = build(request(source("1", read)))
    again = build(request(source("1", replace(read, timings_ms={"total": 99.0}))))
    assert [a.to_bytes() for a in first] == [b.to_bytes() for b in again]
    later = request(source("1", read), made_utc=cases.MADE_UTC + timedelta(hours=1))
    assert [b.sop_instance_uid for b in build(later)] == [b.sop_instance_uid for b in first]


def test_changed_content_never_reuses_a_uid() -> None:
    """Pitfall 8: an archive keeps the old object, and answers success all the same."""
    read = reading([hip(R, 0.97)])
    base = uids(source("1", read))
    changed = {
        "probability": uids(source("1", reading([hip(R, 0.96)]))),
        "box": uids(source("1", reading([hip(R, 0.97, Box(151, 330, 470, 700))]))),
        "model": uids(
            source("1", reading([hip(R, 0.97, model=replace(factory.MODEL, digest="0" * 64))]))
        ),
        "name": uids(source("1", read, ds=header(PatientName="Other^Name"))),
        "accession": uids(source("1", read, ds=header(AccessionNumber="OTHER"))),
        "file": uids(SourceImage(header(), read, pixels=scene(), digest="1")),
        "pixels": uids(SourceImage(header(), read, pixels=255 - scene())),
        "node": uids(source("1", read), node=NodeIdentity(software_version="9.9.9")),
    }
    for what, others in changed.items():
        assert not set(base) & set(others), what
    assert len(set(base)) == len(base)


def test_uids_are_valid() -> None:
    for b in build(cases.CASES["several-images"].request("s")):
        for uid in (b.sop_instance_uid, b.dataset.SeriesInstanceUID):
            assert uid.startswith("2.25.")
            assert len(uid) <= 64
            assert uid.is_valid if hasattr(uid, "is_valid") else True


def test_a_new_version_names_its_predecessor_and_the_old_stays_true() -> None:
    first = source("1", reading([hip(R, 0.02)]))
    late = source("1", reading([hip(R, 0.93)], image="2"), "2")
    before = {b.kind: b for b in build(request(first))}
    results = tuple(
        factory_result(kind, b) for kind, b in before.items() if kind is not ResultKind.CAPTURE
    )
    after = {b.kind: b for b in build(request(first, late, version=2, predecessors=results))}
    for kind in (ResultKind.SR, ResultKind.TEXT):
        new, old = after[kind].dataset, before[kind].dataset
        (study,) = new.PredecessorDocumentsSequence
        (series,) = study.ReferencedSeriesSequence
        (named,) = series.ReferencedSOPSequence
        assert study.StudyInstanceUID == old.StudyInstanceUID
        assert series.SeriesInstanceUID == old.SeriesInstanceUID
        assert named.ReferencedSOPInstanceUID == old.SOPInstanceUID
        assert named.ReferencedSOPClassUID == old.SOPClassUID
        assert new.SOPInstanceUID != old.SOPInstanceUID
        assert "v2" in new.SeriesDescription
        assert "PredecessorDocumentsSequence" not in old


def test_a_measured_version_may_replace_one_that_was_text_alone() -> None:
    text = made("child", ResultKind.TEXT)
    second = replace(
        cases.CASES["positive-right"].request("child"),
        version=2,
        predecessors=(factory_result(ResultKind.TEXT, text),),
    )
    sr = next(b for b in build(second) if b.kind is ResultKind.SR).dataset
    named = sr.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert named.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == text.sop_instance_uid


def test_a_late_image_leaves_the_captures_of_the_others_as_they_were() -> None:
    first = source("1", reading([hip(R, 0.02)]))
    late = source("1", reading([hip(R, 0.93)], image="2"), "2")
    (old,) = [b for b in build(request(first)) if b.kind is ResultKind.CAPTURE]
    both = [b for b in build(request(first, late, version=2)) if b.kind is ResultKind.CAPTURE]
    assert both[0].to_bytes() == old.to_bytes()
    assert both[0].dataset.SeriesInstanceUID == old.dataset.SeriesInstanceUID


def factory_result(kind: ResultKind, built: BuiltObject) -> object:
    """Return what the ledger keeps of an object of version 1."""
    from hipnode.domain import Result

    return Result(
        1, kind, built.dataset.StudyInstanceUID, built.sop_class_uid, built.sop_instance_uid,
        "path", "0" * 64, 1,
    )  # fmt: skip


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(REPORTED))
def test_the_bytes_are_a_dicom_file(kind: ResultKind) -> None:
    built = made("positive-right", kind)
    ds = dcmread(BytesIO(built.to_bytes()))
    assert ds.file_meta.MediaStorageSOPInstanceUID == built.sop_instance_uid
    assert ds.file_meta.ImplementationClassUID == codes.IMPLEMENTATION_CLASS_UID
    assert ds.file_meta.SourceApplicationEntityTitle == "HIPNODE"
    assert ds.Manufacturer == "hipnode"
