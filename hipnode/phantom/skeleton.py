"""What of a person's bone can be seen: latents that go with its density, each with its own rest.

One number that draws the bone and is the label would leave nothing for anything else to tell. Here
the true density is T, and what is drawn strays from it: the cortex and the trabeculae by a rest
that they share and one of their own, so that all that is drawn says no more of T than T with an
error of 0.73 would; the canal's shape follows age, the size follows height.

References
----------
Singh 1970, JBJS 52:457 (the order in which groups of trabeculae fade). Dorr 1993, Bone 14:231 (the
canal widens with age). Cummings 1993, Lancet 341:72 (areal density depends on size).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

SHARED: Final = 0.36
"""Standard deviation, in T, of what cortex and trabeculae stray by together."""
OWN: Final = 0.9
"""The same of each by itself."""
_DORR: Final = 0.7  # of the canal's flare: above is A, below is C

Groups = tuple[float, float, float, float]
"""Strength of the trabeculae at large, of the compressive and the tensile group; Ward's loss."""
USUAL: Final[Groups] = (0.85, 0.55, 0.3, 0.35)
SINGH: Final[dict[int, Groups]] = {
    6: (0.90, 0.55, 0.30, 0.25),
    5: USUAL,
    4: (0.80, 0.55, 0.22, 0.50),
    3: (0.76, 0.50, 0.10, 0.60),
    2: (0.73, 0.35, 0.04, 0.65),
    1: (0.70, 0.15, 0.00, 0.65),
}
"""By Singh's grade: secondary trabeculae fade first, then tensile, then compressive ones."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """What is drawn of one person's bones.

    ``cortex_t`` and ``trabecular_t`` are the T-scores that cortex and trabeculae show; ``flare`` is
    how narrow the canal is (standard deviations); ``size`` is against the usual.
    """

    t_true: float
    cortex_t: float
    trabecular_t: float
    singh: int
    flare: float
    size: float

    @property
    def dorr(self) -> str:
        """The canal's type: A narrow, C a stovepipe."""
        return "A" if self.flare > _DORR else "C" if self.flare < -_DORR else "B"

    @property
    def groups(self) -> Groups:
        """How strong the groups of trabeculae are."""
        return SINGH[self.singh]

    @property
    def shaft_times(self) -> float:
        """The shaft's cortex against what the rest of the cortex would make it."""
        return float(np.clip(1 + 0.08 * self.flare, 0.75, 1.2))


def draw(t_true: float, age: float, height_m: float, rng: np.random.Generator) -> Skeleton:
    """Draw what is seen of bones of this density.

    Parameters
    ----------
    t_true
        The T-score.
    age, height_m
        Of the person.
    rng
        Where the randomness comes from.
    """
    shared = rng.normal(0, SHARED)
    cortex, trabecular = (t_true + shared + rng.normal(0, OWN) for _ in range(2))
    return Skeleton(
        round(t_true, 2),
        round(float(cortex), 2),
        round(float(trabecular), 2),
        int(np.clip(round(4.5 + 0.9 * (trabecular + 1.5) + rng.normal(0, 0.4)), 1, 6)),
        round(float(-0.04 * (age - 75) + rng.normal(0, 1)), 2),
        round(float(1 + 0.25 * (height_m - 1.62) + rng.normal(0, 0.03)), 3),
    )
