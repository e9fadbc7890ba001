"""The verdict on a hip: one total function of what is known of it.

Being unlike the training images, cut off, or perhaps operated on forbids "none seen"; it never
forbids a suspicion, it lowers it to doubtful. What nobody could judge is for a person to look at.
`docs/models.md` has the table; a test walks through all of it.

References
----------
Gale 2017, Methods (a frontal gate, then a metal gate, before the classifier); Oakden-Rayner 2022,
Lancet Digit Health (errors gather where bones are unusual).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Final

from hipnode.domain import AbstentionReason, Caveat, Decision, Verdict, View


class Metal(StrEnum):
    """What the implant gate says, by its two thresholds."""

    NONE = "none"
    POSSIBLE = "possible"
    SURE = "sure"


class Extent(StrEnum):
    """Whether the whole hip is in its box."""

    WHOLE = "whole"
    CUT_OFF = "cut off"


class SideIs(StrEnum):
    """How well the side is known."""

    KNOWN = "known"
    UNSURE = "unsure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a hip: each fact in the words in which the verdict needs it.

    ``fracture`` is what the fracture model's operating point makes of its probability, after both
    hips of a pelvis were judged together (present, doubtful or absent); None where the model could
    not be asked, or does not settle it: a hip shown alone is called by itself, and with what is
    known of such hips it is not.
    """

    adult: bool
    metal: Metal
    view: View
    clear: bool  # the localiser is sure that there is a hip
    usual: bool  # the hip is like those of training
    extent: Extent
    side: SideIs
    fracture: Decision | None
    equivocal: bool = False  # the probability lies in the band that the model is calibrated for


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict: why nothing is said, or why a suspicion is doubtful at most."""

    verdict: Verdict
    reason: AbstentionReason | None = None
    caveats: tuple[Caveat, ...] = ()


def judge(facts: Facts) -> Judgement:
    """Return the verdict on one hip."""
    if not facts.adult:
        return Judgement(Verdict.NOT_ASSESSED, AbstentionReason.NOT_ADULT)
    if facts.metal is Metal.SURE:
        return Judgement(Verdict.NOT_ASSESSED, AbstentionReason.IMPLANT)
    if facts.view is View.OTHER and not facts.clear:
        return Judgement(Verdict.NOT_ASSESSED, AbstentionReason.NOT_FRONTAL)
    caveats = tuple(_caveats(facts))
    unsure = facts.fracture in {Decision.DOUBTFUL, Decision.ABSENT}
    if facts.equivocal and unsure and not set(caveats) - _OF_SIDE:  # as those of calibration
        return Judgement(Verdict.DOUBTFUL if caveats else Verdict.EQUIVOCAL, caveats=caveats)
    if facts.fracture in {Decision.PRESENT, Decision.DOUBTFUL}:
        definite = facts.fracture is Decision.PRESENT and not caveats
        return Judgement(Verdict.DEFINITE if definite else Verdict.DOUBTFUL, caveats=caveats)
    if facts.view is View.OTHER:  # a view on which nobody has shown that "none seen" is true
        return Judgement(Verdict.NOT_ASSESSED, AbstentionReason.NOT_FRONTAL)
    for caveat, reason in FORBIDS_NONE_SEEN.items():
        if caveat in caveats:
            return Judgement(Verdict.LOOK_NOW, reason)
    if facts.fracture is None:
        return Judgement(Verdict.LOOK_NOW, AbstentionReason.TOO_UNCERTAIN)
    return Judgement(Verdict.NONE_SEEN, caveats=caveats)


_OF_SIDE: Final = frozenset({Caveat.SIDE_UNSURE, Caveat.SIDE_UNKNOWN})
FORBIDS_NONE_SEEN: Final = {
    Caveat.POSSIBLE_METAL: AbstentionReason.POSSIBLE_METAL,
    Caveat.CUT_OFF: AbstentionReason.CUT_OFF,
    Caveat.UNUSUAL: AbstentionReason.OUT_OF_DISTRIBUTION,
    Caveat.FAINT: AbstentionReason.TOO_UNCERTAIN,
}
"""What forbids "none seen", and the reason that is given instead; the first that holds."""


def _caveats(facts: Facts) -> Iterator[Caveat]:
    if facts.metal is Metal.POSSIBLE:
        yield Caveat.POSSIBLE_METAL
    if facts.extent is Extent.CUT_OFF:
        yield Caveat.CUT_OFF
    if not facts.usual:
        yield Caveat.UNUSUAL
    if not facts.clear:
        yield Caveat.FAINT
    if facts.view is View.OTHER:
        yield Caveat.VIEW
    if facts.side is SideIs.UNSURE:
        yield Caveat.SIDE_UNSURE
    if facts.side is SideIs.UNKNOWN:
        yield Caveat.SIDE_UNKNOWN


def beside(judgement: Judgement, other: Judgement) -> Judgement:
    """Return the verdict on a hip, given the one on the other hip of the same pelvis.

    A definite alarm beside a hip that nobody could judge would draw the eye away from it.
    """
    unjudged = other.verdict in {Verdict.LOOK_NOW, Verdict.NOT_ASSESSED}
    if not unjudged or judgement.verdict not in {Verdict.DEFINITE, Verdict.DOUBTFUL}:
        return judgement
    return Judgement(Verdict.DOUBTFUL, caveats=(*judgement.caveats, Caveat.OTHER_HIP))


def every_case() -> Iterator[Facts]:
    """Yield everything that can be known of a hip: for the table and its test."""
    yes_no = (True, False)
    fractures = (Decision.PRESENT, Decision.DOUBTFUL, Decision.ABSENT, None)
    for case in product(yes_no, Metal, View, yes_no, yes_no, Extent, SideIs, fractures, yes_no):
        yield Facts(*case)
