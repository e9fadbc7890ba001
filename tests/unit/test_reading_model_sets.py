"""Reading with clinical data beside the image, and reading a densitometer's scan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from hipnode.answers.reading import document
from hipnode.domain import AbstentionReason, Box, Radiograph, Reading, Role, Side, Task, Verdict
from hipnode.nets import LoadedModel, ModelSet
from hipnode.reading import ReadPolicy, read
from tests.unit.test_covariates import row
from tests.unit.test_reading import HEADER, MODELS, Brightness, pelvis

pytestmark = pytest.mark.slow
SUSPECTED = {Verdict.DEFINITE, Verdict.DOUBTFUL}


def with_bone(right: float = 0.4, left: float = 0.4, **known: Any) -> Reading:
    """Read with an osteoporosis model in both variants; ``known`` is what the header tells.

    ``right`` and ``left`` are how bright the patient's hips are: broken from 0.75 on.
    """
    plain = replace(MODELS.fracture.spec, role=Role.OSTEOPOROSIS, name="bone")
    clinical = replace(plain, covariates=("age", "sex", "bmi"), name="bone-clinical")
    models = replace(
        MODELS,
        models=MappingProxyType(
            {**MODELS.models, Role.OSTEOPOROSIS: LoadedModel(plain, Brightness(2, 0.5), Path())}
        ),
        clinical={Role.OSTEOPOROSIS: LoadedModel(clinical, Brightness(2, 0.5), Path())},
    )
    told = [row(1, 31.0, "2026-11-01", name="bmi")]
    image = pelvis(right, left)  # whose image half is the other
    return read(replace(HEADER, **known), image, models, ReadPolicy(), told=told)


def test_clinical_data_of_the_header_are_used_and_said_so() -> None:
    reading = with_bone(age_years=70.0, patient_sex="F", size_m=1.6, weight_kg=64.0)
    for hip in reading.hips:
        assert [f.model.name for f in hip.findings] == ["fracture", "bone-clinical"]
        assert hip.findings[1].covariates_used == ("age", "sex", "bmi")
    assert "Osteoporosis: estimated from the image, age, sex and body mass index." in reading.notes


@pytest.mark.parametrize(
    ("known", "missing"),
    [
        ({"age_years": 70.0, "patient_sex": "F"}, "body mass index"),
        ({"age_years": 70.0, "patient_sex": "O", "size_m": 1.6}, "sex and body mass index"),
        ({"age_years": None, "size_m": 1.6, "weight_kg": 64.0}, "age and sex"),
    ],
)
def test_without_clinical_data_the_image_alone_is_read_and_said_so(
    known: dict[str, Any], missing: str
) -> None:
    reading = with_bone(**known)
    assert [hip.findings[1].model.name for hip in reading.hips] == ["bone", "bone"]
    told = f"Osteoporosis: estimated from the image alone; the header does not give {missing}."
    assert told in reading.notes


def test_a_value_from_outside_is_used_and_said_so() -> None:
    known = {"patient_id": "P-17", "study_date": "2026-11-20", "patient_sex": "F"}
    reading = with_bone(age_years=70.0, **known)
    for hip in reading.hips:
        (bmi,) = [c for c in hip.findings[1].covariates if c.name == "bmi"]
        assert (bmi.value, bmi.unit, bmi.source, bmi.measured) == (
            31.0,
            "kg/m2",
            "oru",
            "2026-11-01",
        )
    assert any("body mass index 31 kg/m2 of 2026-11-01, by oru" in note for note in reading.notes)
    assert Reading.from_json(reading.to_json()) == reading
    assert reading.facts()["hips"][0]["findings"][1]["covariates"][2]["value"] == 31.0
    of_another = with_bone(age_years=70.0, **(known | {"patient_id": "P-18"}))
    assert of_another.hips[0].findings[1].model.name == "bone"
    assert any("another patient's number" in note for note in of_another.notes)
    assert of_another.facts()["unused"]


@pytest.mark.parametrize(
    ("right", "left", "asked", "note"),
    [
        (0.4, 0.4, {"R", "L"}, ""),
        (0.75, 0.4, {"L"}, "judged on the LEFT hip alone; the RIGHT one may be broken"),
        (0.4, 0.75, {"R"}, "judged on the RIGHT hip alone; the LEFT one may be broken"),
        (0.75, 0.75, set(), "not assessed; a hip that may be broken does not tell it"),
    ],
)
def test_the_bone_is_judged_on_the_unbroken_side(
    right: float, left: float, asked: set[str], note: str
) -> None:
    reading = with_bone(right, left, age_years=70.0)
    told = {
        hip.roi.side.value
        for hip in reading.hips
        if any(f.task is Task.OSTEOPOROSIS for f in hip.findings)
    }
    assert told == asked
    suspected = {hip.roi.side.value for hip in reading.hips if hip.verdict in SUSPECTED}
    assert told == {"R", "L"} - suspected
    assert bool(note) == any("broken" in each for each in reading.notes)
    assert bool(told) == any("estimated from" in each for each in reading.notes)
    assert any(note in each for each in reading.notes)
    for hip in document(Path(), reading)["hips"] + reading.facts()["hips"]:
        unasked = ["osteoporosis"] if hip["side"] in suspected else []
        assert hip.get("unasked", []) == unasked


SCANNER = ModelSet(
    "scans",
    "0" * 64,
    "card",
    {
        Role.RISK: LoadedModel(
            replace(MODELS.fracture.spec, role=Role.RISK), Brightness(2, 0.5), Path()
        )
    },
)


def test_a_scan_of_one_hip_gets_a_risk_over_the_whole_image() -> None:
    header = replace(HEADER, modality="BMD", laterality="L")
    reading = read(header, Radiograph(pelvis().pixels[:300, :280]), SCANNER, ReadPolicy())
    (hip,) = reading.hips
    assert (hip.roi.side, hip.roi.box) == (Side.LEFT, Box(0, 0, 280, 300))
    assert [f.task for f in hip.findings] == [Task.FRACTURE_RISK]


@pytest.mark.parametrize(
    ("changes", "shape", "reason"),
    [
        ({}, (300, 280), AbstentionReason.SIDE_UNKNOWN),
        ({"laterality": "B"}, (300, 280), AbstentionReason.SIDE_UNKNOWN),
        ({"laterality": "L", "age_years": 9.0}, (300, 280), AbstentionReason.CHILD),
        ({"laterality": "L"}, (50, 280), AbstentionReason.TOO_SMALL),
        (
            {"laterality": "L", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2"},
            (300, 280),
            AbstentionReason.NOT_A_RADIOGRAPH,
        ),
    ],
)
def test_a_scan_that_cannot_be_read_is_not(
    changes: dict[str, Any], shape: tuple[int, int], reason: AbstentionReason
) -> None:
    header = replace(HEADER, modality="BMD", **changes)
    reading = read(header, Radiograph(np.zeros(shape, np.float32)), SCANNER, ReadPolicy())
    assert reading.abstention is not None
    assert reading.abstention.reason is reason
