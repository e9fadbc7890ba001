"""The papers' printed intervals, from the papers' printed counts."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("statsmodels")
pytest.importorskip("sklearn")

from hipnode.training.judge import figures, review
from hipnode.training.stats import calibrate
from hipnode.training.stats import estimates as est
from hipnode.training.stats import statistics as st

MURPHY = np.array([[304, 1, 15], [12, 169, 14], [13, 6, 198]])  # Table 1: (actual, predicted)
LABELS = ("no_fracture", "trochanteric", "intracapsular")
ACTUAL = np.repeat([0, 0, 0, 1, 1, 1, 2, 2, 2], MURPHY.ravel())
NAMED = np.repeat([0, 1, 2, 0, 1, 2, 0, 1, 2], MURPHY.ravel())
EACH = [str(index) for index in range(len(ACTUAL))]  # every hip another patient's


def test_murphy_kappa() -> None:
    kappa = st.kappa(ACTUAL, NAMED, 3, EACH)
    assert (round(kappa.value, 2), round(kappa.low, 2), round(kappa.high, 2)) == (0.87, 0.84, 0.90)


def test_murphy_accuracy() -> None:
    assert round(st.accuracy(ACTUAL, NAMED, EACH).value, 2) == 0.92


@pytest.mark.parametrize(
    ("label", "precision", "recall", "f1"),
    [
        ("no_fracture", (0.92, 0.89, 0.95), (0.95, 0.92, 0.97), 0.94),
        ("trochanteric", (0.96, 0.92, 0.98), (0.87, 0.81, 0.91), 0.91),
        ("intracapsular", (0.87, 0.82, 0.91), (0.91, 0.87, 0.95), 0.89),
    ],
)
def test_murphy_table_1(
    label: str, precision: tuple[float, ...], recall: tuple[float, ...], f1: float
) -> None:
    found = st.per_class(ACTUAL, NAMED, LABELS, EACH)[LABELS.index(label)]
    for estimate, printed in ((found.precision, precision), (found.recall, recall)):
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(printed, abs=0.0051)
    assert found.f1.value == pytest.approx(f1, abs=0.0051)


def test_gale_recall_at_high_sensitivity() -> None:
    """Table 3: 0.95 (92-97) of 348 fractures."""
    recall = est.proportion(331, 348)
    assert (round(recall.value, 2), round(recall.low, 2), round(recall.high, 2)) == (
        0.95,
        0.92,
        0.97,
    )


def test_auc_interval_draws_patients() -> None:
    """Ten copies of each patient's image must not make the interval narrower."""
    rng = np.random.default_rng(0)
    positive = np.arange(60) % 2 == 0
    score = positive + rng.normal(0, 1.2, 60)
    once = est.auc(positive, score, [str(i) for i in range(60)])
    often = est.auc(
        np.repeat(positive, 10),
        np.repeat(score, 10),
        [str(i) for i in range(60) for _ in range(10)],
    )
    assert often.value == pytest.approx(once.value)
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.05)


def test_coverage_curve_ends_at_plain_accuracy() -> None:
    rng = np.random.default_rng(1)
    p = rng.dirichlet([1, 1, 1], 200)
    actual = np.array([rng.choice(3, p=row) for row in p])
    coverage, accuracy = st.coverage_curve(p, actual)
    assert coverage[-1] == 1
    assert accuracy[-1] == pytest.approx((p.argmax(1) == actual).mean())
    assert accuracy[:40].mean() > accuracy[-1]


def test_precision_falls_with_prevalence() -> None:
    assert st.at_prevalence(0.95, 0.97, 0.5) > st.at_prevalence(0.95, 0.97, 0.05)


def test_certified_threshold_keeps_its_promise() -> None:
    """Of 200 calibration sets, at most about a tenth may break a promise made at 90 %."""
    rng = np.random.default_rng(2)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        positive = rng.random(n) < 0.4
        return 1 / (1 + np.exp(-2 * (rng.normal(0, 1, n) + 3.2 * positive - 1.6))), positive

    p_all, positive_all = draw(200_000)
    broken = {"recall": 0, "precision": 0}
    for _ in range(200):
        p, positive = draw(600)
        for risk in broken:
            threshold = calibrate.certify(p, positive, risk, 0.93, 0.9)
            if threshold is None:
                continue
            said = p_all >= threshold
            base = positive_all if risk == "recall" else said
            broken[risk] += (said & positive_all).sum() / base.sum() < 0.93
    assert max(broken.values()) <= 32  # 20 expected at most; 3 standard deviations


