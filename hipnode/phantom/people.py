"""Invented patients: covariates with a stated dependence on bone density.

T = mean - 0.035 (age - 70) + 0.055 (BMI - 26) + 0.012 (vitamin D - 24) - 0.35 [woman]
- 0.5 [earlier hip fracture] + noise; all effects are invented, in the direction and rough
size that the literature reports, so that a model can find them and a test can check it.
The odds of a fracture double for each unit that T falls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hipnode.phantom.population import Recipe
from hipnode.phantom.skeleton import Skeleton


@dataclass(frozen=True, slots=True)
class Person:
    """One invented patient."""

    age: int
    sex: str
    height_m: float
    bmi: float
    hip_fracture_history: bool
    vitamin_d_ng_ml: float
    calcium_mg_dl: float
    alm_bmi: float
    t_score: float
    skeleton: Skeleton | None = None  # what is drawn; without it, all of T
    past_fractures: int | None = None

    @property
    def cortex_t(self) -> float:
        """The T-score that the cortex shows."""
        return self.skeleton.cortex_t if self.skeleton else self.t_score

    @property
    def trabecular_t(self) -> float:
        """The T-score that the trabeculae show."""
        return self.skeleton.trabecular_t if self.skeleton else self.t_score

    @property
    def weight_kg(self) -> float:
        return self.bmi * self.height_m**2

    @property
    def osteoporosis(self) -> bool:
        return self.t_score <= -2.5

    def fracture_odds_times(self) -> float:
        """Return by how much the odds of a fracture differ from those at T = -1.5."""
        return float(np.clip(2.0 ** (-1.5 - self.t_score), 0.25, 4.0))


def draw(recipe: Recipe, rng: np.random.Generator) -> Person:
    """Draw one patient."""
    age = int(np.clip(rng.normal(70, 13), 22, 98))
    sex = "F" if rng.random() < 0.62 else "M"
    height = rng.normal(1.61 if sex == "F" else 1.74, 0.065) - 0.001 * max(0, age - 60)
    bmi = float(np.clip(rng.normal(26, 4.5), 16, 42))
    history = bool(rng.random() < 0.02 + 0.0025 * max(0, age - 50))
    vitamin = float(np.clip(rng.normal(24, 9), 5, 60))
    shift = -0.035 * (age - 70) + 0.055 * (bmi - 26) + 0.012 * (vitamin - 24)
    shift -= (0.35 if sex == "F" else 0.0) + (0.5 if history else 0.0)
    t = float(np.clip(recipe.t_score_mean + 0.3 + shift + rng.normal(0, recipe.t_score_sd), -5, 3))
    alm = float(
        np.clip(rng.normal(0.62 if sex == "F" else 0.86, 0.1) - 0.004 * (bmi - 26), 0.3, 1.3)
    )
    return Person(
        age,
        sex,
        round(float(height), 2),
        round(bmi, 1),
        history,
        round(vitamin, 1),
        round(float(rng.normal(9.3, 0.45)), 2),
        round(alm, 3),
        round(t, 2),
    )
