"""From what was said of an image to one word beside what is true: how each case counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hipnode.domain import (
    Abstention,
    Attention,
    Caveat,
    Finding,
    HipReading,
    Reading,
    Side,
    Task,
    Verdict,
)
from hipnode.reading.pair import judge_together
from hipnode.validation.cases import Case, Gathered
from hipnode.validation.labels import Label, Unused


class Said(StrEnum):
    """What the node said: the columns of the tables."""

    DEFINITE = "fracture, definite"
    DOUBTFUL = "fracture, doubtful"
    ELSEWHERE = "fracture, wrong side"
    LOOK = "look now"
    REFUSED = "refused"
    NONE_SEEN = "none seen"


SUSPECTED: Final = frozenset({Said.DEFINITE, Said.DOUBTFUL})
_VERDICTS: Final = {
    Verdict.DEFINITE: Said.DEFINITE,
    Verdict.DOUBTFUL: Said.DOUBTFUL,
    Verdict.EQUIVOCAL: Said.LOOK,  # neither named nor told none seen
    Verdict.LOOK_NOW: Said.LOOK,
    Verdict.NONE_SEEN: Said.NONE_SEEN,
    Verdict.NOT_ASSESSED: Said.REFUSED,
}
_OF_IMAGE: Final = (Said.DEFINITE, Said.DOUBTFUL, Said.LOOK, Said.REFUSED, Said.NONE_SEEN)
"""An image counts as the first of these that is said of any of its hips."""
_OF_STUDY: Final = (
    Said.DEFINITE,
    Said.DOUBTFUL,
    Said.LOOK,
    Said.ELSEWHERE,
    Said.NONE_SEEN,
    Said.REFUSED,
)
"""A study counts as the first of these: one image that was read outweighs one that was refused."""


@dataclass(frozen=True, slots=True)
class Scores:
    """From which thresholds on, downwards, more is said. None: at no threshold.

    ``suspected`` is the highest ``doubtful_from`` with which a fracture is suspected, after both
    hips were judged together; ``definite`` the highest ``present_from`` with which it is definite.
    """

    suspected: float | None = None
    definite: float | None = None
    p: float | None = None  # the judged probability itself


@dataclass(frozen=True, slots=True)
class Unit:
    """An image, a hip or a study: what is true of it, and what was said."""

    name: str
    broken: bool
    said: Said
    scores: Scores
    patient: str  # never "": who is not known stands alone
    why: str = ""  # why it was refused, or is to be looked at
    case: Case | None = None  # of an image


@dataclass(frozen=True, slots=True)
class Counted:
    """All units, the rows that cannot be used, and whether patients are known."""

    images: tuple[Unit, ...]
    hips: tuple[Unit, ...]  # of images with a label by side
    studies: tuple[Unit, ...]  # where a study has several of the images
    unused: tuple[Unused, ...]
    patients_known: bool


def count(gathered: Gathered) -> Counted:
    """Return how each image, hip and study counts."""
    images, hips, unused = [], [], list(gathered.unused)
    for case in gathered.cases:
        patient = case.patient or f"nobody says: {case.name}"
        if case.reading is not None and _other_question(case.reading):
            why = "the models that read it look for no fracture"
            unused.append(Unused(case.label.at, case.name, why))
            continue
        images.append(_image(case, patient))
        hips += _hips(case, patient)
    known = all(case.patient for case in gathered.cases)
    return Counted(tuple(images), tuple(hips), tuple(_studies(images)), tuple(unused), known)


def _other_question(reading: Reading) -> bool:
    return any(hip.verdict is Verdict.OTHER_QUESTION for hip in reading.hips)


def _image(case: Case, patient: str) -> Unit:
    label, reading = case.label, case.reading
    if reading is None or reading.abstention is not None:
        said, why = _of_whole(reading, case.failure)
        scores = _scores_of(reading.abstention) if reading and reading.abstention else Scores()
        return Unit(case.name, label.broken, said, scores, patient, why, case)
    every = _judged(reading)
    counted = [hip for hip in every if _concerns(label, hip.side)]
    there = [hip for hip in counted if not label.broken or label.sides.get(hip.side, True)]
    said = _first(_OF_IMAGE, (hip.said for hip in there))
    if label.broken and said in {Said.REFUSED, Said.NONE_SEEN}:
        others = [hip for hip in every if hip not in there]
        if any(hip.said in SUSPECTED for hip in others):
            said = Said.ELSEWHERE
    why = "; ".join(dict.fromkeys(hip.why for hip in there if hip.said is said and hip.why))
    scores = Scores(
        _highest(hip.scores.suspected for hip in there),
        _highest(hip.scores.definite for hip in there),
        _highest(hip.scores.p for hip in there),
    )
    return Unit(case.name, label.broken, said, scores, patient, why, case)


def _concerns(label: Label, side: Side) -> bool:
    """Tell whether a label speaks of a hip: one without a side may be any."""
    return not label.sides or side in label.sides or side is Side.UNKNOWN


def _of_whole(reading: Reading | None, failure: str) -> tuple[Said, str]:
    if reading is None or reading.abstention is None:
        return Said.REFUSED, f"given up: {failure}"
    said = Said.LOOK if reading.attention is Attention.NOW else Said.REFUSED
    return said, reading.abstention.reason.value.replace("_", " ")


@dataclass(frozen=True, slots=True)
class _Hip:
    side: Side
    said: Said
    scores: Scores
    why: str


def _judged(reading: Reading) -> list[_Hip]:
    """Return what was said of each hip; one that was not found is to be looked at."""
    either = _one_of_them(reading.hips)
    made = []
    for hip in reading.hips:
        why = hip.abstention.reason.value.replace("_", " ") if hip.abstention else ""
        made.append(_Hip(hip.roi.side, _VERDICTS[hip.verdict], _scores(hip, either), why))
    if reading.missing is not None:
        made.append(_Hip(reading.missing, Said.LOOK, Scores(), "hip not found"))
    return made


def _fracture(hip: HipReading) -> Finding | None:
    return next((f for f in hip.findings if f.task is Task.HIP_FRACTURE), None)


def _alone(hip: HipReading) -> float | None:
    if finding := _fracture(hip):
        return finding.p_alone
    return hip.abstention.p_alone if hip.abstention else None


def _one_of_them(hips: Sequence[HipReading]) -> float | None:
    """Return P(either is broken), where the figures do not tell which: both are named then."""
    alone = {hip.roi.side: p for hip in hips if (p := _alone(hip)) is not None}
    if set(alone) != {Side.RIGHT, Side.LEFT}:
        return None
    together = judge_together(alone[Side.RIGHT], alone[Side.LEFT])
    return None if together.tells_apart else together.either


def _scores(hip: HipReading, either: float | None) -> Scores:
    finding = _fracture(hip)
    if finding is None:
        return _scores_of(hip.abstention, either)
    p, said = finding.p_positive, _VERDICTS[hip.verdict]
    suspected = max(p, either or 0.0)
    if said in SUSPECTED and suspected < finding.operating_point.doubtful_from:
        suspected = 1.0  # by a threshold of its class: at whatever operating point
    plain = not set(hip.caveats) - {Caveat.EITHER_HIP} and either is None
    return Scores(suspected, p if plain else None, p)


def _scores_of(abstention: Abstention | None, either: float | None = None) -> Scores:
    if abstention is None or abstention.p_judged is None:
        return Scores()
    return Scores(max(abstention.p_judged, either or 0.0), None, abstention.p_judged)


def _highest(values: Iterable[float | None]) -> float | None:
    return max((v for v in values if v is not None), default=None)


def _first(order: Sequence[Said], said: Iterable[Said]) -> Said:
    given = set(said)
    return next((one for one in order if one in given), Said.REFUSED)


def _hips(case: Case, patient: str) -> list[Unit]:
    """Return each hip with a label of its own."""
    found: dict[Side, _Hip] = {}
    whole = _Hip(Side.UNKNOWN, Said.REFUSED, Scores(), "no hip of this side")
    reading = case.reading
    if reading is None or reading.abstention is not None:
        said, why = _of_whole(reading, case.failure)
        whole = _Hip(Side.UNKNOWN, said, Scores(), why)
    else:
        found = {hip.side: hip for hip in _judged(reading)}
        if len(case.label.sides) == 1 and Side.UNKNOWN in found:
            found[next(iter(case.label.sides))] = found[Side.UNKNOWN]
    made = []
    for side, broken in case.label.sides.items():
        hip = found.get(side, whole)
        name = f"{case.name}, {side.word}"
        made.append(Unit(name, broken, hip.said, hip.scores, patient, hip.why))
    return made


def _studies(images: Sequence[Unit]) -> list[Unit]:
    """Return studies, where some study has several of the images."""
    by_study: dict[str, list[Unit]] = {}
    for unit in images:
        if unit.case is not None and unit.case.study:
            by_study.setdefault(unit.case.study, []).append(unit)
    if all(len(units) == 1 for units in by_study.values()):
        return []
    made = []
    for study, units in by_study.items():
        broken = any(unit.broken for unit in units)
        telling = [unit for unit in units if unit.broken] or units
        said = _first(_OF_STUDY, (unit.said for unit in telling))
        scores = Scores(
            _highest(unit.scores.suspected for unit in telling),
            _highest(unit.scores.definite for unit in telling),
            _highest(unit.scores.p for unit in telling),
        )
        made.append(Unit(study, broken, said, scores, units[0].patient))
    return made
