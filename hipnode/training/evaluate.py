"""``hipnode evaluate``: a bundle and a manifest in; the paper's tables, plots and figures out.

The network is run by the code that the worker runs (`hipnode.reading`), from the image file on.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hipnode import DISCLAIMER
from hipnode.domain import Box, HipROI
from hipnode.errors import ManifestInvalid
from hipnode.nets import LoadedModel, Role, load_bundle
from hipnode.reading import candidates, run
from hipnode.training import curves
from hipnode.training import statistics as st
from hipnode.training.data import Item, items
from hipnode.training.manifest import read_manifest, read_pixels
from hipnode.training.published import PUBLISHED


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    @staticmethod
    def of(name: str, estimate: st.Estimate) -> Figure:
        return Figure(name, estimate.value, estimate.low, estimate.high)

    def __str__(self) -> str:
        if self.low is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Evaluation:
    """What was measured."""

    model: LoadedModel
    figures: tuple[Figure, ...]
    left_out: dict[str, int]
    count: int
    patients: int


def evaluate(
    bundle: Path,
    manifest: Path,
    out: Path,
    *,
    split: str = "test",
    threads: int = 0,
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> Evaluation:
    """Evaluate a bundle.

    Parameters
    ----------
    bundle, manifest
        What, on what.
    out
        The folder for ``report.md``, ``results.json``, ``predictions.csv`` and the plots.
    split
        Which rows; ``all`` for every one.
    threads
        Of the engine.
    tell
        Is given how many of how many images are done.

    Raises
    ------
    BundleRefused
        If the bundle does not load.
    ManifestInvalid
        If a row cannot be used, or none is of this split.
    """
    model = load_bundle(bundle, threads=threads)
    rows = [row for row in read_manifest(manifest) if split in {"all", row.split}]
    chosen, left_out = items(model.spec, rows)
    if not chosen:
        raise ManifestInvalid(f"{manifest} has nothing for {model.spec.name} in split {split}")
    out.mkdir(parents=True, exist_ok=True)
    if model.spec.role is Role.LOCALISER:
        figures = _localiser(model, chosen, out, tell)
    else:
        figures = _classifier(model, chosen, out, tell)
    patients = len({item.row.patient for item in chosen})
    found = Evaluation(model, tuple(figures), dict(left_out), len(chosen), patients)
    _write(found, manifest, split, out)
    return found


def _localiser(
    model: LoadedModel, chosen: Sequence[Item], out: Path, tell: Callable[[int, int], None]
) -> list[Figure]:
    lines, overlaps = [], []
    for index, item in enumerate(chosen):
        found = [one.box for one in candidates(read_pixels(item.row), model)]
        for hip in item.row.hips:
            best = max((jaccard(hip.box, box) for box in found), default=0.0)
            overlaps.append(best)
            lines.append([item.row.file.name, item.row.patient, hip.side.value, f"{best:.4f}"])
        tell(index + 1, len(chosen))
    _csv(out / "predictions.csv", ["file", "patient_id", "side", "jaccard"], lines)
    j = np.array(overlaps)
    return [
        Figure("mean Jaccard", float(j.mean())),
        Figure("SD of Jaccard", float(j.std(ddof=1)) if len(j) > 1 else float("nan")),
        Figure.of("Jaccard above 0.5", st.proportion(int((j > 0.5).sum()), len(j))),
        Figure.of("Jaccard above 0.7", st.proportion(int((j > 0.7).sum()), len(j))),
    ]


def jaccard(a: Box, b: Box) -> float:
    """Return the area of the overlap over the area of the union."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    shared = max(0, width) * max(0, height)
    return shared / (a.width_px * a.height_px + b.width_px * b.height_px - shared)


