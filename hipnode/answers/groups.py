"""By station, sex, age group and model version: what was said, and how often it was right.

A group of a few hips makes no figure: `FEWEST` says how many it needs, and whoever shows it says
aloud that there are too few. The intervals take each hip as one by itself.

References
----------
DeGroot and Fienberg 1983, J R Stat Soc D 32:12 (reliability: what was foretold beside what was).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hipnode.answers.audit import findings
from hipnode.answers.right import Rate
from hipnode.domain import RAISED, Decision, Task
from hipnode.domain.opinions import Feedback

if TYPE_CHECKING:
    from hipnode.domain import Header
    from hipnode.storage import AuditEntry

FEWEST: Final = 10
"""So many hips a figure of a group needs."""
BINS: Final = 5
_MOST: Final = 60
"""So many groups are shown at most, of each kind those with the most hips."""
_AGES: Final = (18, 50, 65, 80)
Group = tuple[str, str]
"""What it is a group of (station, sex, age, model), and which."""


@dataclass(frozen=True, slots=True)
class Said:
    """How many hips of a group were raised, and how many not assessed."""

    group: Group
    raised: Rate
    not_assessed: Rate


@dataclass(frozen=True, slots=True)
class Known:
    """A hip of which somebody has said what is there, with what was known of it."""

    given: Feedback
    p: float | None = None  # P(fracture) as it was reported; None where its record is gone
    header: Header | None = None  # of the image that was read

    @property
    def is_broken(self) -> bool:
        """Whether there is a fracture."""
        return self.given.truth == "present"

    @property
    def was_raised(self) -> bool:
        """Whether the node asked for a look."""
        return self.given.said in RAISED


@dataclass(frozen=True, slots=True)
class Bin:
    """Hips of nearly the same P(fracture): its mean, and how many are broken."""

    low: float
    high: float
    mean: float
    broken: Rate

    @property
    def is_off(self) -> bool:
        """Whether what was foretold lies outside the interval of what was found."""
        return not self.broken.low <= self.mean <= self.broken.high


@dataclass(frozen=True, slots=True)
class Right:
    """How often a group's hips were judged right, and how far P(fracture) can be relied on."""

    group: Group
    known: int
    sensitivity: Rate
    specificity: Rate
    ppv: Rate
    npv: Rate
    bins: tuple[Bin, ...]


def said(entries: Iterable[AuditEntry], headers: Mapping[str, Header]) -> tuple[list[Said], int]:
    """Return of each group how many hips were raised and not assessed; and how many are left out.

    Parameters
    ----------
    entries
        Records of readings.
    headers
        Those of their images, by SOP Instance UID.
    """
    decided: dict[Group, list[bool | None]] = {}
    for entry in entries:
        header = headers.get(entry.record.sop_instance_uid)
        for row in findings(entry):
            if row["shadow"] or row["task"] not in {None, Task.HIP_FRACTURE}:
                continue
            decision = row["decision"]
            raised = decision != Decision.ABSENT if decision else None
            for group in _groups(header, row["model"], row["model_version"]):
                decided.setdefault(group, []).append(raised)
    found = []
    for group in _shown(decided):
        hips = decided[group]
        judged = [raised for raised in hips if raised is not None]
        missed = Rate(len(hips) - len(judged), len(hips))
        found.append(Said(group, Rate(sum(judged), len(judged)), missed))
    return found, len(decided) - len(found)


def right(hips: Sequence[Known]) -> tuple[list[Right], int]:
    """Return of all, and of each group, how often the node was right; and how many are left out."""
    grouped: dict[Group, list[Known]] = {}
    for hip in hips:
        for group in _groups(hip.header, hip.given.model, hip.given.model_version):
            grouped.setdefault(group, []).append(hip)
    shown = _shown(grouped)
    found = [_right(("all", ""), hips)] if hips else []
    return found + [_right(group, grouped[group]) for group in shown], len(grouped) - len(shown)


def _right(group: Group, hips: Sequence[Known]) -> Right:
    broken = [hip for hip in hips if hip.is_broken]
    whole = [hip for hip in hips if not hip.is_broken]
    raised = [hip for hip in hips if hip.was_raised]
    quiet = [hip for hip in hips if not hip.was_raised]
    return Right(
        group,
        len(hips),
        sensitivity=Rate(sum(hip.was_raised for hip in broken), len(broken)),
        specificity=Rate(sum(not hip.was_raised for hip in whole), len(whole)),
        ppv=Rate(sum(hip.is_broken for hip in raised), len(raised)),
        npv=Rate(sum(not hip.is_broken for hip in quiet), len(quiet)),
        bins=reliability(hips),
    )


def reliability(hips: Iterable[Known]) -> tuple[Bin, ...]:
    """Return of each fifth of P(fracture) how many hips it has, and how many of them are broken."""
    binned: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for hip in hips:
        if hip.p is not None:
            binned[min(BINS - 1, int(hip.p * BINS))].append((hip.p, hip.is_broken))
    return tuple(
        Bin(
            n / BINS,
            (n + 1) / BINS,
            sum(p for p, _ in each) / len(each) if each else 0.0,
            Rate(sum(so for _, so in each), len(each)),
        )
        for n, each in enumerate(binned)
    )


def _shown(groups: Mapping[Group, Sequence[object]]) -> list[Group]:
    """Return which groups are shown: of each kind the largest, in order of their names."""
    kinds = {kind for kind, _ in groups}
    largest = sorted(groups, key=lambda group: (-len(groups[group]), group))
    kept = {
        group
        for kind in kinds
        for group in [g for g in largest if g[0] == kind][: _MOST // len(kinds)]
    }
    return sorted(kept)


def _groups(header: Header | None, model: str | None, version: str | None) -> list[Group]:
    name = f"{model or ''} {version or ''}".strip()
    found = [("model", name)] if name else []
    if header is not None:
        found.append(("station", header.station_name or "(none)"))
        found.append(("sex", header.patient_sex or "(none)"))
        if header.age_years is not None:
            found.append(("age", _age_group(header.age_years)))
    return found


def _age_group(age: float) -> str:
    upper = next((n for n, edge in enumerate(_AGES) if age < edge), len(_AGES))
    if upper == 0:
        return f"< {_AGES[0]}"
    low = _AGES[upper - 1]
    return f"≥ {low}" if upper == len(_AGES) else f"{low}-{_AGES[upper] - 1}"
