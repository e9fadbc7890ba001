"""A league's results as one file (``league.json``) and as tables for people (``league.md``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hipnode import DISCLAIMER
from hipnode.phantom import read_manifest
from hipnode.training.judge.heat import NAMES
from hipnode.training.league.cells import Cell, predictions, write
from hipnode.training.league.findings import outcomes
from hipnode.training.recipe.published import PUBLISHED
from hipnode.training.stats.paired import Area, macro_area, mean_area

DOCUMENT: Final = "league.json"
PAGE: Final = "league.md"
_DRAWN: Final = ("cortex_t", "trabecular_t", "singh", "size")
_KNOWN: Final = {
    "osteoporosis": ("age", "sex", "bmi", "hip_fracture_history"),
    "risk": ("vitamin_d_ng_ml", "calcium_mg_dl", "height_m", "alm_bmi"),
}
_CLASSES: Final = {"osteoporosis": ("0", "1"), "risk": ("low", "moderate", "high")}
_SHOWN: Final = {"osteoporosis": _DRAWN, "risk": ("t_score",)}
"""What a perfect network would see: the latents; of a calibrated scan, T itself."""

_HEAD: Final = """\
**{disclaimer}.** All of it is of phantoms, which show no person.

Profile `{profile}`. AUC (of three classes: their mean) over seeds, with the interval over test
patients (DeLong); the deviation is over seeds, and where there is one seed, its luck is in no
interval. Seconds are of one core. Heat: of hips with the finding, the share whose map is hottest on
the proximal femur, or within a quarter of the box of the fracture (at 64 px most maps have 2 x 2
places: little can be asked of them). The papers' figures are of other images, often few: they stand
here for the order. A network that alone falls short of what is known of the patient has hardly
learned to see at this size: what it gains from covariates is mostly what these tell by themselves,
and its place in an order says little of the paper's."""

