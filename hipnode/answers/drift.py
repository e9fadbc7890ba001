"""Has something shifted? A rate of each day against that of a reference month.

A cumulative sum weighs, hip by hip, how much better a doubled (or halved) odds explains what came
than the reference does, and never falls below zero. It raises an alarm past `ALARM`. The reference
is known no better than its hips allow: the sums start from the ends of its 95 % interval, so that a
short month raises no alarm by itself. `tests/unit/test_drift.py` shows by simulation how rarely it
is wrong, and how soon it is right.

References
----------
Page 1954, Biometrika 41:100 (cumulative sums); Reynolds and Stoumbos 1999, J Qual Technol 31:87
(of proportions).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from math import log, sqrt
from typing import TYPE_CHECKING, Any, Final

from hipnode.answers.audit import findings
from hipnode.domain import Decision

if TYPE_CHECKING:
    from hipnode.storage import AuditEntry

ALARM: Final = 8.0
ODDS: Final = 2.0
"""How much the odds must grow, or shrink, to be looked for."""
ENOUGH: Final = 200
"""A reference of fewer hips is none."""
WATCHED: Final = ("raised", "doubtful", "not assessed")


@dataclass(frozen=True, slots=True)
class Day:
    """What a day had: so many hips, and so many of them so."""

    day: date
    count: int
    of: int


@dataclass(frozen=True, slots=True)
class Drift:
    """A rate over the days, and whether it has shifted."""

    reference: float
    reference_of: int
    rate: float  # of the days that were judged
    of: int
    alarm: date | None  # the day on which the sum passed the alarm
    side: str  # "more", "less" or ""


def judged(days: Sequence[Day], reference: Sequence[Day]) -> Drift | None:
    """Compare days with a reference; None where that has too few hips to be one.

    Parameters
    ----------
    days
        The days to be judged, oldest first.
    reference
        The days that say what is usual.
    """
    of = sum(day.of for day in reference)
    if of < ENOUGH:
        return None
    rate = sum(day.count for day in reference) / of
    spread = 1.96 * sqrt(max(rate * (1 - rate), 1 / of) / of)
    more = _sum(days, min(1 - 0.5 / of, rate + spread), ODDS)
    less = _sum(days, max(0.5 / of, rate - spread), 1 / ODDS)
    first = min((d for d in (more, less) if d is not None), default=None)
    read = sum(day.of for day in days)
    return Drift(
        reference=rate,
        reference_of=of,
        rate=sum(day.count for day in days) / read if read else 0.0,
        of=read,
        alarm=first,
        side="" if first is None else "more" if first == more else "less",
    )


def _sum(days: Sequence[Day], usual: float, odds: float) -> date | None:
    """Return the day on which the cumulative sum passes the alarm."""
    shifted = odds * usual / (1 - usual + odds * usual)
    yes, no = log(shifted / usual), log((1 - shifted) / (1 - usual))
    total = 0.0
    for day in days:
        total = max(0.0, total + day.count * yes + (day.of - day.count) * no)
        if total > ALARM:
            return day.day
    return None


def by_day(entries: Iterable[AuditEntry]) -> dict[str, list[Day]]:
    """Return the rates that are watched, `WATCHED`, by the day (UTC) on which hips were read.

    Of the hips that were judged for a fracture, how many were raised, how many were doubtful; of
    all, how many were not assessed. Shadows do not count.
    """
    so = {name: Counter[date]() for name in WATCHED}
    of = {name: Counter[date]() for name in WATCHED}
    for entry in entries:
        day = entry.at_utc.date()
        for row in findings(entry):
            for name, is_so in _said(row).items():
                of[name][day] += 1
                so[name][day] += is_so
    return {
        name: [Day(day, so[name][day], of[name][day]) for day in sorted(of[name])]
        for name in WATCHED
    }


def _said(row: dict[str, Any]) -> dict[str, bool]:
    if row["shadow"] or row["task"] not in {None, "hip_fracture"}:
        return {}
    if row["decision"]:
        return {
            "raised": row["decision"] != Decision.ABSENT.value,
            "doubtful": row["decision"] == Decision.DOUBTFUL.value,
            "not assessed": False,
        }
    return {"not assessed": True} if row["abstained"] else {}
