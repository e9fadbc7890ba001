"""Reports filled into prepared pieces: byte for byte what highdicom makes of the same request."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import highdicom as hd
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from hipnode import codes
from hipnode.domain import ResultKind, Side
from hipnode.reporting import ReportRequest, build, read_back
from hipnode.reporting.forms import Form, NotPrepared
from hipnode.reporting.measurements import prepare
from tests import cases, factory, headers
from tests.factory import header, hip, reading, reread

DOCUMENTS = frozenset({ResultKind.SR, ResultKind.TEXT})
LANGUAGES = ("en", "de", "fr")


def both_ways(asked: ReportRequest) -> list[bytes]:
    """Hold both ways of building a request against each other; return the objects."""
    filled, made = build(asked), build(asked, prepared=False)
    assert [b.to_bytes() for b in filled] == [b.to_bytes() for b in made]
    assert [b.sop_instance_uid for b in filled] == [b.sop_instance_uid for b in made]
    return [b.to_bytes() for b in filled]


@pytest.mark.parametrize("name", cases.CASES)
def test_every_case_is_the_same_both_ways(name: str) -> None:
    asked = cases.CASES[name].request(name)
    twice = replace(asked, sr_classes=("comprehensive-3d", "comprehensive"))
    both_ways(replace(twice, objects=DOCUMENTS | {ResultKind.CAPTURE}))
    both_ways(replace(twice, objects=DOCUMENTS, language="de"))


@pytest.mark.parametrize("script", headers.NAMES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_character_set_is_the_same_both_ways(script: str, language: str) -> None:
    """The name decides the set with the sentences, which are prepared in none."""
    source = cases.source(script, reading([hip(Side.RIGHT, 0.97)]), ds=headers.named(script))
    built = both_ways(cases.request(source, objects=DOCUMENTS, language=language))
    for document in built:
        assert dcmread(BytesIO(document)).PatientName == headers.NAMES[script][1]


@pytest.mark.parametrize("name", headers.VARIANTS)
def test_what_hospitals_send_is_the_same_both_ways(name: str) -> None:
    both_ways(replace(headers.variant(name), objects=DOCUMENTS))


def test_a_form_keeps_nothing_of_the_study_before() -> None:
    """Another patient, image, box and probability of the same look."""
    for n, p in enumerate((0.97, 0.91, 0.9999)):
        box = replace(factory.RIGHT_BOX, x1=factory.RIGHT_BOX.x1 - 7 * n)
        made = reading([hip(Side.RIGHT, p, box)], f"study {n}", f"{n}")
        ds = header(f"study {n}", f"{n}", PatientID=f"P{n}", PatientName=f"Name{n}^Given")
        asked = cases.request(cases.source(f"study {n}", made, f"{n}", ds=ds), objects=DOCUMENTS)
        document = both_ways(asked)[0]
        (measured,) = read_back(document)
        assert measured.percent == round(100 * p, 2)
        assert measured.box == (box.x0, box.y0, box.x1, box.y1)
        assert measured.source_sop_instance_uid == made.sop_instance_uid
        (evidence,) = dcmread(BytesIO(document)).CurrentRequestedProcedureEvidenceSequence
        (series,) = evidence.ReferencedSeriesSequence
        assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == made.sop_instance_uid


@pytest.mark.parametrize(
    ("label", "is_ascii"), [("intracapsular", True), ("fémoral", False), ("股骨", False)]
)
def test_a_class_beyond_ascii_is_made_anew(label: str, is_ascii: bool) -> None:
    """Its bytes differ from one character set to the next, so no piece with it is kept."""
    shares = {"none": 0.1, label: 0.6, "trochanteric": 0.3}
    read = reading(
        [hip(Side.RIGHT, 0.9, probabilities=shares, label=label, positive=(label, "trochanteric"))]
    )
    sr, _ = both_ways(cases.request(cases.source("label", read), objects=DOCUMENTS))
    said = dcmread(BytesIO(sr))
    assert (said.get("SpecificCharacterSet") is None) == is_ascii
    assert f"RIGHT {label} fx AI" in read_back(sr)[0].classes_percent


def test_a_procedure_beyond_ascii_is_made_anew() -> None:
    procedure = Dataset()
    procedure.CodeValue, procedure.CodingSchemeDesignator = "B1", "99HOSPITAL"
    procedure.CodeMeaning = "Röntgen Hüfte"
    ds = header("procedure", SpecificCharacterSet="ISO_IR 100", ProcedureCodeSequence=[procedure])
    asked = cases.request(
        cases.source("procedure", reading([hip(Side.LEFT, 0.4)]), ds=reread(ds)), objects=DOCUMENTS
    )
    sr, _ = both_ways(asked)
    named = [
        item.ConceptCodeSequence[0].CodeMeaning
        for item in dcmread(BytesIO(sr)).ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "121058"
    ]
    assert named == ["Röntgen Hüfte"]


def test_a_mark_in_the_sentences_is_only_text() -> None:
    """What stands for a hole while a piece is made means nothing in what it is filled with."""
    for text in ("{groups}", "{said}", "{text}", "2.25.7001", "-7001.0"):
        ds = header("marks", StudyDescription=text, PatientID=text, SeriesNumber="1")
        failed = cases.source("marks", text, "2", ds=header("marks", "2", PatientID=text))
        read = cases.source("marks", reading([hip(Side.RIGHT, 0.97)]), ds=ds)
        both_ways(cases.request(read, failed, objects=DOCUMENTS))


def test_highdicom_reads_what_was_filled_in() -> None:
    prepare()
    asked = cases.CASES["several-tasks"].request("filled")
    sr = next(b for b in build(asked) if b.kind is ResultKind.SR)
    report: Any = hd.sr.srread(BytesIO(sr.to_bytes()))
    assert len(report.content.get_planar_roi_measurement_groups()) == 3


def test_a_form_refuses_text_that_has_no_bytes_of_its_own() -> None:
    item = Dataset()
    item.ConceptNameCodeSequence = [Dataset()]
    item.ConceptNameCodeSequence[0].CodeMeaning = "Hüfte"
    with pytest.raises(NotPrepared):
        Form.of_items([item], {})
    assert codes.IMAGING_PROCEDURE.meaning.isascii()
