"""The phantom leaves room, as life does: what a perfect network could tell, and what people add.

Nothing is rendered but a few scans: the latents of the manifest are what a perfect network sees.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hipnode.domain import Box, Side
from hipnode.errors import SettingsInvalid
from hipnode.phantom import Recipe, cohorts, load_recipe, people, readers, render, skeleton
from hipnode.phantom.anatomy import generator
from hipnode.phantom.dxa import SPREAD_G_CM2, YOUNG_G_CM2
from hipnode.phantom.people import Person
from hipnode.phantom.truth import HipTruth

pytestmark = pytest.mark.slow

Array = NDArray[Any]
COUNT = 10000


@cache
def cohort(name: str) -> tuple[Person, ...]:
    recipe = load_recipe(name)
    return tuple(cohorts.draw(recipe, generator("test", i)) for i in range(COUNT))


def auc(features: Array, classes: Array) -> float:
    """Return the AUC of a regression learned on one half and judged on the other."""
    half = len(classes) // 2
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    p = model.fit(features[:half], classes[:half]).predict_proba(features[half:])
    areas = [roc_auc_score(classes[half:] == k, p[:, k]) for k in range(1, p.shape[1])]
    if p.shape[1] > 2:
        areas.append(roc_auc_score(classes[half:] == 0, p[:, 0]))
    return float(np.mean(areas))


def seen(drawn: tuple[Person, ...]) -> Array:
    """Return all that is drawn of the bones of a cohort, (n, 5)."""
    bones = [person.skeleton for person in drawn]
    return np.array(
        [[b.cortex_t, b.trabecular_t, b.singh, b.flare, b.size] for b in bones if b], float
    )


def known(drawn: tuple[Person, ...]) -> Array:
    """Return Yamamoto's covariates, (n, 4)."""
    return np.array([[p.age, p.sex == "M", p.bmi, p.hip_fracture_history] for p in drawn], float)


def test_a_perfect_network_leaves_room_and_covariates_fill_some_of_it() -> None:
    """Yamamoto 2020: 0.905 from the image, 0.928 with covariates, means over five networks."""
    drawn = cohort("yamamoto")
    classes = np.array([person.osteoporosis for person in drawn]).astype(int)
    image, alone = auc(seen(drawn), classes), auc(known(drawn), classes)
    both = auc(np.hstack([seen(drawn), known(drawn)]), classes)
    assert 0.89 < image < 0.93
    assert 0.81 < alone < 0.87
    assert 0.01 < both - image < 0.04


def test_yamamotos_people_are_those_of_the_paper() -> None:
    """Table 1: ages 77.7 and 82.7, women 69 and 85 %, BMI 23.3 and 20.1, history 29 and 42 %."""
    drawn = cohort("yamamoto")
    ill = np.array([person.osteoporosis for person in drawn])
    found = [known(drawn)[which].mean(0) for which in (~ill, ill)]
    printed = [(77.7, 0.31, 23.3, 0.29), (82.7, 0.15, 20.1, 0.42)]
    for means, paper in zip(found, printed, strict=True):
        assert means == pytest.approx(paper, rel=0.05, abs=0.035)


def test_risk_is_an_ordered_outcome_that_scan_and_covariates_tell_in_part() -> None:
    """DXA 2023: AUC 0.720 from the scan, 0.648 from clinical data, 0.743 from both; 21/62/17 %."""
    drawn = cohort("falls")
    past = np.array([person.past_fractures for person in drawn])
    assert np.bincount(past) / COUNT == pytest.approx([0.21, 0.62, 0.17], abs=0.02)
    t = np.array([person.t_score for person in drawn])
    clinical = np.array(
        [[p.vitamin_d_ng_ml, p.calcium_mg_dl, p.height_m, p.alm_bmi] for p in drawn]
    )
    summed = StandardScaler().fit_transform(clinical).sum(1)
    clinical = np.column_stack([clinical, summed**2])  # the middle class lies between two others
    scan = np.stack([t, t**2], 1)
    assert auc(scan, past) == pytest.approx(0.71, abs=0.025)
    assert auc(clinical, past) == pytest.approx(0.63, abs=0.03)
    assert auc(np.hstack([scan, clinical]), past) == pytest.approx(0.765, abs=0.025)


def test_a_second_hospital_has_more_of_the_ill() -> None:
    """Jang 2022: three in four of the external set."""
    ill = {
        name: np.mean([p.osteoporosis for p in cohort(name)]) for name in ("jang", "jang-external")
    }
    assert ill["jang"] == pytest.approx(0.43, abs=0.03)
    assert ill["jang-external"] == pytest.approx(0.74, abs=0.03)
    assert all(person.sex == "F" and person.age >= 55 for person in cohort("jang"))