def test_few_images_certify_nothing_and_say_so() -> None:
    p = np.array([0.1, 0.2, 0.8, 0.9])
    positive = p > 0.5
    found = calibrate.operating_point(p, positive, recall=0.95, precision=0.95)
    assert "not certified" in found.promise
    assert found.doubtful_from <= found.present_from
    both = np.stack([1 - p, p], 1)
    assert calibrate.class_thresholds(both, positive.astype(int), 0.95) == [None, None]


def test_class_threshold_is_where_a_class_is_named_rightly() -> None:
    rng = np.random.default_rng(3)
    p = rng.dirichlet([0.3, 0.3, 0.3], 4000)
    actual = np.array([rng.choice(3, p=row) for row in p])
    thresholds = calibrate.class_thresholds(p, actual, 0.9)
    named, sure = p.argmax(1), p.max(1)
    for index, threshold in enumerate(thresholds):
        assert threshold is not None
        kept = (named == index) & (sure >= threshold)
        assert (actual[kept] == index).mean() >= 0.9
        assert 0.5 < threshold < 0.95


@pytest.mark.parametrize(
    ("counts", "printed"),
    [
        # hits, misses, false alarms, clear: precision, recall, specificity, npv, F1
        ((51, 5, 14, 31), (0.785, 0.911, 0.689, 0.861, None)),  # Jang 2022, text and Table 1
        ((72, 14, 19, 12), (0.791, 0.837, 0.387, 0.462, None)),  # Jang 2022, Table 2
        ((45, 17, 7, 44), (0.8654, 0.7258, 0.8627, 0.7213, 0.7895)),  # Yamamoto 2020, ResNet18
        ((55, 7, 6, 45), (0.9016, 0.8871, 0.8824, 0.8654, 0.8943)),  # b3 with clinical data
    ],
)
def test_printed_metrics_of_osteoporosis(
    counts: tuple[int, ...], printed: tuple[float | None, ...]
) -> None:
    hit, miss, alarm, clear = counts
    said = np.repeat([True, False, True, False], [hit, miss, alarm, clear])
    positive = np.repeat([True, True, False, False], [hit, miss, alarm, clear])
    found = {
        one.name: one.value
        for one in figures.binary(said, positive, [str(i) for i in range(len(said))])
    }
    for name, value in zip(
        ("precision", "recall", "specificity", "npv", "F1"), printed, strict=True
    ):
        if value is not None:
            assert found[name] == pytest.approx(value, abs=0.00052)


def test_each_class_is_called_by_itself_whatever_it_is_called() -> None:
    said = np.array([True, False, True, True, True])
    of = {"neck": np.arange(5) < 2, "shaft": np.arange(5) == 2, "none here": np.zeros(5, bool)}
    found = {one.name: one.value for one in figures.each_called(said, of, list("abcde"))}
    assert found == {
        "neck called, doubtful or more": 0.5,
        "shaft called, doubtful or more": 1.0,
    }


def test_gale_at_a_prevalence_of_one_half() -> None:
    """Table 2: recall 0.95 among 348 fractures, and precision 0.99 at half fractured."""
    positive = np.repeat([True, False], [348, 3006])
    p = np.where(positive, 0.9, 0.1)
    p[:17], p[348 : 348 + 29] = 0.1, 0.9  # 331 found; precision 0.92 in the whole test set
    found = {one.name: one.value for one in figures.balanced(p, positive, {"t": 0.5})}
    assert round(found["precision at t, half fractured"], 2) == 0.99
    assert round(found["accuracy at t, half fractured"], 2) == 0.97
    assert round(found["F1 at t, half fractured"], 2) == 0.97
    each = [str(index) for index in range(len(p))]
    whole = {one.name: one.value for one in figures.at_thresholds(p, positive, {"t": 0.5}, each)}
    assert round(whole["precision at t"], 2) == 0.92
    assert round(whole["accuracy at t"], 2) == 0.99


