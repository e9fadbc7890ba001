"""What could be had without a network: the least that a row of a league has to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom import dcmread
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hipnode.domain import Box
from hipnode.phantom import read_manifest
from hipnode.training.judge.evaluate import jaccard
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


def yardsticks(task: Task, folder: Path) -> list[dict[str, Any]]:
    """Return what could be had without a network: by regression on the training split.

    Of fractures nothing: no latent draws them, and nothing that is known tells them.
    """
    manifest = folder / "data" / task.phantom / "manifest.csv"
    if task.of_boxes:
        return [{"name": "always the mean box", "jaccard": three(_mean_box(manifest).estimate)}]
    return _of_classes(task.name, read_manifest(manifest)) if task.name in _KNOWN else []


def _of_classes(task: str, rows: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    split = np.array([row["split"] for row in rows])
    classes = np.array([_CLASSES[task].index(row[task]) for row in rows])
    whose = [row["patient_id"] for row in rows if row["split"] == "test"]

    def cells_of(names: Sequence[str]) -> Any:
        found = np.array([[_number(row[name]) for name in names] for row in rows])
        return np.hstack([found, found**2])

    reached = []
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
        reached.append(
            {"name": name, "auc": three(found),
             "accuracy": round(right, 3)}
        )  # fmt: skip
    most = float(np.bincount(classes[split == "test"]).max() / (split == "test").sum())
    return [*reached, {"name": "always the commonest class", "auc": [0.5, 0.5, 0.5],
                          "accuracy": round(most, 3)}]  # fmt: skip


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
