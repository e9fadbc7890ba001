"""How each task is coded and worded: one table for the SR, the capture and the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hipnode import codes
from hipnode.codes import Concept
from hipnode.domain import AbstentionReason, Decision, Finding, Side, Task

SIDES: Final = {Side.RIGHT: codes.RIGHT, Side.LEFT: codes.LEFT}
HIP_NOT_ASSESSED: Final = {
    Side.RIGHT: codes.RIGHT_HIP_NOT_ASSESSED,
    Side.LEFT: codes.LEFT_HIP_NOT_ASSESSED,
    Side.UNKNOWN: codes.HIP_NOT_ASSESSED,
}
UNUSABLE: Final = frozenset({AbstentionReason.UNREADABLE, AbstentionReason.TOO_SMALL})
"""Reasons that are about the quality of the image (PS3.16 CID 6044)."""

_INITIALS: Final = {Task.HIP_FRACTURE: "FX", Task.OSTEOPOROSIS: "OP", Task.FRACTURE_RISK: "RISK"}

PRESENCE: Final = {
    Decision.PRESENT: codes.PRESENT,
    Decision.DOUBTFUL: codes.UNDETERMINED,
    Decision.ABSENT: codes.ABSENT,
}


@dataclass(frozen=True, slots=True)
class TaskTerms:
    """The question of a task and its answers."""

    question: Concept  # answered with Present, Undetermined or Absent
    present: Concept  # where no class says it better
    doubtful: Concept
    absent: Concept
    short: str  # in the tracking identifier, which viewers show
    classes: dict[str, Concept]  # by the label of a model's class

    def answer(self, finding: Finding) -> Concept:
        """Return the Finding of a measurement group; never a fracture code on a negative hip."""
        if finding.decision is Decision.ABSENT:
            return self.absent
        if finding.decision is Decision.DOUBTFUL:
            return self.doubtful
        return self.classes.get(leading_class(finding) or "", self.present)


TERMS: Final[dict[Task, TaskTerms]] = {
    Task.HIP_FRACTURE: TaskTerms(
        question=codes.HIP_FRACTURE,
        present=codes.HIP_FRACTURE,
        doubtful=codes.HIP_FRACTURE_DOUBTFUL,
        absent=codes.HIP_FRACTURE_ABSENT,
        short="fracture",
        classes={
            "intracapsular": codes.INTRACAPSULAR,
            "neck": codes.FEMORAL_NECK,
            "femoral_neck": codes.FEMORAL_NECK,
            "subcapital": codes.SUBCAPITAL,
            "midcervical": codes.MIDCERVICAL,
            "basicervical": codes.BASICERVICAL,
            "trochanteric": codes.TROCHANTERIC,
            "extracapsular": codes.TROCHANTERIC,
            "intertrochanteric": codes.INTERTROCHANTERIC,
            "pertrochanteric": codes.PERTROCHANTERIC,
            "subtrochanteric": codes.SUBTROCHANTERIC,
        },
    ),
    Task.OSTEOPOROSIS: TaskTerms(
        question=codes.OSTEOPOROSIS,
        present=codes.OSTEOPOROSIS,
        doubtful=codes.OSTEOPOROSIS_DOUBTFUL,
        absent=codes.OSTEOPOROSIS_ABSENT,
        short="osteoporosis",
        classes={"osteoporosis": codes.OSTEOPOROSIS, "osteopenia": codes.OSTEOPENIA},
    ),
    Task.FRACTURE_RISK: TaskTerms(
        question=codes.FRACTURE_RISK,
        present=codes.FRACTURE_RISK,
        doubtful=codes.FRACTURE_RISK_DOUBTFUL,
        absent=codes.FRACTURE_RISK_ABSENT,
        short="high fracture risk",
        classes={},
    ),
}


def words(label: str) -> str:
    """Return a model's class label as words: ``femoral_neck`` reads "femoral neck"."""
    return label.replace("_", " ").strip()


def positive_classes(finding: Finding) -> dict[str, float]:
    """Return the classes that say yes, as the bundle has them, the likeliest first."""
    positive = {label: p for label, p in finding.probabilities.items() if label in finding.positive}
    return dict(sorted(positive.items(), key=lambda item: -item[1]))


def leading_class(finding: Finding) -> str | None:
    """Return the likeliest positive class, where the model knows more than one kind of it."""
    if finding.task is Task.FRACTURE_RISK:
        return None  # low, moderate and high are no kinds of a risk
    positive = positive_classes(finding)
    return next(iter(positive)) if len(positive) > 1 else None


def told_apart(finding: Finding) -> dict[str, float]:
    """Return the classes whose probabilities stand in the SR beside P(positive).

    Those are the kinds of a finding, where the model knows more than one, and every class of risk:
    low, moderate and high exclude each other.
    """
    if finding.task is Task.FRACTURE_RISK:
        return dict(finding.probabilities)
    positive = positive_classes(finding)
    return positive if len(positive) > 1 else {}


def probability_name(task: Task, side: Side, label: str = "") -> Concept:
    """Return the concept name of a probability.

    OHIF shows of a measurement only its code meaning and value, right of the box, and clips what
    reaches beyond the edge: "97" must not become "9". So the meaning is the side, a word and "AI".
    """
    initials = _INITIALS[task]
    letter = "U" if side is Side.UNKNOWN else side.value
    code = f"{letter}_{initials}_{label}".strip("_")
    what = f"{words(label)} {initials.lower()}" if label else initials.lower()
    return codes.probability(code, f"{side.word} {what} AI")


def reason_of(reason: AbstentionReason | None) -> Concept:
    """Return the code and the words of a reason; None is a technical failure."""
    return codes.REASONS["failed" if reason is None else reason.value]
