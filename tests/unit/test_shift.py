"""An alarm on what images look like: for a shifted scanner, and not for noise, by simulation."""

from __future__ import annotations

from datetime import date, timedelta
from statistics import median

import numpy as np
import pytest

from hipnode.answers.shift import ENOUGH, RECENT_DAYS, Seen, Shift, numbers, shifts, words

START = date(2026, 1, 1)
STATIONS = (["DX1"] * 6) + (["DX2"] * 3) + ["ER"]


def first_alarm(old: list[float], daily: list[list[float]]) -> int | None:
    """Return the day on which the newest week differs from the reference."""
    for day in range(RECENT_DAYS, len(daily) + 1):
        week = [value for one in daily[day - RECENT_DAYS : day] for value in one]
        if numbers("brightness", old, week).is_alarm:
            return day
    return None


def images(generator: np.random.Generator, days: int, a_day: int, mean: float) -> list[list[float]]:
    return [list(generator.normal(mean, 1.0, a_day)) for _ in range(days)]


@pytest.mark.parametrize("a_day", [10, 20, 60])
def test_noise_raises_an_alarm_in_no_half_year_of_forty(a_day: int) -> None:
    generator, alarms = np.random.default_rng(1), 0
    for _ in range(40):
        old = [v for day in images(generator, 30, a_day, 0.0) for v in day]
        alarms += first_alarm(old, images(generator, 180, a_day, 0.0)) is not None
    assert alarms == 0


@pytest.mark.parametrize(
    ("a_day", "by", "within"), [(10, 0.8, 8), (20, 0.6, 8), (60, 0.5, 9), (20, 1.0, 6)]
)
def test_a_shifted_scanner_is_found_in_days(a_day: int, by: float, within: int) -> None:
    """``by``: how far, in standard deviations. The week before the shift is as usual."""
    generator, found = np.random.default_rng(2), []
    for _ in range(60):
        old = [v for day in images(generator, 30, a_day, 0.0) for v in day]
        daily = images(generator, RECENT_DAYS, a_day, 0.0) + images(generator, 30, a_day, by)
        at = first_alarm(old, daily)
        if at is not None:
            found.append(at - RECENT_DAYS)
    assert len(found) >= 57
    assert median(found) <= within


@pytest.mark.parametrize(("a_day", "by"), [(10, 0.8), (20, 0.6), (60, 0.5), (60, 0.4)])
def test_a_shift_begins_once_and_ends_once_however_often_one_looks(a_day: int, by: float) -> None:
    """Four times a day; for 25 days it is shifted, then it is as usual again."""
    generator, begun, over = np.random.default_rng(3), [], []
    for _ in range(10):
        old = list(generator.normal(0, 1, 30 * a_day))
        daily = images(generator, RECENT_DAYS, a_day, 0.0) + images(generator, 25, a_day, by)
        daily += images(generator, 10, a_day, 0.0)
        alarms = [False]
        for day in range(RECENT_DAYS, len(daily)):
            before = [v for one in daily[day - RECENT_DAYS + 1 : day] for v in one]
            for part in (1, 2, 3, 4):
                found = numbers("age", old, before + daily[day][: a_day * part // 4])
                alarms.append(found.is_alarm or (alarms[-1] and found.lasts))
        changes = [n for n in range(1, len(alarms)) if alarms[n] != alarms[n - 1]]
        begun.append(len(changes))
        over.append(changes[-1] / 4 - 25)
    assert sum(changes > 2 for changes in begun) <= 1
    assert max(over) <= RECENT_DAYS


def test_a_mix_that_stays_is_none_and_a_new_station_is() -> None:
    generator = np.random.default_rng(3)
    old = list(generator.choice(STATIONS, 600))
    alarms = sum(words("station", old, list(generator.choice(STATIONS, 140))).is_alarm
                 for _ in range(500))  # fmt: skip
    assert alarms == 0
    found = words("station", old, [*generator.choice(STATIONS, 100), *(["NEW"] * 40)])
    assert found.is_alarm
    assert found.which == "NEW"


def test_a_number_has_limits_that_its_usual_means_keep() -> None:
    generator = np.random.default_rng(4)
    old = list(generator.normal(70, 13, 900))
    means = [numbers("age", old, list(generator.normal(70, 13, 140))) for _ in range(200)]
    outside = [m for m in means if not m.low <= m.now <= m.high]
    assert len(outside) <= 4


def test_too_few_are_not_compared() -> None:
    old = [Seen(START, "age", 70.0 + n % 7) for n in range(ENOUGH - 1)]
    new = [Seen(START + timedelta(days=59), "age", 20.0) for _ in range(60)]
    until, today = START + timedelta(days=30), START + timedelta(days=60)
    assert shifts(old + new, until, today)["age"] is None
    enough = shifts([*old, Seen(START, "age", 70.0), *new], until, today)["age"]
    assert isinstance(enough, Shift)
    assert enough.is_alarm
