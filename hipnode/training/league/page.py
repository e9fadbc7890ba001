"""A league's file as a page of tables (Markdown)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hipnode import DISCLAIMER

_HEAD: Final = """\
**{disclaimer}.** All of it is of phantoms, which show no person.

Profile `{profile}`. AUC (of three classes: their mean) over seeds, with the interval over test
patients (DeLong); the deviation is over seeds, and where there is one seed, its luck is in no
interval. Seconds are of one core. Heat: of hips with the finding, the share whose map is hottest on
the proximal femur, or within a quarter of the box of the fracture (at 64 px most maps have 2 x 2
places: little can be asked of them). The papers' figures are of other images, often few: they stand
here for the order. A network that alone falls short of what is known of the patient has hardly
learned to see at this size: what it gains from covariates is mostly what these tell by themselves,
and its place in an order says little of the paper's. *Elsewhere*: of people of another
hospital, sicker, and on another machine; *recalibrated*: by a logistic curve over the scores of 100
of these, judged on the others. Of boxes the mean Jaccard index stands for the
AUC; "adequate" shows the head's middle and the tips of both trochanters (Gale 2017). Readers are
judged by three classes, as CNN2 is."""

_FOUND: Final = """\
A difference is of mean AUC; its interval, and p, are over other patients and other seeds. *More
right*: of the seeds' mean probabilities, with McNemar's exact p, which is of these networks and
tells nothing of other seeds. Each p is adjusted over the findings that it was asked of (Holm).
*Reproduced*: the paper's way round, p below 0.05; *refuted*: the interval excludes what the paper
prints, or 0 where it prints nothing; a system of fewer than three seeds has *not enough power*."""

Column = tuple[str, Callable[[Mapping[str, Any]], object]]


def _number(key: str, digits: int = 3) -> Callable[[Mapping[str, Any]], str]:
    def cell(row: Mapping[str, Any]) -> str:
        value = row.get(key)
        return "-" if value is None else f"{value:.{digits}f}"

    return cell


def _interval(key: str, sign: str = "") -> Callable[[Mapping[str, Any]], str]:
    def cell(row: Mapping[str, Any]) -> str:
        if key not in row:
            return "-"
        value, low, high = (format(one, f"{sign}.3f") for one in row[key])
        return f"{value} [{low}, {high}]"

    return cell


def _p(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: "-" if row[key] is None else f"{row[key]:g}"


def _printed(row: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {value}" for name, value in row["printed"].items()) or "-"


def _columns(judged_by: str, *more: Column) -> tuple[Column, ...]:
    return (
        ("system", lambda row: row["system"]),
        ("seeds", lambda row: row["seeds"]),
        ("parameters", lambda row: f"{row['parameters']:,}"),
        ("px", lambda row: row["size_px"]),
        ("images", lambda row: f"{row['images']:,}"),
        ("s", lambda row: row["learned_s"]),
        ("ms a hip", lambda row: row["served_ms"]),
        (judged_by, _interval("value")),
        ("SD", _number("seed_sd")),
        *more,
        ("the paper", _printed),
    )


_ROWS: Final = {
    "findings": _columns(
        "AUC",
        ("accuracy", _number("accuracy")),
        ("calibration error", _number("calibration_error")),
        ("heat", _number("heat", 2)),
        ("AUC elsewhere", _number("elsewhere")),
        ("accuracy elsewhere", _number("accuracy_elsewhere")),
        ("the same, recalibrated", _number("recalibrated")),
    ),
    "boxes": _columns(
        "mean Jaccard",
        ("of broken hips", _number("fractured")),
        ("above 0.5", _number("above_half")),
        ("adequate", _number("adequate")),
    ),
    "gates": _columns(
        "AUC",
        ("accuracy", _number("accuracy")),
        ("precision", _number("precision")),
        ("recall", _number("recall")),
    ),
}
_YARDSTICKS: Final[tuple[Column, ...]] = (
    ("yardstick", lambda one: one["name"]),
    ("mean Jaccard", _interval("jaccard")),
    ("AUC", _interval("auc")),
    ("accuracy", _number("accuracy")),
    ("recall", _number("recall")),
    ("specificity", _number("specificity")),
)
_FINDINGS: Final[tuple[Column, ...]] = (
    ("paper", lambda one: one["paper"]),
    ("claim", lambda one: one["claim"]),
    ("there", lambda one: "-" if one["printed"] is None else f"{one['printed']:+.3f}"),
    ("here", _interval("difference", "+")),
    ("p", _p("p")),
    ("more right", lambda one: "-" if one["accuracy"] is None else f"{one['accuracy']:+.3f}"),
    ("p (McNemar)", _p("p_accuracy")),
    ("outcome", lambda one: one["outcome"] + (" (few seeds)" if one["few_seeds"] else "")),
)


def page(document: Mapping[str, Any]) -> str:
    """Return the tables of ``league.json``, in Markdown."""
    lines = [_HEAD.format(disclaimer=DISCLAIMER, profile=document["profile"])]
    for task, found in document["tasks"].items():
        shown = f"{found['patients']} test patients"
        if found["samples"] > found["patients"]:
            shown += ", both hips each"
        rows = _table(_without_empty(_ROWS[found["of"]], found["rows"]), found["rows"])
        lines += ["", f"## {task.capitalize()}: {shown}", "", *rows]
        if found["yardsticks"]:
            kept = _without_empty(_YARDSTICKS, found["yardsticks"])
            lines += ["", *_table(kept, found["yardsticks"])]
    if document["findings"]:
        lines += ["", "## What the papers found", "", _FOUND, ""]
        lines += _table(_FINDINGS, document["findings"])
    return "\n".join(lines) + "\n"


def _without_empty(
    columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]
) -> tuple[Column, ...]:
    """Return the columns that say something in one row at least."""
    return tuple(one for one in columns if any(one[1](row) != "-" for row in rows))


def _table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"| {' | '.join(name for name, _ in columns)} |",
        "| --- " * len(columns) + "|",
        *(f"| {' | '.join(str(cell(row)) for _, cell in columns)} |" for row in rows),
    ]
