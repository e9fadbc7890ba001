"""Implants that are drawn: of many kinds, bright or hardly brighter than the bone, always there."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")

from hipnode.training.samples.drawn.fractures import HipPoints
from hipnode.training.samples.drawn.implants import add_metal

POINTS = HipPoints((0.62, 0.32), (0.46, 0.44), (0.36, 0.36), (0.54, 0.6), (0.45, 0.78))


def _hip() -> np.ndarray:
    rng = np.random.default_rng(0)
    image = rng.normal(0.2, 0.03, (128, 128))
    image[:, 50:66] += 0.3  # a shaft
    return image.clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("seed", range(40))
def test_metal_stands_out_from_what_it_covers(seed: int) -> None:
    image = _hip()
    drawn = add_metal(image, POINTS, np.random.default_rng(seed))
    assert drawn.shape == image.shape
    assert drawn.dtype == np.float32
    assert 0 <= drawn.min() <= drawn.max() <= 1
    dimmed = np.median(drawn / image)  # the film may have become darker as a whole
    brighter = drawn - dimmed * image
    assert np.mean(brighter > 0.5 * dimmed * image.std()) > 0.004


def test_shapes_and_contrasts_vary_and_a_seed_gives_the_same() -> None:
    image = _hip()
    many = [add_metal(image, POINTS, np.random.default_rng(seed)) for seed in range(60)]
    again = add_metal(image, POINTS, np.random.default_rng(7))
    assert (again == many[7]).all()
    peaks = np.array([one.max() for one in many])
    assert np.mean(peaks > 0.78) > 0.3
    assert np.mean(peaks < 0.7) > 0.1
    assert len({one.tobytes() for one in many}) == 60
