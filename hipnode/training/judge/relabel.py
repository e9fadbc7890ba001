"""``hipnode relabel``: which labels deserve an expert's look, and a manifest with the answers.

References
----------
Gale 2017, 2.2: a model that was trained on the first labels names the false positives, an expert
reviews them, and this is repeated; a single review of the false negatives follows. It took the
labels from about 95 % right to more than 99.9 %, with 7.4 % of the images looked at.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from hipnode import tables
from hipnode.domain import Role, Side
from hipnode.errors import ManifestInvalid
from hipnode.nets import BundleSpec, load_bundle
from hipnode.training.judge.evaluate import predict
from hipnode.training.judge.review import Review, simulate
from hipnode.training.samples.items import Item, items
from hipnode.training.samples.manifest import read_manifest

COLUMNS: Final = ("line", "file", "patient_id", "side", "label", "p_positive", "kind", "answer")
Kind = Literal["false positive", "false negative"]


@dataclass(frozen=True)
class Doubt:
    """A label that the model contradicts."""

    item: Item
    label: str
    p_positive: float
    kind: Kind


def doubts(
    bundle: Path,
    manifest: Path,
    *,
    split: str = "all",
    threshold: float | None = None,
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Doubt]:
    """Return the labels that an expert should look at, in the order to look.

    Parameters
    ----------
    bundle
        A classifier that was trained on these labels, or on others like them.
    manifest
        The labels.
    split
        Which rows.
    threshold
        On P(positive); the bundle's ``present_from`` where none is given.
    tell
        Is given how many of how many are done.

    Returns
    -------
    list of Doubt
        First all false positives, the surest first: most wrong labels are fractures that nobody
        recorded. Then all false negatives, the least likely first.

    Raises
    ------
    BundleRefused
        If the bundle does not load.
    ManifestInvalid
        If a row cannot be used, or the bundle is no fracture classifier.
    """
    spec, said = _said(bundle, manifest, split, tell)
    level = spec.operating_point.present_from if threshold is None else threshold
    found: list[Doubt] = []
    for item, p_positive in said:
        labelled = item.target in spec.positive_indices
        if labelled != (p_positive >= level):
            kind: Kind = "false negative" if labelled else "false positive"
            found.append(Doubt(item, spec.labels[item.target], p_positive, kind))
    alarms = sorted((d for d in found if d.kind == "false positive"), key=lambda d: -d.p_positive)
    misses = sorted((d for d in found if d.kind == "false negative"), key=lambda d: d.p_positive)
    return alarms + misses


def _said(
    bundle: Path, manifest: Path, split: str, tell: Callable[[int, int], None]
) -> tuple[BundleSpec, list[tuple[Item, float]]]:
    """Return the model's spec, and P(positive) of each hip that has a label."""
    model = load_bundle(bundle)
    spec = model.spec
    if spec.role is not Role.FRACTURE:
        raise ManifestInvalid(f"{spec.name} is a {spec.role}; only fracture labels are reviewed")
    rows = [row for row in read_manifest(manifest) if split in {"all", row.split}]
    chosen, _ = items(spec, rows, ("frontal", "one_hip", "lateral"))
    if not chosen:
        raise ManifestInvalid(f"{manifest.name} has nothing for {spec.name} in split {split}")
    said = []
    for index, item in enumerate(chosen):
        said.append((item, float(predict(model, item)[list(spec.positive_indices)].sum())))
        tell(index + 1, len(chosen))
    return spec, said


def simulated(
    bundle: Path,
    manifest: Path,
    wrong: float,
    *,
    split: str = "all",
    threshold: float | None = None,
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Review]:
    """Return what a review would mend if this share of the labels were wrong; see `review`.

    Parameters
    ----------
    bundle, manifest, split, threshold, tell
        As for `doubts`. The manifest's labels are taken to be right.
    wrong
        The share of labels that are made wrong: fractures that nobody recorded.

    Raises
    ------
    BundleRefused, ManifestInvalid
        As `doubts`; also if there are too few fractures for that share.
    """
    spec, said = _said(bundle, manifest, split, tell)
    level = spec.operating_point.present_from if threshold is None else threshold
    broken = np.array([item.target in spec.positive_indices for item, _ in said])
    if not 0 < round(wrong * len(broken)) <= broken.sum():
        raise ManifestInvalid(
            f"{wrong:g} of {len(broken)} labels cannot be made wrong: {broken.sum()} are fractures"
        )
    return simulate(broken, np.array([p for _, p in said]), wrong=wrong, level=level)