_ROW: Final = (
    "system", "seeds", "parameters", "px", "images", "s", "ms a hip", "AUC", "SD", "accuracy",
    "calibration error", "heat", "the paper: AUC, accuracy",
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
        actual, p, whose = predictions(folder / result["report"], cell.recipe.labels)
        areas[cell.task.name][cell.system].append(macro_area(actual, p, whose))
        figures[cell.task.name, cell.system].append(result)
        patients[cell.task.name] = len(set(whose))
    document: dict[str, Any] = {"profile": cells[0].profile.name, "tasks": {}}
    mean = {task: {n: mean_area(a) for n, a in rows.items()} for task, rows in areas.items()}
    for task, rows in mean.items():
        document["tasks"][task] = {
            "patients": patients[task],
            "rows": [
                _row(name, area, areas[task][name], figures[task, name])
                for name, area in sorted(rows.items(), key=lambda one: -one[1].value)
            ],
            "yardsticks": _yardsticks(task, cells, folder),
        }
    document["findings"] = [
        {
            "paper": one.finding.paper,
            "claim": one.finding.claim,
            "printed": one.finding.printed,
            "difference": _three(one.difference.value, one.difference.low, one.difference.high),
            "p": float(f"{one.p:.2g}"),
            "outcome": one.word,
        }
        for one in outcomes(mean)
    ]
    write(folder / DOCUMENT, document)
    write(folder / PAGE, page(document))
    return document


def _row(name: str, area: Area, seeds: Sequence[Area], results: Results) -> dict[str, Any]:
    found, first = area.estimate, results[0]
    values = [one.value for one in seeds]

    def over_seeds(figure: str) -> float:
        return round(float(np.mean([one["figures"].get(figure, np.nan) for one in results])), 3)

    printed = PUBLISHED.get(name, {})
    return {
        "system": name,
        "seeds": len(seeds),
        "parameters": first["parameters"],
        "size_px": first["size_px"],
        "images": first["images"],
        "learned_s": round(float(np.mean([one["learned_s"] for one in results]))),
        "served_ms": first["served_ms"],
        "auc": _three(found.value, found.low, found.high),
        "seed_sd": round(float(np.std(values, ddof=1)), 3) if len(values) > 1 else None,
        "accuracy": over_seeds("accuracy"),
        "calibration_error": over_seeds("calibration error"),
        "heat": next(
            (over_seeds(name) for name in NAMES.values() if name in first["figures"]), None
        ),
        "beyond_chance": found.low > 0.5,
        "printed_auc": printed.get("AUC, positive", printed.get("AUC, average", "")),
        "printed_accuracy": printed.get("accuracy", printed.get("F1, micro", "")),
    }


def _three(value: float, low: float, high: float) -> list[float]:
    return [round(value, 3), round(low, 3), round(high, 3)]


def _yardsticks(task: str, cells: Sequence[Cell], folder: Path) -> list[dict[str, Any]]:
    """Return what could be had without a network: by regression on the training split.

    Of fractures nothing: no latent draws them, and nothing that is known tells them.
    """
    if task not in _KNOWN:
        return []
    cell = next(one for one in cells if one.task.name == task)
    rows = read_manifest(folder / "data" / cell.task.phantom / "manifest.csv")
    split = np.array([row["split"] for row in rows])
    classes = np.array([_CLASSES[task].index(row[task]) for row in rows])
    whose = [row["patient_id"] for row in rows if row["split"] == "test"]

    def cells_of(names: Sequence[str]) -> Any:
        found = np.array([[_number(row[name]) for name in names] for row in rows])
        return np.hstack([found, found**2])

    yardsticks = []
    known, drawn = cells_of(_KNOWN[task]), cells_of(_SHOWN[task])
    for name, features in (
        ("what is known of the patient, by logistic regression", known),
        ("a perfect network: what is drawn, by logistic regression", drawn),
        ("a perfect network, and what is known", np.hstack([drawn, known])),
    ):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(features[split == "train"], classes[split == "train"])
        p = model.predict_proba(features[split == "test"])
        found = macro_area(classes[split == "test"], p, whose).estimate
        right = float((p.argmax(1) == classes[split == "test"]).mean())
        yardsticks.append(
            {"name": name, "auc": _three(found.value, found.low, found.high),
             "accuracy": round(right, 3)}
        )  # fmt: skip
    most = float(np.bincount(classes[split == "test"]).max() / (split == "test").sum())
    return [*yardsticks, {"name": "always the commonest class", "auc": [0.5, 0.5, 0.5],
                          "accuracy": round(most, 3)}]  # fmt: skip


def _number(cell: str) -> float:
    return float(cell == "M") if cell in {"F", "M"} else float(cell)


def page(document: Mapping[str, Any]) -> str:
    """Return the tables of ``league.json``, in Markdown."""
    lines = [_HEAD.format(disclaimer=DISCLAIMER, profile=document["profile"])]
    for task, found in document["tasks"].items():
        lines += ["", f"## {task.capitalize()}: {found['patients']} test patients, one hip each"]
        lines += ["", *_table(_ROW, [_cells(row) for row in found["rows"]])]
        yardsticks = [
            (one["name"], _interval(one["auc"]), f"{one['accuracy']:.3f}")
            for one in found["yardsticks"]
        ]
        if yardsticks:
            lines += ["", *_table(("yardstick", "AUC", "accuracy"), yardsticks)]
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


def _cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    printed = ", ".join(filter(None, (row["printed_auc"], row["printed_accuracy"])))
    return (
        row["system"], row["seeds"], f"{row['parameters']:,}", row["size_px"], f"{row['images']:,}",
        row["learned_s"], row["served_ms"], _interval(row["auc"]),
        "-" if row["seed_sd"] is None else f"{row['seed_sd']:.3f}", f"{row['accuracy']:.3f}",
        f"{row['calibration_error']:.3f}", "-" if row["heat"] is None else f"{row['heat']:.2f}",
        printed or "-",
    )  # fmt: skip


def _interval(three: Sequence[float], sign: str = "") -> str:
    value, low, high = (format(one, f"{sign}.3f") for one in three)
    return f"{value} [{low}, {high}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        "| --- " * len(head) + "|",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]
