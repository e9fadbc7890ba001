"""Reading with clinical data beside the image, and reading a densitometer's scan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from hipnode.domain import AbstentionReason, Box, Radiograph, Reading, Role, Side, Task
from hipnode.nets import LoadedModel, ModelSet
from hipnode.reading import ReadPolicy, read
from tests.unit.test_reading import HEADER, MODELS, Brightness, pelvis

pytestmark = pytest.mark.slow


def with_bone(**known: Any) -> Reading:
    """Read with an osteoporosis model in both variants; ``known`` is what the header tells."""
    plain = replace(MODELS.fracture.spec, role=Role.OSTEOPOROSIS, name="bone")
    clinical = replace(plain, covariates=("age", "sex", "bmi"), name="bone-clinical")
    models = replace(
        MODELS,
        models=MappingProxyType(
            {**MODELS.models, Role.OSTEOPOROSIS: LoadedModel(plain, Brightness(2, 0.5), Path())}
        ),
        clinical={Role.OSTEOPOROSIS: LoadedModel(clinical, Brightness(2, 0.5), Path())},
    )
    return read(replace(HEADER, **known), pelvis(), models, ReadPolicy())


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
