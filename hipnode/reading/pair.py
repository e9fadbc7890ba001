"""The two hips of a pelvis, judged together: none, right, left or both.

Each hip alone knows nothing of the other. A pelvis of an old woman with turned-out legs makes both
hips look a little broken; the broken one looks more so. Two hips broken at once are a few in a
thousand, so what raises both is explained by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BOTH: Final = 0.01
"""How much less often both are broken than if the hips knew nothing of each other."""
SINGLE: Final = 0.1
"""How many of the hips that are shown alone are taken to be broken."""
_TELLS: Final = 5.0
"""The likelier side is named where it is so many times likelier than the other."""
_SMALLEST: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Together:
    """What both probabilities say together; each in [0, 1]."""

    right: float  # that this one is broken, alone or with the other
    left: float
    either: float  # that any is
    tells_apart: bool  # whether the figures name the side


def judge_together(right: float, left: float) -> Together:
    """Return the posterior over none, right, left and both.

    Parameters
    ----------
    right, left
        The calibrated probability of a fracture for each hip alone, in [0, 1].

    Notes
    -----
    The weights are 1 for none, the odds of each hip for that hip, and `BOTH` times their product
    for both: beside a hip that is surely whole, the other keeps the probability it had alone.
    """
    odds_right, odds_left = _odds(right), _odds(left)
    both = BOTH * odds_right * odds_left
    total = 1 + odds_right + odds_left + both
    high, low = max(odds_right, odds_left), min(odds_right, odds_left)
    return Together(
        right=(odds_right + both) / total,
        left=(odds_left + both) / total,
        either=1 - 1 / total,
        tells_apart=high >= _TELLS * low or both > high,
    )


def judge_single(p: float) -> float:
    """Return the probability for a hip on a view of one hip, where no other can be compared.

    Parameters
    ----------
    p
        The calibrated probability, in [0, 1], for hips of which half are broken.

    Notes
    -----
    One in ten of the hips on such views is taken to be broken. On left-out real images one intact
    hip in thirty was alarmed instead of one in four, and seven of eight broken ones as before.
    """
    odds = _odds(p) * SINGLE / (1 - SINGLE)
    return odds / (1 + odds)


def _odds(p: float) -> float:
    bounded = min(max(p, _SMALLEST), 1 - _SMALLEST)
    return bounded / (1 - bounded)
