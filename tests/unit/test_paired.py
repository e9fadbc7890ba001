"""Two models on the same patients: what DeLong's test says is what resampling says."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from hipnode.errors import InputRefused
from hipnode.training.stats import estimates as est
from hipnode.training.stats.paired import (
    area,
    holm,
    macro_area,
    mean_area,
    mean_of,
    trained_again,
)

RNG = np.random.default_rng(0)
POSITIVE = np.arange(240) % 3 == 0
ONE = POSITIVE + RNG.normal(0, 1.2, 240)
OTHER = 0.6 * ONE + 0.5 * POSITIVE + RNG.normal(0, 0.5, 240)
WHOSE = [f"{index:04d}" for index in range(240)]


def test_area_and_its_error_are_those_of_a_bootstrap_of_patients() -> None:
    found = area(POSITIVE, ONE, WHOSE)
    assert found.value == pytest.approx(est.area(POSITIVE, ONE))
    assert abs(found.errors.sum()) < 1e-9
    drawn = est.auc(POSITIVE, ONE, WHOSE)
    width = found.estimate.high - found.estimate.low
    assert width == pytest.approx(drawn.high - drawn.low, rel=0.1)


def test_no_interval_goes_beyond_what_an_area_can_be() -> None:
    score = POSITIVE + 0.0
    score[0], score[1] = 0.5, 0.6  # all but one pair in order
    found = area(POSITIVE[:30], score[:30], WHOSE[:30])
    assert found.value + 1.96 * found.deviation > 1
    assert found.estimate.high == 1


def test_a_pair_is_told_apart_better_than_two_strangers() -> None:
    one, other = area(POSITIVE, ONE, WHOSE), area(POSITIVE, OTHER, WHOSE)
    difference = other - one
    assert difference.deviation < 0.8 * np.hypot(one.deviation, other.deviation)
    shifts = []
    for _ in range(400):
        at = RNG.integers(0, 240, 240)
        shifts.append(est.area(POSITIVE[at], OTHER[at]) - est.area(POSITIVE[at], ONE[at]))
    assert difference.deviation == pytest.approx(np.std(shifts), rel=0.15)
    assert (one - one).p == 1.0


def test_two_images_of_each_patient_tell_no_more_than_one() -> None:
    once = area(POSITIVE, ONE, WHOSE)
    twice = area(POSITIVE.repeat(2), ONE.repeat(2), [name for name in WHOSE for _ in range(2)])
    assert twice.value == pytest.approx(once.value)
    assert twice.deviation == pytest.approx(once.deviation, rel=1e-6)


def test_no_difference_is_found_as_rarely_as_promised() -> None:
    found = []
    for _ in range(300):
        truth = RNG.random(80) < 0.4
        shared = truth + RNG.normal(0, 1, 80)
        one, other = (area(truth, shared + RNG.normal(0, 0.5, 80), WHOSE[:80]) for _ in range(2))
        found.append((one - other).p < 0.05)
    assert np.mean(found) < 0.09  # 0.05 expected; three standard deviations


def test_three_classes_are_the_mean_of_each_against_the_rest() -> None:
    actual = np.arange(240) % 3
    p = RNG.dirichlet([1, 1, 1], 240) + np.eye(3)[actual] * 0.4
    each = [area(actual == k, p[:, k], WHOSE) for k in range(3)]
    assert macro_area(actual, p, WHOSE).value == pytest.approx(np.mean([a.value for a in each]))
    assert mean_area(each).deviation < max(one.deviation for one in each)


@pytest.mark.parametrize("classes", [2, 3])
def test_one_class_alone_has_no_area(classes: int) -> None:
    p = RNG.dirichlet([1] * classes, 12)
    with pytest.raises(InputRefused, match="of one class"):
        macro_area(np.zeros(12, int), p, WHOSE[:12])


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_an_interval_over_seeds_holds_what_another_run_would_show() -> None:
    """Of 400 systems of no difference, each trained three times, as few differ as is promised."""
    rng, found = np.random.default_rng(2), []
    for _ in range(400):
        seeds = [
            [mean_of(rng.normal(0.8 + rng.normal(0, 0.05), 0.1, 80), WHOSE[:80]) for _ in range(3)]
            for _ in range(2)
        ]
        one, other = (trained_again(each) for each in seeds)
        found.append((one - other).p < 0.05)
    assert 0.01 < np.mean(found) < 0.09
    single = mean_of(rng.normal(0.8, 0.1, 80), WHOSE[:80])
    assert trained_again([single]).runs == ()
