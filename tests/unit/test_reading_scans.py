"""The shipped set for scans of a hip, on what is no such scan: it abstains, with a coded reason."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hipnode import imaging, nets
from hipnode.domain import AbstentionReason, Header, Radiograph, Reading, Task
from hipnode.phantom import load_recipe
from hipnode.phantom.dxa import render_dxa
from hipnode.reading import ReadPolicy, read
from tests.peers import shared_data
from tests.senders import SAMPLES
from tests.unit.test_reading import HEADER

pytestmark = pytest.mark.slow

SCAN = replace(HEADER, modality="BMD", laterality="L", age_years=70.0)


@pytest.fixture(scope="module")
def models() -> nets.ModelSet:
    return nets.load_model_set("dxa", device="cpu", threads=1)


def as_scan(models: nets.ModelSet, radiograph: Radiograph, header: Header = SCAN) -> Reading:
    return read(header, radiograph, models, ReadPolicy())


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> list[NDArray[np.float32]]:
    """Twelve simulated scans of one person's hips, whose shape no model was trained on."""
    recipe = replace(
        load_recipe("dxa"),
        cache_dir=tmp_path_factory.mktemp("bones"),
        splits={"test": 1.0},
        anatomies={"test": 1},
    )
    drawn = (render_dxa(recipe, 4711, index).pixels.astype(np.float32) for index in range(12))
    return [pixels / pixels.max() for pixels in drawn]


def test_scans_of_a_hip_are_read(models: nets.ModelSet, scans: list[NDArray[np.float32]]) -> None:
    for pixels in scans:
        (hip,) = as_scan(models, Radiograph(pixels, spacing_mm=(0.6, 0.6))).hips
        assert [finding.task for finding in hip.findings] == [Task.FRACTURE_RISK]


def pelves() -> Iterator[Radiograph]:
    """The sample pelves, upright, on their sides, and without their size."""
    for path in SAMPLES:
        _, radiograph = imaging.load(path)
        for turns in (0, 1, 3):
            turned = np.ascontiguousarray(np.rot90(radiograph.pixels, turns))
            yield Radiograph(turned)


def test_simulated_pelves_are_refused_by_what_they_show(models: nets.ModelSet) -> None:
    for radiograph in pelves():
        abstention = as_scan(models, radiograph).abstention
        assert abstention is not None
        assert abstention.reason is AbstentionReason.OUT_OF_DISTRIBUTION


def test_real_pelves_are_refused_by_what_they_show(models: nets.ModelSet) -> None:
    """FracAtlas (Abedeen 2023, CC BY 4.0): pictures without a header, so nothing else tells."""
    folder = shared_data("fracatlas")
    with (folder / "index.csv").open(encoding="utf-8") as file:
        shown = [r["file"] for r in csv.DictReader(file) if r["view"].startswith("AP pelvis")]
    refused = [
        as_scan(models, imaging.load_picture(Path(folder, name))[1]).abstention is not None
        for name in shown
    ]
    assert len(refused) > 80
    assert np.mean(refused) >= 0.98


def test_what_is_too_large_for_one_hip_is_refused(
    models: nets.ModelSet, scans: list[NDArray[np.float32]]
) -> None:
    abstention = as_scan(models, Radiograph(scans[0], spacing_mm=(2.0, 1.0))).abstention
    assert abstention is not None
    assert abstention.reason is AbstentionReason.OUT_OF_DISTRIBUTION
    assert abstention.detail == "560 x 240 mm are no scan of one hip"
