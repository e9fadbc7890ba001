"""One image as several makers would process it: what is said of it does not hang on the look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from hipnode.domain import Verdict
from hipnode.reading import ReadPolicy, read
from tests.unit.test_reading_orientations import models, sample

Image = NDArray[np.float32]
SUSPECTED: Final = {Verdict.DOUBTFUL, Verdict.DEFINITE}
pytestmark = pytest.mark.slow


def lifted(image: Image, share: float) -> Image:
    """Coarse structure towards grey, fine structure towards one contrast: by this share."""
    reach = len(image) / 12
    coarse = gaussian_filter(image, reach)
    spread = np.sqrt(gaussian_filter((image - coarse) ** 2, reach)) + 0.03
    return (1 - share) * image + share * (0.5 + 0.22 * (image - coarse) / spread)


def noisy(image: Image) -> Image:
    return image + np.random.default_rng(0).normal(0, 0.03, image.shape)


LOOKS: Final[dict[str, Callable[[Image], Image]]] = {
    "bright": lambda image: image**0.6,
    "dark": lambda image: image**1.7,
    "hard": lambda image: 1 / (1 + np.exp(-(image - 0.5) * 9)),
    "edges": lambda image: image + 1.5 * (image - gaussian_filter(image, len(image) / 125)),
    "lifted": lambda image: lifted(image, 0.5),
    "noisy": noisy,
    "soft": lambda image: gaussian_filter(image, len(image) / 500),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_whole_pelvis_is_never_called_and_a_broken_hip_always_is(look: str) -> None:
    header, image, expected = sample("normal")
    changed = LOOKS[look](image.pixels).clip(0, 1).astype(np.float32)
    reading = read(header, replace(image, pixels=changed), models(), ReadPolicy())
    assert reading.abstention is None
    assert not {hip.verdict for hip in reading.hips} & SUSPECTED

    header, image, expected = sample("fracture")
    changed = LOOKS[look](image.pixels).clip(0, 1).astype(np.float32)
    reading = read(header, replace(image, pixels=changed), models(), ReadPolicy())
    broken = {hip.roi.side for hip in expected.hips if hip.verdict in SUSPECTED}
    assert broken
    assert {hip.roi.side for hip in reading.hips if hip.verdict in SUSPECTED} == broken
