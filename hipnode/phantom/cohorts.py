"""People as the papers had them: ages, sexes, builds and histories, and what these do to bone.

References
----------
Yamamoto 2020, Table 1. Jang 2022, Table 1 (women from 55, T -2.2). DXA 2023, Methods (falls).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from hipnode.phantom import people, skeleton
from hipnode.phantom.people import Person
from hipnode.phantom.population import Recipe

COHORTS: Final = ("yamamoto", "jang", "falls")
DXA_ERROR_T: Final = 0.16  # 0.02 g/cm2 of 0.122 for one T: of a repeated measurement
_FALLS: Final = (1.6, 1.2)  # log odds for each standard deviation of strength and of what is known
_STRENGTH: Final = 0.6  # what a scan's density strays by from strength, in its standard deviations
_CUTS: Final = (-2.2, 2.6)  # log odds between none, one, and more earlier fractures


def draw(recipe: Recipe, rng: np.random.Generator) -> Person:
    """Draw one person of the recipe's cohort; of none, as `people.draw` does."""
    if not recipe.people:
        return people.draw(recipe, rng)
    falls = recipe.people == "falls"
    low, centre, spread = {"yamamoto": (60, 80, 9), "jang": (55, 71, 8), "falls": (65, 75, 6)}[
        recipe.people
    ]
    age = float(np.clip(rng.normal(centre, spread), low, 100))
    woman = bool(rng.random() < {"yamamoto": 0.77, "jang": 1.0, "falls": 0.55}[recipe.people])
    bmi = float(np.clip(rng.normal(26 if falls else 21.6, 3.6), 13, 40))
    height = rng.normal(1.54 if woman else 1.66, 0.06) - 0.001 * (age - 60)
    history = bool(rng.random() < (0.36 if recipe.people == "yamamoto" else 0.1))
    # means are taken off, so that the recipe's own mean is the cohort's
    t = recipe.t_score_mean - 0.062 * (age - centre) + 0.16 * (bmi - (26 if falls else 21.6))
    t -= 0.75 * (woman - {"yamamoto": 0.77, "jang": 1.0, "falls": 0.55}[recipe.people])
    t -= 0.35 * (history - (0.36 if recipe.people == "yamamoto" else 0.1))
    if falls:  # nothing that a header tells goes with the bone: what is known stands by itself
        t = recipe.t_score_mean
    t = float(np.clip(t + rng.normal(0, recipe.t_score_sd), -5.5, 3))
    return _person(recipe, rng, t, (age, woman, height, bmi, history))


def _person(
    recipe: Recipe,
    rng: np.random.Generator,
    t: float,
    known: tuple[float, bool, float, float, bool],
) -> Person:
    """Return the person, with laboratory values, and with earlier fractures where they fell."""
    age, woman, height, bmi, history = known
    z = rng.standard_normal(4)  # vitamin D, calcium, height, muscle: each against its usual
    height = float(height + 0.03 * z[2])
    past: int | None = None
    if recipe.people == "falls":
        clinical = float(-(z.sum()) / 2)  # standard deviation 1
        seen = (t - recipe.t_score_mean) / recipe.t_score_sd
        part = 1 / (1 + _STRENGTH**2)  # of its variance, that the density tells of the strength
        strength = part**0.5 * seen + (1 - part) ** 0.5 * float(rng.normal())
        said = -_FALLS[0] * strength + _FALLS[1] * clinical + float(rng.logistic())
        past = int(said > _CUTS[0]) + int(said > _CUTS[1])
        history = past > 0
    return Person(
        age=round(age),
        sex="F" if woman else "M",
        height_m=round(height, 2),
        bmi=round(bmi, 1),
        hip_fracture_history=history,
        vitamin_d_ng_ml=round(float(np.clip(24 + 9 * z[0], 4, 70)), 1),
        calcium_mg_dl=round(float(9.3 + 0.45 * z[1]), 2),
        alm_bmi=round(float(np.clip((0.62 if woman else 0.86) + 0.1 * z[3], 0.2, 1.4)), 3),
        t_score=round(t + float(rng.normal(0, DXA_ERROR_T)), 2),
        skeleton=skeleton.draw(t, age, height, rng),
        past_fractures=past,
    )
