"""Localisers play in a league too: by how their boxes lie, and against the mean box."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("onnx")
pytest.importorskip("sklearn")

from typer.testing import CliRunner

from hipnode.cli import app
from hipnode.training.league.page import page
from hipnode.training.stats.paired import area, mean_of

TWO_STEPS = "murphy2022-cnn1-fractured"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_localiser_is_played_in_its_two_steps_and_told(tmp_path: Path) -> None:
    command = ["league", "--profile", "smoke", "--only", TWO_STEPS, "--out", str(tmp_path)]
    first = CliRunner().invoke(app, [*command, "--seeds", "1"])
    assert first.exit_code == 0, first.output
    assert first.output.count("murphy2022-cnn1-unfractured: learns first") == 1
    again = CliRunner().invoke(app, [*command, "--seeds", "2"])
    assert "learns first" not in again.output, "the first step is the same for every seed"
    assert again.output.count(": learns") == 1, "and the first seed is not played again"
    document = json.loads((tmp_path / "league.json").read_text())
    boxes = document["tasks"]["boxes"]
    (row,) = boxes["rows"]
    assert (row["system"], row["seeds"], boxes["patients"]) == (TWO_STEPS, 2, 24)
    value, low, high = row["value"]
    assert low <= value <= high
    assert row["printed"]["mean Jaccard"].startswith("0.87")
    (mean_box,) = boxes["yardsticks"]
    assert 0.3 < mean_box["jaccard"][1] < mean_box["jaccard"][0] < 0.95
    text = (tmp_path / "league.md").read_text()
    assert text == page(document)
    assert "24 test patients, both hips each" in text


def test_a_mean_has_the_interval_of_its_patients() -> None:
    """Of one value each it is the textbook's; two alike of each patient tell nothing more."""
    rng = np.random.default_rng(0)
    values, whose = rng.normal(0.8, 0.1, 400), [f"P{i}" for i in range(400)]
    once = mean_of(values, whose)
    assert once.value == pytest.approx(values.mean())
    assert once.deviation == pytest.approx(values.std(ddof=1) / 20)
    twice = mean_of(np.repeat(values, 2), np.repeat(whose, 2))
    assert twice.deviation == pytest.approx(once.deviation)
    assert (once - twice).deviation == pytest.approx(0, abs=1e-12)
    assert len(area(values > 0.8, values, whose).errors) == len(once.errors)
