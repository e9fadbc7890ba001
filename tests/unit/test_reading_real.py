"""The shipped model set on real radiographs: what is refused, what is found, that nothing fails.

These bars are about gates and boxes. They say nothing about fractures: there are none here.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hipnode import imaging, nets
from hipnode.domain import AbstentionReason, Header, Radiograph, Reading, Side, Verdict
from hipnode.reading import ReadPolicy, read
from tests.peers import ROOT, shared_data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models() -> nets.ModelSet:
    return nets.load_model_set("default", device="cpu", threads=1)


@pytest.fixture(scope="module")
def images() -> dict[str, tuple[str, Header, Radiograph]]:
    """FracAtlas by file, with what it shows (Abedeen 2023, CC BY 4.0)."""
    folder = shared_data("fracatlas")
    with (folder / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row["file"]: (_shows(row), *imaging.load_picture(folder / row["file"])) for row in rows}


def _shows(row: dict[str, str]) -> str:
    if row["body_part"] != "hip":
        return "other body part"
    return "pelvis" if row["view"].startswith("AP pelvis") else "other hip view"


@pytest.fixture(scope="module")
def readings(
    models: nets.ModelSet, images: dict[str, tuple[str, Header, Radiograph]]
) -> list[tuple[str, Radiograph, Reading]]:
    return [
        (shows, radiograph, read(header, radiograph, models, ReadPolicy()))
        for shows, header, radiograph in images.values()
    ]


def of_kind(
    readings: list[tuple[str, Radiograph, Reading]], kind: str
) -> Iterator[tuple[Radiograph, Reading]]:
    return ((radiograph, reading) for shows, radiograph, reading in readings if shows == kind)


def test_hands_legs_and_shoulders_are_refused(
    readings: list[tuple[str, Radiograph, Reading]],
) -> None:
    refused = [
        reading.abstention is not None for _, reading in of_kind(readings, "other body part")
    ]
    assert len(refused) > 300
    assert np.mean(refused) >= 0.97


def test_both_hips_are_found_on_pelves_upright_or_sideways(
    readings: list[tuple[str, Radiograph, Reading]],
) -> None:
    both = [len(reading.hips) == 2 for _, reading in of_kind(readings, "pelvis")]
    assert len(both) > 80
    assert np.mean(both) >= 0.92  # children and cut-off films are among them


def test_lateral_and_abducted_views_of_a_hip_are_hardly_ever_told_none_seen(
    models: nets.ModelSet, images: dict[str, tuple[str, Header, Radiograph]]
) -> None:
    with (ROOT / "docs" / "fracatlas.csv").open(encoding="utf-8") as file:
        views = {f"hip/{row['file']}": row["view"] for row in csv.DictReader(file)}
    said: dict[str, list[set[Verdict]]] = {"lateral": [], "one_hip": []}
    for name in sorted(views.keys() & images.keys()):
        if (view := views[name]) in said:
            _, header, radiograph = images[name]
            reading = read(header, radiograph, models, ReadPolicy())
            said[view].append({hip.verdict for hip in reading.hips})
    none = {view: [Verdict.NONE_SEEN in each for each in these] for view, these in said.items()}
    assert len(none["lateral"]) >= 14
    assert sum(none["lateral"]) <= 2
    assert np.mean(none["one_hip"]) >= 0.6  # AP views of one hip or femur


def test_boxes_of_the_two_hips_do_not_overlap_and_lie_on_their_sides(
    readings: list[tuple[str, Radiograph, Reading]],
) -> None:
    for radiograph, reading in of_kind(readings, "pelvis"):
        if len(reading.hips) != 2:
            continue
        right, left = (hip.roi for hip in reading.hips)
        assert (right.side, left.side) == (Side.RIGHT, Side.LEFT)
        for box in (right.box, left.box):
            assert box.x1 <= radiograph.columns
            assert box.y1 <= radiograph.rows
        upright = not any("turned by" in note for note in reading.notes)
        if upright:
            assert right.box.x1 <= left.box.x0 + 0.1 * right.box.width_px


def test_a_missing_age_is_always_said(readings: list[tuple[str, Radiograph, Reading]]) -> None:
    for _, reading in of_kind(readings, "pelvis"):
        assert reading.abstention or any("no age" in note for note in reading.notes)


def test_turning_the_image_turns_the_boxes(
    models: nets.ModelSet, images: dict[str, tuple[str, Header, Radiograph]]
) -> None:
    pelves = [v for v in images.values() if v[0] == "pelvis"][::8]
    same = []
    for _, header, radiograph in pelves:
        turned = Radiograph(np.rot90(radiograph.pixels).copy())
        one = read(header, radiograph, models, ReadPolicy())
        other = read(header, turned, models, ReadPolicy())
        areas = [[h.roi.box.width_px * h.roi.box.height_px for h in r.hips] for r in (one, other)]
        same.append(len(areas[0]) == len(areas[1]) and np.allclose(*areas, rtol=0.1))
    assert np.mean(same) >= 0.85  # of 17


def test_a_known_age_refuses_children(models: nets.ModelSet) -> None:
    for path in sorted(shared_data("ddh").iterdir()):
        header, radiograph = imaging.load(path)
        known = Header(
            header.sop_class_uid, header.sop_instance_uid, header.study_instance_uid, age_years=0.5
        )
        reading = read(known, radiograph, models, ReadPolicy())
        assert reading.abstention is not None
        assert reading.abstention.reason is AbstentionReason.CHILD


def test_infants_without_an_age_are_unlike_what_the_models_know(models: nets.ModelSet) -> None:
    for path in sorted(shared_data("ddh").iterdir()):
        header, radiograph = imaging.load(path)
        assert header.age_years is None
        reading = read(header, radiograph, models, ReadPolicy())
        hips = [reading.abstention] if reading.abstention else [h.abstention for h in reading.hips]
        assert all(hips), path.name  # a finding is said of none


def test_few_real_hips_are_refused_as_unusual(
    readings: list[tuple[str, Radiograph, Reading]],
) -> None:
    hips = [hip for _, reading in of_kind(readings, "pelvis") for hip in reading.hips]
    unusual = [
        hip.abstention is not None
        and hip.abstention.reason is AbstentionReason.OUT_OF_DISTRIBUTION
        and "distance" in hip.abstention.detail
        for hip in hips
    ]
    assert np.mean(unusual) <= 0.06


@pytest.mark.parametrize("folder", ["cr_dx", "ddh"])
def test_every_real_object_ends_in_a_reading_or_a_refusal(
    models: nets.ModelSet, folder: str
) -> None:
    for path in sorted(Path(shared_data(folder)).iterdir()):
        picture = path.suffix.lower() in imaging.PICTURE_SUFFIXES
        header, radiograph = (imaging.load_picture if picture else imaging.load)(path)
        reading = read(header, radiograph, models, ReadPolicy())
        assert Reading.from_json(reading.to_json()) == reading
        if folder == "cr_dx":  # chests, hands, a jaw, a lower leg
            assert reading.abstention is not None
