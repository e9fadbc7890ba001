"""What counts as an even margin of an image, and what does not."""

from __future__ import annotations

import numpy as np

from hipnode.domain import Box
from hipnode.imaging import inside_margins

PICTURE = np.random.default_rng(1).uniform(0.2, 0.8, (100, 80)).astype(np.float32)


def test_margins_of_any_grey_are_outside() -> None:
    for grey in (0.0, 0.4, 1.0):
        canvas = np.full((140, 100), grey, np.float32)
        canvas[30:130, 5:85] = PICTURE
        assert inside_margins(canvas) == Box(5, 30, 85, 130)
        assert inside_margins(canvas[30:130]) == Box(5, 0, 85, 100)


def test_what_lies_at_one_end_alone_is_the_air_beside_a_leg() -> None:
    for at in ((20, 0), (0, 20)):
        assert inside_margins(np.pad(PICTURE, ((0, 0), at))) is None


def test_few_lines_matter_no_more_than_none() -> None:
    assert inside_margins(PICTURE) is None
    assert inside_margins(np.pad(PICTURE, 1)) is None


def test_what_is_all_but_empty_is_left_as_it_is() -> None:
    assert inside_margins(np.full((60, 60), 0.5, np.float32)) is None
    assert inside_margins(np.pad(PICTURE, 100)) is None


def test_a_margin_with_writing_on_it_belongs_to_the_image() -> None:
    canvas = np.pad(PICTURE, 20)
    canvas[3:9, 4:30] = 1.0
    assert inside_margins(canvas) == Box(4, 3, 100, 120)
