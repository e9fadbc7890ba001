"""What could be had without a network: the least that a row of a league has to show."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hipnode.domain import Box, Side
from hipnode.errors import InputRefused
from hipnode.phantom import read_manifest, readers
from hipnode.training.judge.evaluate import jaccard
from hipnode.training.league.cortex import thickness_index
from hipnode.training.league.profiles import Task
from hipnode.training.samples import manifest as samples
from hipnode.training.stats.estimates import Estimate
from hipnode.training.stats.paired import Area, macro_area, mean_of

_DRAWN: Final = ("cortex_t", "trabecular_t", "singh", "size")
_KNOWN: Final = {
    "osteoporosis": ("age", "sex", "bmi", "hip_fracture_history"),
    "risk": ("vitamin_d_ng_ml", "calcium_mg_dl", "height_m", "alm_bmi"),
}
_CLASSES: Final = {"osteoporosis": ("0", "1"), "risk": ("low", "moderate", "high")}
_SHOWN: Final = {"osteoporosis": _DRAWN, "risk": ("t_score",)}
"""What a perfect network would see: the latents; of a calibrated scan, T itself."""
_SHAFT: Final = ("shaft_near", "shaft_far")
_SIDES: Final = tuple(side.word.lower() for side in Side)
_READERS: Final = {
    "expert1": "a reader as often right as Murphy's experts",
    "hospital": "a reader as often right as Murphy's hospital",
    "report": "a reader as often right as Gale's reports",
}


def yardsticks(task: Task, folder: Path) -> list[dict[str, Any]]:
    """Return what could be had without a network: rules, regression on the training split, readers.

    Of fractures nothing by regression: no latent draws them, and nothing that is known tells them.
    """
    manifest = folder / "data" / task.phantom / "manifest.csv"
    if task.of == "boxes":
        return [{"name": "always the mean box", "jaccard": three(_mean_box(manifest).estimate)}]
    return _kept(task.name, task.of, manifest, hashlib.sha256(manifest.read_bytes()).hexdigest())


@cache
def _kept(task: str, of: str, manifest: Path, _digest: str) -> list[dict[str, Any]]:
    """Return them; a league asks after each cell, and measures each hip once."""
    rows = [row for row in read_manifest(manifest) if row["split"] != "val"]
    found = _by_regression(task, rows, manifest) if task in _KNOWN else []
    if task == "fracture":
        found = _of_readers([row for row in rows if row["split"] == "test"])
    return found if of == "gates" else [*found, _commonest(task, rows)]


def _by_regression(
    task: str, rows: Sequence[Mapping[str, str]], manifest: Path
) -> list[dict[str, Any]]:
    split = np.array([row["split"] for row in rows])
    classes = np.array([_CLASSES[task].index(row[task]) for row in rows])
    whose = [row["patient_id"] for row in rows if row["split"] == "test"]

    def cells_of(names: Sequence[str]) -> Any:
        return np.array([[_number(row[name]) for name in names] for row in rows])

    reached = []
    known, drawn = cells_of(_KNOWN[task]), cells_of(_SHOWN[task])
    indices = _cortices(rows, manifest) if task == "osteoporosis" else None
    for name, features in (
        ("what is known of the patient, by logistic regression", known),
        ("cortical thickness index, measured across the shaft, by logistic regression", indices),
        ("a perfect network: what is drawn, by logistic regression", drawn),
        ("a perfect network, and what is known", np.hstack([drawn, known])),
    ):
        if features is None:
            continue
        curved = np.hstack([features, features**2])
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(curved[split == "train"], classes[split == "train"])
        p = model.predict_proba(curved[split == "test"])
        found = macro_area(classes[split == "test"], p, whose).estimate
        right = float((p.argmax(1) == classes[split == "test"]).mean())
        reached.append({"name": name, "auc": three(found), "accuracy": round(right, 3)})
    return reached


def _cortices(rows: Sequence[Mapping[str, str]], manifest: Path) -> NDArray[np.float64] | None:
    """Return (n, 1) each hip's cortical thickness index; None where no shaft is marked or seen."""
    found = []
    for row in rows:
        marks = samples.marks_of(_of_hip(row, "landmarks"))
        if not marks.keys() >= set(_SHAFT):
            return None
        near, far = (marks[name] for name in _SHAFT)
        pixels = dcmread(manifest.parent / row["file"]).pixel_array
        try:
            found.append([thickness_index(pixels, near, far, float(row["spacing_mm"]))])
        except InputRefused:
            return None
    return np.array(found)


def _of_hip(row: Mapping[str, str], column: str) -> str:
    """Return a cell of the one hip that an image shows."""
    return next((cell for one in _SIDES if (cell := row.get(f"{one}_{column}", ""))), "")


def _of_readers(rows: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return what the papers' readers would have said of the test's hips."""
    said = [readers.of_row(row) for row in rows]
    true = np.array([_of_hip(row, "label") for row in rows])
    broken = true != "no_fracture"
    reached = []
    for name, what in _READERS.items():
        named = np.array([one[name] for one in said])
        called = named != "no_fracture"
        reached.append(
            {
                "name": what,
                "accuracy": round(float((named == true).mean()), 3),
                "recall": round(float(called[broken].mean()), 3),
                "specificity": round(float((~called[~broken]).mean()), 3),
            }
        )
    return reached


def _commonest(task: str, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return how often the commonest class is right."""
    tested = [row for row in rows if row["split"] == "test"]
    classes = [_of_hip(row, "label") if task == "fracture" else row[task] for row in tested]
    most = max(Counter(classes).values()) / len(classes)
    return {
        "name": "always the commonest class", "auc": [0.5, 0.5, 0.5], "accuracy": round(most, 3),
    }  # fmt: skip


def _number(cell: str) -> float:
    return float(cell == "M") if cell in {"F", "M"} else float(cell)


def _mean_box(manifest: Path) -> Area:
    """Return the Jaccard index of each side's mean box, as a share of the image."""
    seen = [
        (row, hip, px)
        for row in samples.read_manifest(manifest)
        for px in [np.array(_size_px(row.file))]
        for hip in row.hips
    ]
    shares = {
        side: np.mean(
            [
                np.array((hip.box.x0, hip.box.y0, hip.box.x1, hip.box.y1)) / np.tile(px, 2)
                for row, hip, px in seen
                if (row.split, hip.side) == ("train", side)
            ],
            axis=0,
        )
        for side in {hip.side for _, hip, _ in seen}
    }
    tested = [one for one in seen if one[0].split == "test"]
    overlaps = [
        jaccard(hip.box, Box(*map(int, np.rint(shares[hip.side] * np.tile(px, 2)))))
        for _, hip, px in tested
    ]
    return mean_of(np.array(overlaps), [row.patient for row, *_ in tested])


def _size_px(path: Path) -> tuple[int, int]:
    seen = dcmread(path, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
    return int(seen.Columns), int(seen.Rows)


def three(found: Estimate) -> list[float]:
    """Return a value with its interval, as ``league.json`` has it."""
    return [round(found.value, 3), round(found.low, 3), round(found.high, 3)]
