"""What the page shows: counts, shares with intervals, curves and groups of units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hipnode.domain import Side
from hipnode.training.stats import estimates as est
from hipnode.training.stats.estimates import Estimate, Share
from hipnode.validation.outcomes import SUSPECTED, Said, Unit
from hipnode.validation.thresholds import too_few

_BINS: Final = np.array([0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0])


@dataclass(frozen=True)
class Row:
    """Units of one truth: how many, and what was said of them."""

    total: int
    counts: dict[Said, int]
    shares: dict[str, Share]


@dataclass(frozen=True)
class Curves:
    """ROC and precision-recall of the units that have a probability; ``unscored`` have none."""

    auc: Estimate
    average_precision: float
    false: NDArray[np.float64]
    true: NDArray[np.float64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    scored: tuple[int, int]  # broken, intact
    unscored: tuple[int, int]


@dataclass(frozen=True)
class Bin:
    """Units of about one probability: what was said, and how often it was so."""

    said: float
    found: Share


@dataclass(frozen=True)
class Calibration:
    """How often what was said to be likely was so."""

    bins: tuple[Bin, ...]
    error: float
    count: int


@dataclass(frozen=True)
class Part:
    """One kind of unit (images, hips or studies), with all that can be said of it."""

    name: str
    broken: Row
    intact: Row
    too_few: str  # why there are no curves
    curves: Curves | None
    calibration: Calibration | None


@dataclass(frozen=True)
class Group:
    """Units that have something in common."""

    name: str
    broken: Row
    intact: Row


def part(name: str, units: Sequence[Unit]) -> Part:
    """Return everything about one kind of unit."""
    why = too_few(units) or too_few(units, with_probability=True)
    return Part(
        name,
        row([unit for unit in units if unit.broken]),
        row([unit for unit in units if not unit.broken]),
        why,
        None if why else curves(units),
        None if why else calibration(units),
    )


def row(units: Sequence[Unit]) -> Row:
    """Return counts and shares of units of one truth."""
    counts = Counter(unit.said for unit in units)
    patients = [unit.patient for unit in units]
    asked: dict[str, Callable[[Unit], bool]] = {
        "suspected": lambda unit: unit.said in SUSPECTED,
        "definite": lambda unit: unit.said is Said.DEFINITE,
        "suspected or look now": lambda unit: unit.said in SUSPECTED | {Said.LOOK},
        "none seen": lambda unit: unit.said is Said.NONE_SEEN,
        "refused": lambda unit: unit.said is Said.REFUSED,
        "any alarm": lambda unit: unit.said in SUSPECTED | {Said.ELSEWHERE},
    }
    shares = {
        name: est.share([test(unit) for unit in units], patients) for name, test in asked.items()
    }
    return Row(len(units), {said: counts.get(said, 0) for said in Said}, shares)


def _scored(units: Sequence[Unit]) -> tuple[NDArray[np.bool_], NDArray[np.float64], list[str]]:
    kept = [(u.broken, u.scores.suspected, u.patient) for u in units]
    some = [(broken, score, who) for broken, score, who in kept if score is not None]
    broken = np.array([one for one, _, _ in some], bool)
    return broken, np.array([score for _, score, _ in some], float), [who for _, _, who in some]


def curves(units: Sequence[Unit]) -> Curves | None:
    """Return the curves over all thresholds; None where too few have a probability."""
    positive, score, patients = _scored(units)
    broken = int(positive.sum())
    intact = len(positive) - broken
    all_broken = sum(unit.broken for unit in units)
    unscored = (all_broken - broken, len(units) - all_broken - intact)
    if not broken or not intact:
        return None
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    hits = np.cumsum(positive[order])[last]
    alarms = last + 1 - hits
    precision, recall = hits / (hits + alarms), hits / broken
    steps = np.diff(np.concatenate([[0.0], recall]))
    return Curves(
        auc=est.auc(positive, score, patients),
        average_precision=float((steps * precision).sum()),
        false=np.concatenate([[0.0], alarms / intact]),
        true=np.concatenate([[0.0], recall]),
        recall=recall,
        precision=precision,
        scored=(broken, intact),
        unscored=unscored,
    )


def calibration(units: Sequence[Unit]) -> Calibration | None:
    """Return how well the judged probability fits; None where no unit has one."""
    some = [unit for unit in units if unit.scores.p is not None]
    if not some:
        return None
    p = np.array([unit.scores.p for unit in some], float)
    truth = np.array([unit.broken for unit in some], bool)
    place = np.clip(np.searchsorted(_BINS, p, side="right") - 1, 0, len(_BINS) - 2)
    bins = tuple(
        Bin(
            float(p[place == index].mean()),
            est.share(
                list(truth[place == index]),
                [unit.patient for unit, here in zip(some, place, strict=True) if here == index],
            ),
        )
        for index in np.unique(place)
    )
    return Calibration(bins, est.calibration_error(p, truth), len(some))


# --- groups -----------------------------------------------------------------------------------


def _age(unit: Unit) -> str:
    years = unit.case.age_years if unit.case else None
    if years is None:
        return ""
    edges = (50, 65, 75, 85)
    names = ("under 50", "50 to 64", "65 to 74", "75 to 84", "85 and over")
    return names[sum(years >= edge for edge in edges)]


_NONE: Final = "no fracture"
_VIEWS: Final = {"pelvis_ap": "pelvis AP", "hip_ap": "one hip or femur AP", "other": "other"}


def _view(unit: Unit) -> str:
    reading = unit.case.reading if unit.case else None
    return _VIEWS.get(reading.view.value, "") if reading and reading.view else ""


def _sides(unit: Unit) -> str:
    broken = [side for side, is_so in unit.case.label.sides.items() if is_so] if unit.case else []
    if not broken:
        return "" if unit.broken else _NONE
    return " and ".join(side.word.lower() for side in Side if side in broken) + " broken"


def _kind(unit: Unit) -> str:
    kind = unit.case.label.kind if unit.case else ""
    return kind if unit.broken else _NONE


DIMENSIONS: Final[dict[str, Callable[[Unit], str]]] = {
    "Station": lambda unit: unit.case.station if unit.case else "",
    "Age": _age,
    "Sex": lambda unit: {"F": "women", "M": "men"}.get(unit.case.sex if unit.case else "", ""),
    "View, as the gate tells it": _view,
    "View, as the labels have it": lambda unit: unit.case.view if unit.case else "",
    "Broken side": _sides,
    "Fracture, as the labels have it": _kind,
}
"""What groups are made by. The name of a group is "" where nobody says."""


def groups(images: Sequence[Unit]) -> dict[str, list[Group]]:
    """Return the groups of each dimension; one in which nothing is known is left out."""
    found = {}
    for name, key in DIMENSIONS.items():
        by: dict[str, list[Unit]] = {}
        for unit in images:
            by.setdefault(key(unit), []).append(unit)
        if set(by) - {"", _NONE}:
            found[name] = [_group(one or "not known", by[one]) for one in sorted(by, key=_last)]
    return found


def _last(name: str) -> tuple[bool, bool, str]:
    return not name, not name.startswith("under"), name


def _group(name: str, units: Sequence[Unit]) -> Group:
    return Group(name, row([u for u in units if u.broken]), row([u for u in units if not u.broken]))


def reasons(images: Sequence[Unit]) -> list[tuple[str, str, int, int]]:
    """Return why images were refused or are to be looked at: word, reason, broken, intact."""
    counts: dict[tuple[str, str], list[int]] = {}
    for unit in images:
        if unit.said in {Said.LOOK, Said.REFUSED} and unit.why:
            tally = counts.setdefault((unit.said.value, unit.why), [0, 0])
            tally[0 if unit.broken else 1] += 1
    return [(*key, *tally) for key, tally in sorted(counts.items(), key=_most)]  # type: ignore[misc]


def _most(item: tuple[Any, list[int]]) -> int:
    return -sum(item[1])
