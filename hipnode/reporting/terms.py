"""How findings and reasons are coded: the same in the SR, the capture and the text."""

from __future__ import annotations

from typing import Final

from hipnode import codes
from hipnode.codes import Concept
from hipnode.domain import TASKS, AbstentionReason, Decision, Finding, Side, Task

SIDES: Final = {Side.RIGHT: codes.RIGHT, Side.LEFT: codes.LEFT}
HIP_NOT_ASSESSED: Final = {
    Side.RIGHT: codes.RIGHT_HIP_NOT_ASSESSED,
    Side.LEFT: codes.LEFT_HIP_NOT_ASSESSED,
    Side.UNKNOWN: codes.HIP_NOT_ASSESSED,
}
UNUSABLE: Final = frozenset({AbstentionReason.UNREADABLE, AbstentionReason.TOO_SMALL})
"""Reasons that are about the quality of the image (PS3.16 CID 6044)."""

PRESENCE: Final = {
    Decision.PRESENT: codes.PRESENT,
    Decision.DOUBTFUL: codes.UNDETERMINED,
    Decision.EQUIVOCAL: codes.UNDETERMINED,
    Decision.ABSENT: codes.ABSENT,
}


def answer(finding: Finding) -> Concept:
    """Return the Finding of a measurement group; never a fracture code on a negative hip."""
    row = TASKS[finding.task]
    if finding.decision is Decision.ABSENT:
        return row.absent
    if finding.decision is Decision.DOUBTFUL:
        return row.doubtful
    if finding.decision is Decision.EQUIVOCAL:
        return codes.HIP_FRACTURE_EQUIVOCAL
    return row.classes.get(leading_class(finding) or "", row.present)


def words(label: str) -> str:
    """Return a model's class label as words: ``femoral_neck`` reads "femoral neck"."""
    return label.replace("_", " ").strip()


def positive_classes(finding: Finding) -> dict[str, float]:
    """Return the classes that say yes, as the bundle has them, the likeliest first."""
    positive = {label: p for label, p in finding.probabilities.items() if label in finding.positive}
    return dict(sorted(positive.items(), key=lambda item: -item[1]))


def leading_class(finding: Finding) -> str | None:
    """Return the likeliest positive class, where the model knows more than one kind of it."""
    if TASKS[finding.task].is_graded:
        return None  # low, moderate and high are no kinds of a risk
    positive = positive_classes(finding)
    return next(iter(positive)) if len(positive) > 1 else None


def told_apart(finding: Finding) -> dict[str, float]:
    """Return the classes whose probabilities stand in the SR beside P(positive).

    Those are the kinds of a finding, where the model knows more than one, and every class of risk:
    low, moderate and high exclude each other.
    """
    if TASKS[finding.task].is_graded:
        return dict(finding.probabilities)
    positive = positive_classes(finding)
    return positive if len(positive) > 1 else {}


def probability_name(task: Task, side: Side, label: str = "") -> Concept:
    """Return the concept name of a probability.

    OHIF shows of a measurement only its code meaning and value, right of the box, and clips what
    reaches beyond the edge: "97" must not become "9". So the meaning is the side, a word and "AI".
    """
    initials = TASKS[task].initials
    letter = "U" if side is Side.UNKNOWN else side.value
    code = f"{letter}_{initials}_{label}".strip("_")
    what = f"{words(label)} {initials.lower()}" if label else initials.lower()
    return codes.probability(code, f"{side.word} {what} AI")


def reason_of(reason: AbstentionReason | None) -> Concept:
    """Return the code and the words of a reason; None is a technical failure."""
    return codes.REASONS["failed" if reason is None else reason.value]
