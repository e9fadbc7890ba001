"""What a destination may ask for besides: the presentation state and the PDF."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pypdf import PdfReader

from hipnode import DISCLAIMER
from hipnode.domain import Language, ModelRef, ResultKind, Side
from hipnode.reporting import SourceImage, build, render
from hipnode.reporting.words import report_lines
from tests import cases, factory, headers
from tests.factory import hip, radiograph, reading


def one(kind: ResultKind, name: str = "positive-right", **changes: object) -> Dataset:
    """Return the first object of a kind, made for nobody who wants another."""
    request = replace(cases.CASES[name].request(name), objects=frozenset({kind}), **changes)
    return build(request)[0].dataset


def lines(ds: Dataset) -> list[np.ndarray]:
    """Return the outlines of a presentation state: (points, 2) of (x, y), 1 the first pixel."""
    graphics = ds.GraphicAnnotationSequence[0].GraphicObjectSequence
    return [np.reshape(g.GraphicData, (-1, 2)) for g in graphics]


def test_a_definite_box_is_one_line_where_the_reading_puts_it() -> None:
    ring = lines(one(ResultKind.GSPS))[0]
    box = factory.RIGHT_BOX
    assert len(ring) == 5
    assert ring.min(axis=0).tolist() == [box.x0 + 0.5, box.y0 + 0.5]
    assert ring.max(axis=0).tolist() == [box.x1 + 0.5, box.y1 + 0.5]


def test_a_doubtful_box_is_made_of_dashes_along_the_same_line() -> None:
    ds = one(ResultKind.GSPS, "doubtful")
    dashes = [line for line in lines(ds) if len(line) == 2]
    box = factory.LEFT_BOX
    assert len(dashes) > 20
    points = np.concatenate(dashes)
    assert points.min(axis=0).tolist() == [box.x0 + 0.5, box.y0 + 0.5]
    assert points.max(axis=0).tolist() == [box.x1 + 0.5, box.y1 + 0.5]
    on_edge = np.isin(points[:, 0], [box.x0 + 0.5, box.x1 + 0.5]) | np.isin(
        points[:, 1], [box.y0 + 0.5, box.y1 + 0.5]
    )
    assert on_edge.all()


def test_a_presentation_state_shows_the_grey_values_as_the_image_asks() -> None:
    def state(**changes: object) -> Dataset:
        read = reading([hip(Side.RIGHT, 0.97)])
        source = cases.source("1", read, ds=radiograph(**changes))
        return build(cases.request(source, objects=frozenset({ResultKind.GSPS})))[0].dataset

    plain, inverse = state(), state(PhotometricInterpretation="MONOCHROME1")
    assert plain.PresentationLUTShape == "IDENTITY"
    assert inverse.PresentationLUTShape == "INVERSE"
    assert plain.SoftcopyVOILUTSequence[0].WindowCenter == 2048
    assert plain.RescaleSlope == 1
    reference = plain.ReferencedSeriesSequence[0].ReferencedImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == factory.uid("1", "1")


def test_the_labels_of_a_presentation_state_name_side_and_certainty() -> None:
    _, text, _ = render(one(ResultKind.GSPS, "implant"))
    assert "R: NOT ASSESSED - implant or other metal at the hip" in text.decode()
    assert "L: FRACTURE LIKELY - Type: intracapsular" in text.decode()


def pages(ds: Dataset) -> list[str]:
    """Return the text of each page of a PDF."""
    kind, document, suffix = render(ds)
    assert (kind, suffix) == (ResultKind.PDF, ".pdf")
    return [page.extract_text() for page in PdfReader(BytesIO(document), strict=True).pages]


def pdf_of(*sources: SourceImage, **options: Any) -> Dataset:
    (built,) = build(cases.request(*sources, objects=frozenset({ResultKind.PDF}), **options))
    return built.dataset


def test_the_pdf_has_the_words_and_a_page_for_each_capture() -> None:
    made = one(ResultKind.PDF)
    words, drawn = pages(made)
    assert "RIGHT hip: FRACTURE LIKELY" in words
    assert DISCLAIMER in words
    assert DISCLAIMER in drawn
    (picture,) = PdfReader(BytesIO(render(made)[1])).pages[1].images
    assert picture.name.endswith(".jpg")
    assert bytes(made.EncapsulatedDocument) == bytes(one(ResultKind.PDF).EncapsulatedDocument)


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_a_long_report_takes_more_pages_and_each_says_whose_it_is(language: Language) -> None:
    images = [str(n) for n in range(24)]
    sources = [
        cases.source("1", reading([hip(Side.RIGHT, 0.97), hip(Side.LEFT, 0.5)], "1", n), n)
        for n in images
    ]
    found = pages(pdf_of(*sources, language=language))
    assert len(found) > 24 + 1
    assert all(str(sources[0].dataset.PatientID) in page for page in found)
    together = " ".join(" ".join(found).split())
    for _, sentence in report_lines(cases.request(*sources, language=language)):
        assert " ".join(sentence.split())[:60] in together  # a page may end within it


def test_the_pdf_leads_to_where_a_reader_says_whether_it_was_right() -> None:
    source = cases.source("1", reading([hip(Side.RIGHT, 0.97)]))
    node = replace(cases.NODE, feedback_url="https://desk.hospital.example/studies/")
    page = PdfReader(BytesIO(render(pdf_of(source, node=node))[1])).pages[0]
    (link,) = (a.get_object()["/A"]["/URI"] for a in page["/Annots"])
    assert link == f"https://desk.hospital.example/studies/{source.dataset.StudyInstanceUID}"
    assert "Right or wrong?" in page.extract_text()


@pytest.mark.parametrize(("script", "drawn"), [("latin", True), ("greek", False)])
def test_a_name_is_drawn_only_in_letters_that_the_font_has(script: str, drawn: bool) -> None:
    made = pdf_of(cases.source("1", reading([hip(Side.RIGHT, 0.97)]), ds=headers.named(script)))
    words = pages(made)[0]
    assert ("Müller Jürgen" in words) == drawn
    assert ("(DICOM: Patient Name)" in words) != drawn
    assert made.PatientName == headers.NAMES[script][1]


def test_markup_in_a_name_or_a_model_is_text() -> None:
    ds = factory.header(PatientName="O(Neil)^<b>Ann", AccessionNumber="<i>&amp;")
    model = ModelRef("<font size=90>m", "1 & 2", "c0de" * 16, "a < b")
    words = pages(pdf_of(cases.source("1", reading([hip(Side.RIGHT, 0.97, model=model)]), ds=ds)))
    for said in ("O(Neil) <b>Ann", "<i>&amp;", "<font size=90>m 1 & 2", "a < b"):
        assert said in words[0]


def test_only_own_objects_are_rendered() -> None:
    with pytest.raises(ValueError, match="no objects of SOP Class"):
        render(radiograph())
