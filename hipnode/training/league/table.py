"""A league's results as one file (``league.json``) and as tables for people (``league.md``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from hipnode import DISCLAIMER
from hipnode.training.judge.heat import NAMES
from hipnode.training.league.cells import Cell, measured, write
from hipnode.training.league.findings import outcomes
from hipnode.training.league.yardsticks import three, yardsticks
from hipnode.training.recipe.published import PUBLISHED
from hipnode.training.stats.paired import Area, mean_area

DOCUMENT: Final = "league.json"
PAGE: Final = "league.md"
_HEAD: Final = """\
**{disclaimer}.** All of it is of phantoms, which show no person.

Profile `{profile}`. AUC (of three classes: their mean) over seeds, with the interval over test
patients (DeLong); the deviation is over seeds, and where there is one seed, its luck is in no
interval. Seconds are of one core. Heat: of hips with the finding, the share whose map is hottest on
the proximal femur, or within a quarter of the box of the fracture (at 64 px most maps have 2 x 2
places: little can be asked of them). The papers' figures are of other images, often few: they stand
here for the order. A network that alone falls short of what is known of the patient has hardly
learned to see at this size: what it gains from covariates is mostly what these tell by themselves,
and its place in an order says little of the paper's. Of boxes the mean Jaccard index stands for the
AUC; "adequate" shows the head's middle and the tips of both trochanters (Gale 2017)."""

_COMMON: Final = ("system", "seeds", "parameters", "px", "images", "s", "ms a hip")
_CLASSES: Final = (
    "AUC", "SD", "accuracy", "calibration error", "heat", "the paper: AUC, accuracy",
)  # fmt: skip
_BOXES: Final = (
    "mean Jaccard", "SD", "of broken hips", "above 0.5", "adequate", "the paper",
)  # fmt: skip
_FINDING: Final = ("paper", "claim", "difference of AUC there", "here", "p (Holm)", "outcome")

Results = Sequence[Mapping[str, Any]]


def gather(
    every: Sequence[Cell], found: Mapping[str, Mapping[str, Any] | None], folder: Path
) -> dict[str, Any]:
    """Return all that the tables say, and write it to ``league.json`` and ``league.md``.

    Parameters
    ----------
    every
        The league's cells.
    found
        By a cell's folder, what was found; None where it was not played. Without one that was,
        nothing is written, and the answer is empty.
    folder
        The league's.
    """
    cells = [cell for cell in every if found.get(cell.folder)]
    if not cells:
        return {}
    areas: dict[str, dict[str, list[Area]]] = defaultdict(lambda: defaultdict(list))
    figures: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    patients: dict[str, int] = {}
    for cell in cells:
        result = found[cell.folder] or {}
        area, whose = measured(folder / result["report"], cell)
        areas[cell.task.name][cell.system].append(area)
        figures[cell.task.name, cell.system].append(result)
        patients[cell.task.name] = len(set(whose))
    document: dict[str, Any] = {"profile": cells[0].profile.name, "tasks": {}}
    mean = {task: {n: mean_area(a) for n, a in rows.items()} for task, rows in areas.items()}
    tasks = {cell.task.name: cell.task for cell in cells}
    for task, rows in mean.items():
        row = _boxes_row if tasks[task].of_boxes else _row
        document["tasks"][task] = {
            "patients": patients[task],
            "rows": [
                row(name, area, areas[task][name], figures[task, name])
                for name, area in sorted(rows.items(), key=lambda one: -one[1].value)
            ],
            "yardsticks": yardsticks(tasks[task], folder),
        }
    document["findings"] = [
        {
            "paper": one.finding.paper,
            "claim": one.finding.claim,
            "printed": one.finding.printed,
            "difference": three(one.difference),
            "p": float(f"{one.p:.2g}"),
            "outcome": one.word,
        }
        for one in outcomes(mean)
    ]
    write(folder / DOCUMENT, document)
    write(folder / PAGE, page(document))
    return document


def _common(name: str, seeds: Sequence[Area], results: Results) -> dict[str, Any]:
    first, values = results[0], [one.value for one in seeds]
    return {
        "system": name,
        "seeds": len(seeds),
        "parameters": first["parameters"],
        "size_px": first["size_px"],
        "images": first["images"],
        "learned_s": round(float(np.mean([one["learned_s"] for one in results]))),
        "served_ms": first["served_ms"],
        "seed_sd": round(float(np.std(values, ddof=1)), 3) if len(values) > 1 else None,
    }


