"""Was it right? What was said of a hip, what people say of that, and the figures that follow.

References
----------
Clopper and Pearson 1934, Biometrika 26:404 (the interval of a proportion).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from scipy.special import betaincinv

from hipnode.answers.audit import findings
from hipnode.answers.outcome import newest
from hipnode.domain import RAISED, Decision, Side, Task
from hipnode.domain.opinions import Feedback, Opinion, OpinionSource
from hipnode.errors import InputRefused
from hipnode.tables import Table

if TYPE_CHECKING:
    from hipnode.storage import AuditEntry

COLUMNS: Final = (
    "given_utc", "study_instance_uid", "side", "task", "opinion", "said", "truth", "model",
    "model_version", "model_digest", "source", "given_by", "comment",
)  # fmt: skip
TRUTHS: Final = ("present", "absent")
_YES: Final = frozenset({"present", "yes", "true", "1", "fracture"})
_NO: Final = frozenset({"absent", "no", "false", "0", "none"})


@dataclass(frozen=True, slots=True)
class Said:
    """What the node said of a hip, for one question."""

    side: str
    task: str
    decision: str
    model: str
    model_version: str
    model_digest: str


def said(entries: Iterable[AuditEntry], reported: Iterable[str]) -> dict[tuple[str, str], Said]:
    """Return what was reported last of each hip and question, by side and task."""
    found: dict[tuple[str, str], Said] = {}
    for entry in newest(entries, reported):
        for row in findings(entry):
            if row["task"] and row["decision"] and not row["shadow"]:
                found[row["side"], row["task"]] = Said(
                    row["side"],
                    row["task"],
                    row["decision"],
                    row["model"] or "",
                    row["model_version"] or "",
                    row["model_digest"] or "",
                )
    return found


def opinion_of(decision: str, truth: str) -> Opinion:
    """Return whether a decision agrees with what is there; a doubtful one asked for a look."""
    raised = decision in RAISED
    return Opinion.AGREE if raised == (truth == "present") else Opinion.DISAGREE


def truth_of(decision: str, opinion: Opinion) -> str:
    """Return what is there, where somebody agrees or disagrees with a decision."""
    if opinion is Opinion.UNSURE:
        return ""
    raised = decision in RAISED
    return "present" if raised == (opinion is Opinion.AGREE) else "absent"


def missed(given: Feedback) -> str:
    """Return how the node was wrong: false positive, false negative, or "" where it was not."""
    raised = given.said in RAISED
    if not given.truth or raised == (given.truth == "present"):
        return ""
    return "false positive" if raised else "false negative"


# --- a file of the RIS ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Truth:
    """A row of a file: what the final report says of a hip."""

    line: int
    accession_number: str
    side: str
    task: str
    truth: str
    comment: str


def truths(table: Table) -> Iterator[Truth]:
    """Yield the rows of a table: accession, side, truth, and (optional) task, comment.

    Raises
    ------
    InputRefused
        If a column is missing, or a value is none that can be meant; with its line.
    """
    table.need("accession", "side", "truth")
    for row in table.whole():
        accession, side_cell, truth, task, comment = (
            row.cells.get(name, "") for name in ("accession", "side", "truth", "task", "comment")
        )
        side, task = Side.meant_by(side_cell), task or Task.HIP_FRACTURE.value
        if side is None or truth.lower() not in _YES | _NO or not accession:
            raise InputRefused(
                f"Line {row.line}: each row has an accession number; side is R or L, "
                "truth is yes or no."
            )
        if task not in {each.value for each in Task}:
            raise InputRefused(f"Line {row.line}: there is no task {task[:40]!r}.")
        present = "present" if truth.lower() in _YES else "absent"
        yield Truth(row.line, accession, side.value, task, present, comment[:500])


# --- figures --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rate:
    """A proportion with its exact 95 % interval."""

    count: int
    of: int

    @property
    def value(self) -> float:
        """The proportion; 0 of nothing."""
        return self.count / self.of if self.of else 0.0

    @property
    def low(self) -> float:
        """The interval's lower end."""
        if not self.count:
            return 0.0
        return float(betaincinv(self.count, self.of - self.count + 1, 0.025))

    @property
    def high(self) -> float:
        """The interval's upper end."""
        if self.count >= self.of:
            return 1.0
        return float(betaincinv(self.count + 1, self.of - self.count, 0.975))


def agreement(given: Iterable[Feedback]) -> list[dict[str, Any]]:
    """Return, by task and model version, how often the node was right where the truth is known."""
    cells: dict[tuple[str, str, str], Counter[tuple[bool, bool]]] = {}
    for each in given:
        if each.truth:
            raised = each.said in RAISED
            key = each.task, each.model, each.model_version
            cells.setdefault(key, Counter())[raised, each.truth == "present"] += 1
    return [
        {
            "task": task,
            "model": model,
            "version": version,
            "known": counted.total(),
            "sensitivity": Rate(counted[True, True], counted[True, True] + counted[False, True]),
            "specificity": Rate(
                counted[False, False], counted[False, False] + counted[True, False]
            ),
            "ppv": Rate(counted[True, True], counted[True, True] + counted[True, False]),
            "npv": Rate(counted[False, False], counted[False, False] + counted[False, True]),
        }
        for (task, model, version), counted in sorted(cells.items())
    ]


def volume(entries: Iterable[AuditEntry]) -> dict[str, Any]:
    """Return how many hips were read, with which decisions, and why others were not."""
    decided: dict[tuple[str, str, str], Counter[str]] = {}
    not_assessed: Counter[str] = Counter()
    for entry in entries:
        for row in findings(entry):
            if row["shadow"]:
                continue
            if row["task"] and row["decision"]:
                key = row["task"], row["model"] or "", row["model_version"] or ""
                decided.setdefault(key, Counter())[row["decision"]] += 1
            elif row["abstained"]:
                not_assessed[row["abstained"]] += 1
    return {
        "decisions": [
            {
                "task": task,
                "model": model,
                "version": version,
                "hips": counted.total(),
                **{d.value: Rate(counted[d.value], counted.total()) for d in Decision},
            }
            for (task, model, version), counted in sorted(decided.items())
        ],
        "not_assessed": not_assessed.most_common(),
    }


def record_detail(each: Feedback) -> dict[str, Any]:
    """Return an opinion as the detail of its record on the audit log.

    What a person wrote for this node is in it; what a file says of a patient is not.
    """
    comment = {"comment": each.comment} if each.source is OpinionSource.PAGE else {}
    return comment | {
        "side": each.side,
        "task": each.task,
        "opinion": each.opinion.value,
        "said": each.said,
        "truth": each.truth,
        "model": each.model,
        "model_version": each.model_version,
        "model_digest": each.model_digest,
        "source": each.source.value,
    }


def document(each: Feedback) -> Mapping[str, Any]:
    """Return an opinion as plain values; the keys are `COLUMNS`."""
    row = {name: getattr(each, name) for name in COLUMNS}
    return row | {
        "given_utc": each.given_utc.isoformat(timespec="seconds"),
        "opinion": each.opinion.value,
        "source": each.source.value,
    }