def test_two_hips_of_one_patient_are_no_two_experiments() -> None:
    """Every interval of a table is as wide with each hip there twice as with each hip once."""
    rng = np.random.default_rng(5)
    actual = rng.integers(0, 2, 150)
    named = np.where(rng.random(150) < 0.8, actual, 1 - actual)
    once = [str(index) for index in range(150)]
    twice = [name for name in once for _ in range(2)]

    def widths(actual: np.ndarray, named: np.ndarray, whose: list[str]) -> list[float]:
        found = [st.accuracy(actual, named, whose), st.kappa(actual, named, 2, whose)]
        for one in st.per_class(actual, named, ("no", "yes"), whose):
            found += [one.precision, one.recall, one.specificity, one.f1]
        return [one.high - one.low for one in found]

    doubled = widths(actual.repeat(2), named.repeat(2), twice)
    assert doubled == pytest.approx(widths(actual, named, once), rel=0.15)


def test_f1_has_an_interval_that_holds_it() -> None:
    """Gale 2017, Table 3: F1 0.94 (92-97) from 331 of 348 found with 29 false alarms."""
    said = np.repeat([True, False, True, False], [331, 17, 29, 2977])
    positive = np.repeat([True, True, False, False], [331, 17, 29, 2977])
    found = est.f1(said, positive, [str(index) for index in range(len(said))])
    assert (found.value, found.low, found.high) == pytest.approx((0.935, 0.92, 0.97), abs=0.021)
    assert found.low < found.value < found.high


def test_model_and_reader_together() -> None:
    """The model, right where it is sure, and a reader who is right where it is not."""
    actual = np.arange(100) % 2
    p = np.where(np.eye(2)[actual] > 0, 0.9, 0.1)
    p[:13] = np.where(np.eye(2)[actual[:13]] > 0, 0.45, 0.55)  # unsure, and wrong
    whose = [str(index) for index in range(100)]
    reader = np.where(np.arange(100) < 13, actual, 1 - actual)  # right there alone
    (both,) = figures.teaming(p, actual, reader, whose, "x")
    (worse,) = figures.teaming(p, actual, 1 - actual, whose, "x")
    assert (both.value, worse.value) == (1.0, 0.87)


def test_a_review_of_doubts_mends_labels_where_the_model_is_good() -> None:
    """Gale 2017: from 95 % to 99.9 % of labels right with 7.4 % looked at."""
    rng = np.random.default_rng(4)
    broken = rng.random(4000) < 0.15
    good = 1 / (1 + np.exp(-(rng.normal(0, 1.2, 4000) + 8 * broken - 4)))
    found = review.simulate(broken, good, wrong=0.05, level=0.5)
    assert found[0].right == pytest.approx(0.95, abs=1e-3)
    assert found[-1].right > 0.998
    assert found[-1].looked_at < 0.08
    assert [one.right for one in found] == sorted(one.right for one in found)
    useless = review.simulate(broken, rng.random(4000), wrong=0.05, level=0.9)
    assert useless[-1].right < 0.96


def test_the_papers_own_tests_of_two_readers() -> None:
    """Murphy 2022: 92 % of 640 and the hospital's 77.5 %; what experts and a model find hard."""
    rng = np.random.default_rng(3)
    model, hospital = np.arange(640) < 589, rng.permutation(np.arange(640) < 496)
    assert st.compare_proportions(model, hospital) < 1e-4
    assert st.compare_proportions(model, rng.permutation(model)) == pytest.approx(1)
    assert st.compare_proportions(np.ones(9, bool), np.ones(9, bool)) == 1
    agreed = rng.random(640) < 0.7
    assert st.independent(agreed, rng.random(640) < 0.92) > 0.05
    assert st.independent(agreed, rng.random(640) < np.where(agreed, 0.97, 0.8)) < 1e-4
    assert st.independent(agreed, np.ones(640, bool)) == 1