def _over_seeds(results: Results, figure: str) -> float | None:
    values = [one["figures"].get(figure, np.nan) for one in results]
    return None if np.isnan(values).any() else round(float(np.mean(values)), 3)


def _row(name: str, area: Area, seeds: Sequence[Area], results: Results) -> dict[str, Any]:
    found, printed = area.estimate, PUBLISHED.get(name, {})
    heat = (_over_seeds(results, figure) for figure in NAMES.values())
    return _common(name, seeds, results) | {
        "auc": three(found),
        "accuracy": _over_seeds(results, "accuracy"),
        "calibration_error": _over_seeds(results, "calibration error"),
        "heat": next((one for one in heat if one is not None), None),
        "beyond_chance": found.low > 0.5,
        "printed_auc": printed.get("AUC, positive", printed.get("AUC, average", "")),
        "printed_accuracy": printed.get("accuracy", printed.get("F1, micro", "")),
    }


def _boxes_row(name: str, area: Area, seeds: Sequence[Area], results: Results) -> dict[str, Any]:
    printed = PUBLISHED.get(name, {})
    return _common(name, seeds, results) | {
        "jaccard": three(area.estimate),
        "fractured": _over_seeds(results, "mean Jaccard, fractured"),
        "above_half": _over_seeds(results, "Jaccard above 0.5"),
        "adequate": _over_seeds(results, "adequate boxes"),
        "printed_jaccard": printed.get("mean Jaccard", ""),
        "printed_adequate": printed.get("adequate boxes", ""),
    }


def page(document: Mapping[str, Any]) -> str:
    """Return the tables of ``league.json``, in Markdown."""
    lines = [_HEAD.format(disclaimer=DISCLAIMER, profile=document["profile"])]
    for task, found in document["tasks"].items():
        of_boxes = any("jaccard" in row for row in found["rows"])
        hips = "both hips" if of_boxes else "one hip"
        lines += ["", f"## {task.capitalize()}: {found['patients']} test patients, {hips} each", ""]
        if of_boxes:
            lines += _table((*_COMMON, *_BOXES), [_boxes_cells(row) for row in found["rows"]])
        else:
            lines += _table((*_COMMON, *_CLASSES), [_cells(row) for row in found["rows"]])
        if found["yardsticks"]:
            lines += ["", *_yardsticks_of(found["yardsticks"])]
    findings = [
        (
            one["paper"], one["claim"], f"{one['printed']:+.3f}",
            _interval(one["difference"], "+"), f"{one['p']:g}", one["outcome"],
        )
        for one in document["findings"]
    ]  # fmt: skip
    if findings:
        lines += ["", "## What the papers found", "", *_table(_FINDING, findings)]
    return "\n".join(lines) + "\n"


def _yardsticks_of(yardsticks: Results) -> list[str]:
    if "jaccard" in yardsticks[0]:
        boxes = [(one["name"], _interval(one["jaccard"])) for one in yardsticks]
        return _table(("yardstick", "mean Jaccard"), boxes)
    known = [(one["name"], _interval(one["auc"]), _number(one["accuracy"])) for one in yardsticks]
    return _table(("yardstick", "AUC", "accuracy"), known)


def _common_cells(row: Mapping[str, Any], judged_by: str) -> tuple[object, ...]:
    return (
        row["system"], row["seeds"], f"{row['parameters']:,}", row["size_px"], f"{row['images']:,}",
        row["learned_s"], row["served_ms"], _interval(row[judged_by]), _number(row["seed_sd"]),
    )  # fmt: skip


def _cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    printed = ", ".join(filter(None, (row["printed_auc"], row["printed_accuracy"])))
    return (
        *_common_cells(row, "auc"), _number(row["accuracy"]), _number(row["calibration_error"]),
        _number(row["heat"], 2), printed or "-",
    )  # fmt: skip


def _boxes_cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    printed = "; ".join(
        f"{name} {value}"
        for name, value in (
            ("Jaccard", row["printed_jaccard"]),
            ("adequate", row["printed_adequate"]),
        )
        if value
    )
    return (
        *_common_cells(row, "jaccard"), _number(row["fractured"]), _number(row["above_half"]),
        _number(row["adequate"]), printed or "-",
    )  # fmt: skip


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(three: Sequence[float], sign: str = "") -> str:
    value, low, high = (format(one, f"{sign}.3f") for one in three)
    return f"{value} [{low}, {high}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        "| --- " * len(head) + "|",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]
