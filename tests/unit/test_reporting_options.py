"""What a destination may ask for besides: the presentation state and the PDF."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from pydicom.dataset import Dataset

from hipnode.domain import ResultKind, Side
from hipnode.reporting import build, render
from tests import cases, factory
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


def test_the_pdf_is_well_formed() -> None:
    kind, document, suffix = render(one(ResultKind.PDF))
    assert (kind, suffix) == (ResultKind.PDF, ".pdf")
    assert document.startswith(b"%PDF-1.4")
    assert document.endswith(b"%%EOF\n")
    start = int(re.search(rb"startxref\n(\d+)", document)[1])  # type: ignore[index]
    table = document[start:].split(b"trailer")[0].split(b"\n")[2:-1]
    for number, entry in enumerate(table):
        offset = int(entry[:10])
        if number:
            assert document[offset:].startswith(b"%d 0 obj" % number)
    assert document.count(b"/Type /Page ") == 2  # the text, and the capture
    assert document.count(b"/DCTDecode") == 1


@pytest.mark.parametrize(("script", "drawn"), [("latin", True), ("greek", False)])
def test_a_name_is_drawn_only_in_letters_that_the_font_has(script: str, drawn: bool) -> None:
    source = cases.source("1", reading([hip(Side.RIGHT, 0.97)]), ds=cases.named(script))
    wanted = cases.request(source, objects=frozenset({ResultKind.PDF}))
    ds = build(wanted)[0].dataset
    _, document, _ = render(ds)
    assert (b"M\xfcller J\xfcrgen" in document) == drawn
    assert (b"see the DICOM header" in document) != drawn
    assert ds.PatientName == cases.NAMES[script][1]


def test_brackets_in_a_name_do_not_break_the_pdf() -> None:
    ds = factory.header(PatientName="O(Neil)^Ann")
    source = cases.source("1", reading([hip(Side.RIGHT, 0.97)]), ds=ds)
    wanted = cases.request(source, objects=frozenset({ResultKind.PDF}))
    _, document, _ = render(build(wanted)[0].dataset)
    assert rb"O\(Neil\) Ann" in document


def test_only_own_objects_are_rendered() -> None:
    with pytest.raises(ValueError, match="no objects of SOP Class"):
        render(radiograph())