def test_groups_of_trabeculae_fade_in_singhs_order_and_canals_widen_with_age() -> None:
    for grade, worse in pairwise(sorted(skeleton.SINGH, reverse=True)):
        better, less = skeleton.SINGH[grade], skeleton.SINGH[worse]
        assert all(a >= b for a, b in zip(better[:3], less[:3], strict=True))
        assert less[3] >= better[3]  # Ward's triangle opens
    assert skeleton.SINGH[3][2] < 0.4 * skeleton.SINGH[5][2]  # tensile ones are nearly gone
    assert skeleton.SINGH[3][1] > 0.8 * skeleton.SINGH[5][1]  # while compressive ones stand
    bones = [p.skeleton for p in cohort("yamamoto")]
    ages = np.array([p.age for p in cohort("yamamoto")])
    stovepipe = np.array([b is not None and b.dorr == "C" for b in bones])
    assert ages[stovepipe].mean() > ages[~stovepipe].mean() + 1
    cortex = [b.cortex_t for b in bones if b]
    t = [p.t_score for p in cohort("yamamoto")]
    assert 0.6 < np.corrcoef(cortex, t)[0, 1] < 0.85


def hip(label: str, displacement_mm: float = 10.0) -> HipTruth:
    kind = {"intracapsular": "displaced", "trochanteric": "A2"}.get(label, "")
    whole = HipTruth(Side.RIGHT, Box(0, 0, 9, 9), 1.0, {}, label)
    return replace(whole, subtype=kind, displacement_mm=displacement_mm)


def test_readers_agree_as_the_papers_readers_did() -> None:
    """Murphy: two experts of kappa 0.55, 0.49 by subclass, the hospital right in 0.775.

    Gale: precision 0.93 and recall 0.97.
    """
    rng = np.random.default_rng(0)
    labels = rng.choice(
        ["no_fracture", "intracapsular", "trochanteric"], 3000, p=[0.44, 0.29, 0.27]
    )
    moved = np.where(rng.random(3000) < 0.4, 1.0, 12.0)
    said = [
        readers.read(hip(str(label), mm), (1, i), low_quality=i % 5 == 0)
        for i, (label, mm) in enumerate(zip(labels, moved, strict=True))
    ]
    one, two = ([each[name] for each in said] for name in ("expert1", "expert2"))
    assert cohen_kappa_score(one, two) == pytest.approx(0.55, abs=0.05)
    named = [
        readers.read_subclass(hip(str(label), mm), (1, i), each)
        for i, (label, mm, each) in enumerate(zip(labels, moved, said, strict=True))
    ]
    assert named[0].keys() == set(readers.EXPERTS)
    finer = cohen_kappa_score(*([each[name] for each in named] for name in readers.EXPERTS))
    assert finer == pytest.approx(0.49, abs=0.05)
    hospital = np.mean(
        [each["hospital"] == label for each, label in zip(said, labels, strict=True)]
    )
    assert hospital == pytest.approx(0.775, abs=0.04)
    broken = labels != "no_fracture"
    reported = np.array([each["report"] != "no_fracture" for each in said])
    assert reported[broken].mean() == pytest.approx(0.97, abs=0.02)
    alarms = reported[~broken].mean()
    assert 0.104 * 0.97 / (0.104 * 0.97 + 0.896 * alarms) == pytest.approx(0.93, abs=0.06)


def test_the_density_of_a_scan_is_its_t_score() -> None:
    """The mean over the total hip, in the scan's own numbers, of the reference population's T."""
    few = {"train": 1, "val": 1, "test": 1}
    recipe = replace(load_recipe("falls"), anatomies=few, splits={"train": 1.0})
    for index in (0, 1):
        made = render(recipe, 3, index)
        density = made.truth.hips[0].bmd_g_cm2
        assert density is not None
        expected = max(YOUNG_G_CM2 + SPREAD_G_CM2 * made.truth.t_score, 0.2)
        assert density == pytest.approx(expected, abs=0.002)
        row = made.truth.row()
        assert row["risk"] == ("low", "moderate", "high")[int(row["past_fractures"])]
        assert {"t_true", "cortex_t", "trabecular_t", "singh", "dorr", "size"} <= row.keys()
    plain = render(replace(recipe, uncalibrated=True), 3, 0)
    assert plain.truth == replace(render(recipe, 3, 0).truth)
    assert plain.pixels.mean() != pytest.approx(render(recipe, 3, 0).pixels.mean(), rel=0.05)


def test_what_was_drawn_before_is_drawn_as_before() -> None:
    """Without a cohort, people and all that follows from them are those of `people.draw`."""
    recipe = load_recipe("training")
    assert cohorts.draw(recipe, generator("x")) == people.draw(recipe, generator("x"))
    assert people.draw(recipe, generator("x")).skeleton is None


def test_a_cohort_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('people = "martians"\n')
    with pytest.raises(SettingsInvalid, match="people 'martians' are no cohort"):
        load_recipe(path)
    assert Recipe().people == ""
