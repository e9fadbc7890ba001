"""The shipped fracture model's map shows where: one summit, and most of the box left free."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hipnode.phantom
from hipnode import imaging, nets
from hipnode.domain import Decision, Task
from hipnode.reading import ReadPolicy, read

SAMPLES = Path(hipnode.phantom.__file__).parent / "samples"


@pytest.fixture(scope="module")
def models() -> nets.ModelSet:
    return nets.load_model_set("default", device="cpu", threads=1)


def test_a_sure_fracture_does_not_paint_the_whole_box(models: nets.ModelSet) -> None:
    header, radiograph = imaging.load(SAMPLES / "fracture.dcm")
    reading = read(header, radiograph, models, ReadPolicy())
    found = [f for hip in reading.hips for f in hip.findings if f.task is Task.HIP_FRACTURE]
    (broken,) = (f for f in found if f.decision is Decision.PRESENT)
    level = np.array(broken.saliency)
    assert level.max() > 0.9
    assert np.mean(level > 0.8) < 0.2
    assert np.mean(level < 0.5) > 0.6


def test_nothing_speaks_for_a_fracture_where_none_is_seen(models: nets.ModelSet) -> None:
    header, radiograph = imaging.load(SAMPLES / "normal.dcm")
    reading = read(header, radiograph, models, ReadPolicy())
    found = [f for hip in reading.hips for f in hip.findings if f.task is Task.HIP_FRACTURE]
    assert len(found) == 2
    for finding in found:
        assert np.mean(np.array(finding.saliency) > 0.5) < 0.15