def _classifier(
    model: LoadedModel, chosen: Sequence[Item], out: Path, tell: Callable[[int, int], None]
) -> list[Figure]:
    spec = model.spec
    probabilities = np.zeros((len(chosen), len(spec.labels)))
    for index, item in enumerate(chosen):
        roi = HipROI(item.hip.side, item.hip.box, 1.0) if item.hip else None
        known = [item.row.number(name) for name in spec.covariates]
        probabilities[index] = run(model, read_pixels(item.row), [roi], known).probabilities[0]
        tell(index + 1, len(chosen))
    actual = np.array([item.target for item in chosen])
    _csv(
        out / "predictions.csv",
        ["file", "patient_id", "side", "actual", *spec.labels],
        [
            [
                item.row.file.name,
                item.row.patient,
                item.hip.side.value if item.hip else "",
                spec.labels[item.target],
                *(f"{value:.6f}" for value in p),
            ]
            for item, p in zip(chosen, probabilities, strict=True)
        ],
    )
    positive = np.isin(actual, spec.positive_indices)
    p_positive = probabilities[:, list(spec.positive_indices)].sum(1)
    curves.roc(actual, probabilities, spec.labels, out / "roc.png")
    curves.reliability(p_positive, positive, out / "reliability.png")
    curves.coverage(actual, probabilities, out / "coverage.png")
    patients = [item.row.patient for item in chosen]
    point = spec.operating_point
    return [
        *table(actual, probabilities, spec.labels, patients),
        *at_thresholds(
            p_positive,
            positive,
            {"doubtful_from": point.doubtful_from, "present_from": point.present_from},
        ),
        Figure.of("AUC, positive", st.auc(positive, p_positive, patients)),
        Figure("calibration error", st.calibration_error(p_positive, positive)),
    ]


def table(
    actual: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    labels: Sequence[str],
    patients: Sequence[str],
) -> list[Figure]:
    """Return Murphy's Table 1 and Figure 4, and the coverage at an accuracy of 0.95."""
    counts = st.confusion(actual, probabilities.argmax(1), len(labels))
    figures = [Figure.of("accuracy", st.accuracy(counts)), Figure.of("kappa", st.kappa(counts))]
    for one in st.per_class(counts, labels):
        figures += [
            Figure.of(f"precision, {one.label}", one.precision),
            Figure.of(f"recall, {one.label}", one.recall),
            Figure(f"F1, {one.label}", one.f1),
        ]
    for index, label in enumerate(labels):
        area = st.auc(actual == index, probabilities[:, index], patients)
        figures.append(Figure.of(f"AUC, {label}", area))
    covered, right = st.coverage_curve(probabilities, actual)
    enough = covered[right >= 0.95]
    figures.append(Figure("coverage at accuracy 0.95", float(enough.max()) if enough.size else 0.0))
    return figures


def at_thresholds(
    p_positive: NDArray[np.float64], positive: NDArray[np.bool_], thresholds: dict[str, float]
) -> list[Figure]:
    """Return recall, precision, specificity and accuracy at each threshold (Gale 2017, Table 3)."""
    figures = []
    for name, threshold in thresholds.items():
        said = p_positive >= threshold
        hits = int((said & positive).sum())
        figures += [
            Figure.of(f"recall at {name}", st.proportion(hits, int(positive.sum()))),
            Figure.of(f"precision at {name}", st.proportion(hits, int(said.sum()))),
            Figure.of(
                f"specificity at {name}",
                st.proportion(int((~said & ~positive).sum()), int((~positive).sum())),
            ),
            Figure.of(
                f"accuracy at {name}", st.proportion(int((said == positive).sum()), len(said))
            ),
        ]
    return figures


def _write(found: Evaluation, manifest: Path, split: str, out: Path) -> None:
    spec = found.model.spec
    printed = PUBLISHED.get(spec.name, {})
    samples = f"{found.count} samples of {found.patients} patients in split {split}"
    lines = [
        f"# {spec.name} {spec.version}",
        "",
        f"**{DISCLAIMER}.** {spec.card}",
        "",
        f"sha256 {spec.digest}; {samples} of {manifest.name}.",
        "",
        "The paper's figures are of other images: they stand here for the order of magnitude.",
        "",
        "| figure | here | the paper |",
        "| --- | --- | --- |",
        *(f"| {one.name} | {one} | {printed.get(one.name, '')} |" for one in found.figures),
        "",
        *(f"Left out: {count} of {why}.  " for why, count in found.left_out.items()),
    ]
    (out / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    document = {
        "model": asdict(spec.ref),
        "operating_point": asdict(spec.operating_point),
        "manifest": manifest.name,
        "split": split,
        "samples": found.count,
        "patients": found.patients,
        "left_out": found.left_out,
        "figures": {one.name: [one.value, one.low, one.high] for one in found.figures},
    }
    (out / "results.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _csv(path: Path, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(lines)
