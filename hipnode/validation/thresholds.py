"""Which thresholds give the rate of false alarms that a site can live with.

They are chosen on what the node decides by: the probability of each hip after both of a pelvis were
judged together (`hipnode.reading.pair`), the highest hip of an image counting. Intact images that
were refused count among the intact ones, as they do in daily work.

References
----------
Oakden-Rayner 2022, Lancet Digit Health 4:e351 (an operating point does not carry over from one
hospital to another).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from hipnode.training.stats.estimates import Share, share
from hipnode.validation.outcomes import Unit

FEW: Final = 10
"""With fewer broken images than this, or fewer intact ones, no figure says anything."""
RATES: Final = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2)
_FOLDS: Final = 10
_LOWEST: Final = 0.01
_NEVER: Final = -1.0
Which = Literal["suspected", "definite"]


@dataclass(frozen=True)
class Choice:
    """A threshold, and what it would have done to the images that it was chosen on."""

    rate: float  # of false alarms, that was asked for
    threshold: float
    false_alarms: Share
    sensitivity: Share


@dataclass(frozen=True)
class Proposal:
    """Two thresholds for the rates asked for; ``held_out`` judges each tenth by the others."""

    doubtful: Choice
    definite: Choice
    held_out_alarms: Share
    held_out_sensitivity: Share
    broken: int
    intact: int
    patients: int

    def chosen_on(self, date: str) -> str:
        """Return what the bundle says about where its thresholds come from."""
        return (
            f"{date}, {self.broken} broken and {self.intact} intact images of "
            f"{self.patients} patients of this site: at most {self.doubtful.rate:g} of the intact "
            f"suspected (seen {self.doubtful.false_alarms.estimate}, recall "
            f"{self.doubtful.sensitivity.estimate}), {self.definite.rate:g} definite"
        )


def too_few(units: Sequence[Unit], *, with_probability: bool = False) -> str:
    """Return why no curve can be drawn of these, or "".

    ``with_probability`` counts those alone that have one: what was refused has none.
    """
    some = [
        unit.broken for unit in units if not with_probability or unit.scores.suspected is not None
    ]
    has = " and a probability" if with_probability else ""
    for count, what in ((sum(some), f"with a fracture{has}"), (some.count(False), f"without{has}")):
        if count < FEW:
            are = "is" if count == 1 else "are"
            return f"There {are} only {count} {what}: too few for a figure that means anything."
    return ""


def cannot_choose(units: Sequence[Unit], rates: Sequence[float]) -> str:
    """Return why no thresholds can be proposed, or ""."""
    if why := too_few(units):
        return why
    intact = sum(not unit.broken for unit in units)
    needed = math.ceil(1 / max(rates))
    if intact < needed:
        return f"{intact} intact images cannot show a rate of {max(rates):g}: {needed} are needed."
    if not any(unit.scores.suspected is not None for unit in units):
        return "No image has a probability: all were refused, or read before they were kept."
    return ""


def threshold_for(units: Sequence[Unit], rate: float, which: Which = "suspected") -> float:
    """Return the lowest threshold at which at most this share of the intact alarms.

    Halfway between the highest score that must not alarm and the next above it, of whatever image:
    what is shown does not hang on the last digit of one image.
    """
    scores = [(_score(unit, which), unit.broken) for unit in units]
    intact = sorted((score for score, broken in scores if not broken), reverse=True)
    allowed = math.floor(rate * len(intact) + 1e-9)
    ceiling = intact[allowed] if allowed < len(intact) else _NEVER
    above = min((score for score, _ in scores if score > ceiling), default=1.0)
    return round(min(1.0, max(_LOWEST, (max(ceiling, 0.0) + above) / 2)), 4)


def at(units: Sequence[Unit], rate: float, threshold: float, which: Which = "suspected") -> Choice:
    """Return what a threshold does to these images."""
    alarmed = [_score(unit, which) >= threshold for unit in units]
    alarms, found = (
        share(
            [hit for hit, unit in zip(alarmed, units, strict=True) if unit.broken is broken],
            [unit.patient for unit in units if unit.broken is broken],
        )
        for broken in (False, True)
    )
    return Choice(rate, threshold, alarms, found)


def propose(units: Sequence[Unit], rate: float, definite_rate: float) -> Proposal:
    """Choose both thresholds, and judge the first on images that it was not chosen on.

    Parameters
    ----------
    units
        Images: enough of them (`cannot_choose`).
    rate, definite_rate
        The share of intact images that may be suspected, and that may be called definite.
    """
    doubtful = threshold_for(units, rate)
    definite = max(doubtful, threshold_for(units, definite_rate, "definite"))
    patients = sorted({unit.patient for unit in units})
    alarmed = _held_out(units, patients, rate)
    found, alarms = (
        share(
            [hit for hit, unit in zip(alarmed, units, strict=True) if unit.broken is broken],
            [unit.patient for unit in units if unit.broken is broken],
        )
        for broken in (True, False)
    )
    return Proposal(
        doubtful=at(units, rate, doubtful),
        definite=at(units, definite_rate, definite, "definite"),
        held_out_alarms=alarms,
        held_out_sensitivity=found,
        broken=sum(unit.broken for unit in units),
        intact=sum(not unit.broken for unit in units),
        patients=len(patients),
    )


def _held_out(units: Sequence[Unit], patients: Sequence[str], rate: float) -> list[bool]:
    """Tell of each image whether it alarms at the threshold of other patients' images."""
    order = np.random.default_rng(2022).permutation(len(patients))
    folds = min(_FOLDS, len(patients))
    fold = {patients[index]: place % folds for place, index in enumerate(order)}
    thresholds = [
        threshold_for([unit for unit in units if fold[unit.patient] != left_out], rate)
        for left_out in range(folds)
    ]
    return [_score(unit, "suspected") >= thresholds[fold[unit.patient]] for unit in units]


def _score(unit: Unit, which: Which) -> float:
    value = unit.scores.suspected if which == "suspected" else unit.scores.definite
    return _NEVER if value is None else value
