"""What objects say of an image of several frames, or with pixels that are not square."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom.dataset import Dataset

from hipnode.domain import AbstentionReason, ResultKind, Side
from hipnode.reporting import build, plain_text
from tests import cases
from tests.factory import header, hip, reading

RADIOFLUOROSCOPY = "1.2.840.10008.5.1.4.1.1.12.2"
BOTH = [hip(Side.RIGHT, 0.001), hip(Side.LEFT, 0.99)]


def objects(ds: Dataset, frame: int | None = None, frames: int = 1) -> dict[ResultKind, Dataset]:
    read = replace(reading(BOTH), frame=frame, frames=frames)
    return {b.kind: b.dataset for b in build(cases.request(cases.source("1", read, ds=ds)))}


def frames_named(ds: Dataset) -> set[int]:
    return {int(e.value) for e in ds.iterall() if e.keyword == "ReferencedFrameNumber"}


def test_references_name_the_frame_where_the_sop_class_has_frames() -> None:
    ds = header("1", "1")
    ds.SOPClassUID, ds.Modality = RADIOFLUOROSCOPY, "RF"
    made = objects(ds, 3, 4)
    for kind in (ResultKind.SR, ResultKind.CAPTURE, ResultKind.GSPS):
        assert frames_named(made[kind]) == {3}
    assert all(not frames_named(one) for one in objects(ds).values())


def test_of_another_sop_class_the_words_name_the_frame() -> None:
    made = objects(header("1", "1"), 2, 2)
    assert all(not frames_named(one) for one in made.values())
    for kind in (ResultKind.SR, ResultKind.TEXT, ResultKind.GSPS):
        said = [str(e.value) for e in made[kind].iterall() if e.VR in {"UT", "ST"}]
        assert any("frame 2" in text for text in said), (kind, said)


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        ({}, [1, 1]),
        ({"PixelSpacing": ["0.2", "0.1"]}, [2000, 1000]),
        ({"ImagerPixelSpacing": ["0.1", "0.2"]}, [500, 1000]),
        ({"PixelSpacing": ["0.1005", "0.1"]}, [1, 1]),
        ({"PixelAspectRatio": ["3", "2"]}, [1500, 1000]),
        ({"PixelAspectRatio": ["0", "2"]}, [1, 1]),
    ],
)
def test_a_presentation_state_has_the_shape_of_the_pixels(
    attributes: dict[str, list[str]], shape: list[int]
) -> None:
    ds = header("1", "1")
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        ds.pop(keyword, None)
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    (area,) = objects(ds)[ResultKind.GSPS].DisplayedAreaSelectionSequence
    assert area.PresentationPixelAspectRatio == shape


def test_what_could_not_be_decoded_is_said_with_the_reason() -> None:
    read = reading(AbstentionReason.UNDECODABLE)
    assert read.abstention is not None
    why = replace(read.abstention, detail="The pixel data break off: 100 bytes of 512.")
    text = plain_text(cases.request(cases.source("1", replace(read, abstention=why))))
    assert "could not be decoded: The pixel data break off: 100 bytes of 512." in " ".join(
        text.split()
    )
