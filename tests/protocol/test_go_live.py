"""What a site should see on the day it goes live: broken hips through its PACS, and the words.

Orthanc is the PACS: it takes the images, routes them to the node, and gets the reports. There is
one simulated patient for each kind of fracture, side and view, and intact ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, product
from pathlib import Path
from typing import Any, Final

import pytest

from hipnode.domain import Side
from hipnode.phantom import Recipe, load_recipe, render, write_dicom
from hipnode.phantom.lots import draw_plan
from tests.account import settled
from tests.archive import Orthanc
from tests.node import Node, destination

FRACTURES: Final = ("intracapsular", "trochanteric", "subtrochanteric")
VIEWS: Final = ("frontal", "one_hip")
_SIZE_PX: Final = 1000
_SEED: Final = 61126
pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Wanted:
    """What a simulated patient has: a displaced fracture on one side, or none."""

    fracture: str
    side: Side
    view: str

    def __str__(self) -> str:
        return f"{self.fracture or 'intact'} {self.side.word} {self.view}"


BROKEN: Final = [Wanted(f, s, v) for f, s, v in product(FRACTURES, (Side.RIGHT, Side.LEFT), VIEWS)]
INTACT: Final = [Wanted("", Side.RIGHT, "frontal"), Wanted("", Side.LEFT, "one_hip")]


def _recipe(wanted: Wanted) -> Recipe:
    return replace(
        load_recipe("demo"),
        views={wanted.view: 1.0},
        fractures={wanted.fracture or "trochanteric": 1.0},
        p_fracture_hip=0.4 if wanted.fracture else 0.0,
        p_implant_hip=0.0,
        p_old_hip=0.0,
        splits={"test": 1.0},  # shapes that no network has learned from
    )


def _index(recipe: Recipe, seed: int, wanted: Wanted) -> int:
    """Return the first patient who has just that: displaced, and nothing else the matter."""
    for index in count():
        plan = draw_plan(recipe, seed, index)
        hips = {hip.side: hip for hip in plan.hips}
        here, there = hips[wanted.side], hips[wanted.side.opposite]
        if there.fracture or (wanted.view == "one_hip" and plan.side_shown is not wanted.side):
            continue
        if not wanted.fracture and here.fracture is None:
            return index
        if here.fracture is not None and here.fracture.displacement_mm > 6:
            return index
    raise AssertionError


@pytest.fixture
def node(tmp_path: Path, orthanc: Orthanc) -> Iterator[Node]:
    """A node whose PACS is the session's Orthanc, both ways."""
    made = Node(tmp_path / "node", destinations=[destination(orthanc, objects=["sr", "text"])])
    made.start()
    orthanc.set_modality("hipnode", made.ae_title, made.host, made.port)
    yield made
    made.kill()


def _words(orthanc: Orthanc) -> dict[str, tuple[str, str]]:
    """Return, for each patient, the report's first line and all of its text."""
    found = {}
    for uid in orthanc.sop_instance_uids():
        dataset = orthanc.fetch(uid)
        if dataset.Modality == "SR" and dataset.SOPClassUID.name == "Basic Text SR Storage":
            said = [str(i.TextValue) for i in _items(dataset) if "TextValue" in i]
            first = next(s for s in said if s.startswith(("LOOK", "Look")))
            found[str(dataset.PatientID)] = first, " ".join(said)
    return found


def _items(dataset: Any) -> Iterator[Any]:
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from _items(item)


def test_every_fracture_side_and_view_is_named_in_the_pacs(
    node: Node, orthanc: Orthanc, tmp_path: Path
) -> None:
    patients: dict[str, Wanted] = {}
    for seed, wanted in enumerate(BROKEN + INTACT, _SEED):
        recipe = _recipe(wanted)
        phantom = render(recipe, seed, _index(recipe, seed, wanted), size_px=_SIZE_PX)
        path = write_dicom(phantom, tmp_path / f"{seed}.dcm")
        patients[phantom.truth.patient_id] = wanted
        orthanc.store(path.read_bytes())
    assert len(patients) == len(BROKEN + INTACT)
    orthanc.route("hipnode")
    settled(node)
    words = _words(orthanc)
    wrong = []
    for patient, wanted in patients.items():
        first, text = words[patient]
        urgent = first.startswith("LOOK NOW")
        if urgent is not bool(wanted.fracture):
            wrong.append(f"{wanted}: {first}")
        elif wanted.fracture:
            side, other = wanted.side.word, wanted.side.opposite.word
            if f"{side} hip: no fracture" in text or side not in first:
                wrong.append(f"{wanted}: {first}")
            if f"{other} hip: SUSPECTED" in text:
                wrong.append(f"{wanted}, the other side: {first}")
    assert not wrong, "\n".join(wrong)
