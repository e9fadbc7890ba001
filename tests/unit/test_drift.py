"""An alarm that is raised for a shifted scanner and not for noise: shown by simulation."""

from __future__ import annotations

from datetime import date, timedelta
from statistics import median

import numpy as np
import pytest

from hipnode.answers.drift import ENOUGH, Day, judged

START = date(2026, 1, 1)
USUAL = 0.12


def days(generator: np.random.Generator, number: int, rate: float, hips: int) -> list[Day]:
    """Return days of a scanner whose hips are so at this rate."""
    counts = generator.binomial(hips, rate, number)
    return [Day(START + timedelta(days=n), int(c), hips) for n, c in enumerate(counts)]


@pytest.mark.parametrize("hips", [10, 40, 120])
def test_noise_raises_an_alarm_in_less_than_one_half_year_of_fifty(hips: int) -> None:
    generator, alarms = np.random.default_rng(1), 0
    for _ in range(200):
        reference = days(generator, 30, USUAL, hips)
        found = judged(days(generator, 180, USUAL, hips), reference)
        alarms += found is not None and found.alarm is not None
    assert alarms < 4


SHIFTS = [
    (40, 0.24, "more", 10),
    (120, 0.24, "more", 5),
    (120, 0.18, "more", 20),
    (10, 0.36, "more", 21),
    (40, 0.03, "less", 14),
    (120, 0.03, "less", 5),
]


@pytest.mark.parametrize(("hips", "rate", "side", "within"), SHIFTS)
def test_a_shifted_scanner_is_found_in_days(hips: int, rate: float, side: str, within: int) -> None:
    generator, found = np.random.default_rng(2), []
    for _ in range(60):
        reference = days(generator, 30, USUAL, hips)
        drift = judged(days(generator, 90, rate, hips), reference)
        if drift is not None and drift.alarm is not None:
            assert drift.side == side
            found.append((drift.alarm - START).days + 1)
    assert len(found) >= 54
    assert median(found) <= within


def test_too_few_hips_are_no_reference() -> None:
    few = [Day(START, 1, ENOUGH - 1)]
    assert judged([Day(START, 50, 50)], few) is None


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_rate_that_was_always_the_same_is_compared_too(rate: float) -> None:
    usual = [Day(START, round(rate * 1000), 1000)]
    same = [Day(START + timedelta(days=n), round(rate * 40), 40) for n in range(90)]
    other = [Day(START + timedelta(days=n), 20, 40) for n in range(90)]
    unchanged, changed = judged(same, usual), judged(other, usual)
    assert unchanged is not None
    assert unchanged.alarm is None
    assert changed is not None
    assert changed.alarm is not None