def refuse_answered(path: Path) -> None:
    """Refuse to write a worklist over one that somebody has begun to answer.

    Raises
    ------
    ManifestInvalid
        If that lies there.
    """
    if not path.is_file():
        return
    known = tables.read(path, str.lower)
    if any(row.cells.get("answer") for row in known.rows):
        raise ManifestInvalid(f"{path} has answers: take them with --answers, or name another file")


def write_worklist(path: Path, found: list[Doubt]) -> None:
    """Write the labels to look at as CSV, with an empty column ``answer``.

    Parameters
    ----------
    path
        The file.
    found
        In the order to look.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for doubt in found:
            row, hip = doubt.item.row, doubt.item.hip
            writer.writerow(
                [
                    row.line,
                    row.cells["file"],
                    row.patient,
                    hip.side.word.lower() if hip else "",
                    doubt.label,
                    f"{doubt.p_positive:.4f}",
                    doubt.kind,
                    "",
                ]
            )


def take_answers(manifest: Path, answers: Path, out: Path) -> tuple[int, int]:
    """Write a manifest in which the expert's answers stand for the old labels.

    Parameters
    ----------
    manifest
        The one that the worklist was made from.
    answers
        The worklist, its column ``answer`` filled in; an empty cell leaves the label as it is.
    out
        The new manifest, in the same folder as the old one, so that its files are found.

    Returns
    -------
    changed, confirmed
        How many labels are others now, and how many the expert left.

    Raises
    ------
    ManifestInvalid
        If the files do not belong together or lack a column, an answer is no label or contradicts
        another, or ``out`` is elsewhere.
    """
    if out.parent.resolve() != manifest.parent.resolve():
        raise ManifestInvalid(f"{out} must lie beside {manifest}: its files are named from there")
    table = tables.read(manifest)
    table.need("file")
    rows = {str(row.line): row.cells for row in table.whole()}
    changed = confirmed = 0
    for (line, column), said in _answered(answers, table).items():
        changed += rows[line].get(column, "") != said
        confirmed += rows[line].get(column, "") == said
        rows[line][column] = said
    beside = out.with_name(f".{out.name}.part")
    with beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, table.columns)
        writer.writeheader()
        writer.writerows(rows.values())
    beside.replace(out)
    return changed, confirmed


_LABELS: Final = {"no_fracture", "fracture", "intracapsular", "trochanteric", "subtrochanteric"}


def _answered(answers: Path, manifest: tables.Table) -> dict[tuple[str, str], str]:
    """Return each answer by the line of its row in the manifest and the column it belongs into."""
    given = tables.read(answers, str.lower)
    given.need(*COLUMNS)
    files = {str(row.line): row.cells.get("file", "") for row in manifest.rows}
    labels = {
        column: _LABELS | {row.cells.get(column, "") for row in manifest.rows}
        for column in manifest.columns
        if column.endswith("_label")
    }
    found: dict[tuple[str, str], str] = {}
    for row in given.whole():
        line, file, hip, said = (
            row.cells.get(name, "") for name in ("line", "file", "side", "answer")
        )
        if not said:
            continue
        at, side = f"{answers}, line {row.line}", Side.meant_by(hip)
        column = f"{side.word.lower()}_label" if side else ""
        if column not in labels:
            raise ManifestInvalid(f"{at}: no column for the side {hip!r}")
        if line not in files or files[line] != file:
            raise ManifestInvalid(f"{at} is of another manifest")
        if said not in labels[column]:
            raise ManifestInvalid(f"{at}: {said!r} is no label")
        if found.setdefault((line, column), said) != said:
            raise ManifestInvalid(f"{at}: another answer for this hip is {found[line, column]!r}")
    return found
