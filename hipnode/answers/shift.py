"""Do the newest images look like those of the reference month? Values against values.

A number is compared by Kolmogorov and Smirnov's test, a word (a station, a sex) by chi-square; both
also by the population stability index, which says how much has moved where the test says that it
has. An alarm needs both: with many images the test alone sees what is of no matter, with few the
index alone sees noise. `tests/unit/test_shift.py` shows by simulation how rarely it is wrong, and
how soon it is right.

References
----------
Smirnov 1948, Ann Math Stat 19:279 (two samples); Siddiqi 2006, Credit Risk Scorecards, ch. 9 (the
index, and 0.1 and 0.25 as its marks); Shewhart 1931 (control limits at three standard errors).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import log, sqrt
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.special import chdtrc, kolmogorov

from hipnode.answers.audit import findings
from hipnode.domain import Task

if TYPE_CHECKING:
    from hipnode.domain import Header
    from hipnode.storage import AuditEntry

RECENT_DAYS: Final = 7
ENOUGH: Final = 200
"""So many values a reference has at least."""
FEW: Final = 50
"""So many the newest days have at least."""
P: Final = 1e-5
PSI: Final = 0.2
LASTS_P: Final = 0.01
LASTS_PSI: Final = 0.1
"""An alarm lasts while these are passed: else one shift would be told of time and again."""
_BINS: Final = 10
DISTANCE: Final = "distance from the training images"
_NUMBERS: Final = ("P(fracture)", DISTANCE, "age", "brightness", "contrast", "pixel spacing")
_WORDS: Final = ("station", "sex")
FEATURES: Final = (*_NUMBERS, *_WORDS)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one image, or of one of its hips, on a day."""

    day: date
    feature: str
    value: float | str


@dataclass(frozen=True, slots=True)
class Shift:
    """How a feature of the newest days differs from the reference.

    ``usual`` and ``now`` are means with ``low`` and ``high`` as the control limits of ``now``; of
    words there are none, and ``now`` is the share of the one that has moved most, ``which``.
    """

    feature: str
    reference_of: int
    of: int
    p: float
    psi: float
    usual: float
    now: float
    low: float
    high: float
    which: str = ""

    @property
    def is_alarm(self) -> bool:
        """Whether it is no noise, and matters."""
        return self.p < P and self.psi > PSI

    @property
    def lasts(self) -> bool:
        """Whether an alarm that has begun is not yet over."""
        return self.p < LASTS_P and self.psi > LASTS_PSI

    @property
    def is_outside(self) -> bool:
        """Whether ``now`` lies outside the control limits, by more than rounding."""
        tolerance = 1e-6 * max(abs(self.usual), 1e-6)
        return not self.low - tolerance <= self.now <= self.high + tolerance


def seen(entry: AuditEntry, header: Header | None) -> list[Seen]:
    """Return what an audit record of a reading and its image's header say."""
    day, detail = entry.at_utc.date(), entry.record.detail
    found = [
        Seen(day, "P(fracture)", float(row["p_positive"]))
        for row in findings(entry)
        if row["task"] == Task.HIP_FRACTURE and not row["shadow"] and row["p_positive"] is not None
    ]
    found += [  # records of earlier releases do not have it, nor have models without an embedding
        Seen(day, DISTANCE, float(said["distance"]))
        for hip in detail.get("hips", [])
        for said in hip.get("findings", [])
        if said.get("task") == Task.HIP_FRACTURE
        and not said.get("shadow")
        and said.get("distance") is not None
    ]
    measured = detail.get("measured") or {}
    found += [
        Seen(day, name.replace("_", " "), float(measured[name]))
        for name in ("brightness", "contrast", "pixel_spacing")
        if name in measured
    ]
    if header is not None:
        if header.age_years is not None:
            found.append(Seen(day, "age", header.age_years))
        found.append(Seen(day, "station", header.station_name or "(none)"))
        found.append(Seen(day, "sex", header.patient_sex or "(none)"))
    return found


def shifts(values: Iterable[Seen], reference_until: date, today: date) -> dict[str, Shift | None]:
    """Compare the newest days with the days before ``reference_until``; None where too few."""
    old: dict[str, list[Any]] = {name: [] for name in FEATURES}
    new: dict[str, list[Any]] = {name: [] for name in FEATURES}
    since = today - timedelta(days=RECENT_DAYS)
    for each in values:
        if each.day < reference_until:
            old[each.feature].append(each.value)
        elif each.day > since:
            new[each.feature].append(each.value)
    return {
        name: (numbers if name in _NUMBERS else words)(name, old[name], new[name])
        if len(old[name]) >= ENOUGH and len(new[name]) >= FEW
        else None
        for name in FEATURES
    }


def numbers(name: str, reference: Sequence[float], newest: Sequence[float]) -> Shift:
    """Compare two samples of a number."""
    old, new = np.sort(np.asarray(reference)), np.sort(np.asarray(newest))
    both = np.concatenate([old, new])
    apart = np.abs(
        np.searchsorted(old, both, "right") / old.size
        - np.searchsorted(new, both, "right") / new.size
    ).max()
    effective = sqrt(old.size * new.size / (old.size + new.size))
    p = float(kolmogorov((effective + 0.12 + 0.11 / effective) * apart))
    edges = np.unique(np.quantile(old, np.linspace(0, 1, _BINS + 1)[1:-1]))
    index = _psi(
        np.bincount(np.searchsorted(edges, old, "right"), minlength=edges.size + 1),
        np.bincount(np.searchsorted(edges, new, "right"), minlength=edges.size + 1),
    )
    mean, spread = float(old.mean()), 3 * float(old.std()) / sqrt(new.size)
    now = float(new.mean())
    return Shift(name, old.size, new.size, p, index, mean, now, mean - spread, mean + spread)


def words(name: str, reference: Sequence[str], newest: Sequence[str]) -> Shift:
    """Compare two samples of a word."""
    old, new = Counter(reference), Counter(newest)
    kinds = sorted(set(old) | set(new))
    a = np.array([old[k] for k in kinds], dtype=float)
    b = np.array([new[k] for k in kinds], dtype=float)
    share = (a + b) / (a.sum() + b.sum())
    expected = np.stack([share * a.sum(), share * b.sum()])
    statistic = float((((np.stack([a, b]) - expected) ** 2) / expected).sum())
    p = float(chdtrc(len(kinds) - 1, statistic)) if len(kinds) > 1 else 1.0
    moved = int(np.abs(b / b.sum() - a / a.sum()).argmax())
    usual, now = float(a[moved] / a.sum()), float(b[moved] / b.sum())
    spread = 3 * sqrt(usual * (1 - usual) / b.sum())
    limits = max(0.0, usual - spread), min(1.0, usual + spread)
    psi = _psi(a, b)
    return Shift(name, int(a.sum()), int(b.sum()), p, psi, usual, now, *limits, kinds[moved])


def _psi(old: Any, new: Any) -> float:
    """Return the population stability index of counts; half a case stands for none."""
    a = np.maximum(old, 0.5) / np.maximum(old, 0.5).sum()
    b = np.maximum(new, 0.5) / np.maximum(new, 0.5).sum()
    return float(sum((q - p) * log(q / p) for p, q in zip(a, b, strict=True)))


def histogram(values: Iterable[Seen], feature: str = "P(fracture)") -> list[tuple[str, int]]:
    """Return how many values lie in each tenth from 0 to 1."""
    counted = Counter(min(9, int(float(v.value) * 10)) for v in values if v.feature == feature)
    return [(f"{n / 10:.1f}", counted[n]) for n in range(10)]
