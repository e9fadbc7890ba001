"""What is said of an object of several frames, from what is said of each."""

from __future__ import annotations

import pytest

from hipnode.domain import AbstentionReason, Reading, Side, Verdict
from hipnode.reading import of_object
from tests.factory import hip, reading

SEEN, NOT_SEEN = 0.99, 0.001
ELSE = AbstentionReason.NOT_FRONTAL


def frame(right: float, left: float) -> Reading:
    return reading([hip(Side.RIGHT, right), hip(Side.LEFT, left)])


def verdicts(made: Reading) -> list[Verdict]:
    return [hip.verdict for hip in made.hips]


def test_one_frame_is_the_object() -> None:
    only = frame(NOT_SEEN, NOT_SEEN)
    assert of_object([only], 1) is only


def test_all_frames_without_a_finding_say_so_of_the_object() -> None:
    made = of_object([frame(NOT_SEEN, NOT_SEEN)] * 3, 3)
    assert verdicts(made) == [Verdict.NONE_SEEN] * 2
    assert (made.frame, made.frames) == (1, 3)
    assert any("each was assessed" in note for note in made.notes)


def test_the_frame_with_the_fracture_is_the_object_s() -> None:
    made = of_object([frame(NOT_SEEN, NOT_SEEN), frame(NOT_SEEN, SEEN)], 2)
    assert made.frame == 2
    assert verdicts(made) == [Verdict.NONE_SEEN, Verdict.DEFINITE]


def test_a_fracture_in_another_frame_takes_none_seen_back() -> None:
    made = of_object([frame(NOT_SEEN, SEEN), frame(SEEN, NOT_SEEN)], 2)
    assert verdicts(made) == [Verdict.LOOK_NOW, Verdict.DEFINITE]
    assert any("Frame 2: RIGHT" in note for note in made.notes)


@pytest.mark.parametrize("others", [[], [reading(ELSE)]])
def test_nothing_negative_is_said_unless_every_frame_was_assessed(others: list[Reading]) -> None:
    made = of_object([frame(NOT_SEEN, NOT_SEEN), *others], 2)
    assert verdicts(made) == [Verdict.LOOK_NOW] * 2
    for one in made.hips:
        assert one.abstention is not None
        assert one.abstention.reason is AbstentionReason.OTHER_FRAMES


def test_frames_of_which_none_shows_a_hip_end_in_the_first_one_s_reason() -> None:
    made = of_object([reading(ELSE)] * 2, 2)
    assert made.abstention is not None
    assert made.abstention.reason is ELSE
