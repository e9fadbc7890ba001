"""The phantom of the day, and what is a right answer to it."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import numpy as np
import pytest

from hipnode.answers.selftest import judged
from hipnode.domain import Abstention, AbstentionReason, HipReading, Side
from hipnode.domain.selftest import FRACTURES, MATTERS, Matter, matter, matter_of
from hipnode.phantom.daily import phantom_of
from tests.factory import hip, reading

_DAY = date(2026, 11, 28)


def implant(side: Side) -> HipReading:
    shown = hip(side, 0.0)
    return HipReading(shown.roi, abstention=Abstention(AbstentionReason.IMPLANT))


def test_sixteen_days_show_everything_on_both_sides() -> None:
    seen = Counter(matter_of(_DAY + timedelta(days=n)) for n in range(16))
    assert set(seen) == {*MATTERS, Matter("implant", Side.LEFT)}
    assert all(matter(each.word) == each for each in seen)
    weekdays = {((_DAY + timedelta(days=7 * n)).toordinal()) % len(MATTERS) for n in range(8)}
    assert len(weekdays) == len(MATTERS)  # each Saturday another


@pytest.mark.parametrize("ahead", range(8))
def test_the_phantom_shows_the_matter_of_its_day(ahead: int) -> None:
    day = _DAY + timedelta(days=ahead)
    truth, wanted = phantom_of(day).truth, matter_of(day)
    assert truth.view == "frontal"
    for side in (Side.RIGHT, Side.LEFT):
        shown = truth.hip(side)
        assert shown is not None
        if side is not wanted.side:
            assert (shown.label, shown.implant) == ("no_fracture", "")
        elif wanted.label in FRACTURES:
            assert shown.label == wanted.label
            assert shown.displacement_mm >= 8
        else:
            assert shown.implant


def test_the_same_day_is_the_same_image_and_another_number_is_not() -> None:
    first, again, other = phantom_of(_DAY), phantom_of(_DAY), phantom_of(_DAY, 1)
    assert np.array_equal(first.pixels, again.pixels)
    assert not np.array_equal(first.pixels, other.pixels)


@pytest.mark.parametrize(
    ("word", "right", "left", "is_right"),
    [
        ("no_fracture", 0.01, 0.01, True),
        ("no_fracture", 0.01, 0.99, False),
        ("no_fracture", 0.3, 0.01, False),  # doubtful on a whole hip
        ("trochanteric R", 0.99, 0.01, True),
        ("trochanteric R", 0.3, 0.01, True),  # doubtful: it asks for a look
        ("trochanteric R", 0.01, 0.01, False),
        ("trochanteric R", 0.01, 0.99, False),  # the wrong side
        ("trochanteric R", 0.99, 0.99, False),
        ("implant R", 0.01, 0.01, False),
    ],
)
def test_what_is_right(word: str, right: float, left: float, is_right: bool) -> None:
    made = reading([hip(Side.RIGHT, right), hip(Side.LEFT, left)])
    found, said = judged(matter(word), [made])
    assert found is is_right
    assert said.startswith("R: ")


def test_an_implant_is_named_as_one() -> None:
    made = reading([implant(Side.RIGHT), hip(Side.LEFT, 0.01)])
    assert judged(matter("implant R"), [made]) == (True, "R: implant, L: none_seen")
    assert not judged(matter("implant L"), [made])[0]


def test_what_was_not_read_is_not_right() -> None:
    assert judged(matter("no_fracture"), ["the file is damaged"])[0] is False
    assert judged(matter("no_fracture"), [])[0] is False
    assert judged(matter("no_fracture"), [reading([hip(Side.RIGHT, 0.01)])])[0] is False
