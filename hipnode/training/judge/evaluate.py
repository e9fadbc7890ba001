"""``hipnode evaluate``: a bundle and a manifest in; the paper's tables, plots and figures out.

The network is run by the code that the worker runs (`hipnode.reading`), from the image file on.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hipnode.domain import Box, HipROI, Role
from hipnode.errors import InputRefused, ManifestInvalid
from hipnode.nets import LoadedModel, load_bundle
from hipnode.reading import candidates, run
from hipnode.reading.classify import Scores, preprocessing
from hipnode.training.judge.figures import Answers, Figure, by_group, figures, too_small
from hipnode.training.judge.heat import NAMES, hits
from hipnode.training.judge.maps import write_maps
from hipnode.training.judge.report import write_report
from hipnode.training.samples.drawn.fractures import HipPoints
from hipnode.training.samples.items import PLACE_OF, Item, items
from hipnode.training.samples.manifest import Manifests, Seen, name_of, read_image, read_manifest
from hipnode.training.stats import curves
from hipnode.training.stats import estimates as est
from hipnode.training.stats import statistics as st


@dataclass(frozen=True)
class Evaluation:
    """What was measured, ``elsewhere`` at another hospital; ``notes``: of which groups nothing."""

    model: LoadedModel
    figures: tuple[Figure, ...]
    left_out: dict[str, int]
    count: int
    patients: int
    notes: tuple[str, ...] = ()
    elsewhere: tuple[Figure, ...] = ()


Tell = Callable[[int, int], None]


def evaluate(
    bundle: Path,
    manifest: Manifests,
    out: Path,
    *,
    split: str = "test",
    external: Path | None = None,
    views: Sequence[str] = ("frontal",),
    by: Sequence[str] = (),
    maps: int = 0,
    threads: int = 0,
    tell: Tell = lambda _done, _all: None,
) -> Evaluation:
    """Evaluate a bundle.

    Parameters
    ----------
    bundle, manifest
        What, on what.
    out
        The folder for ``report.md``, ``results.json``, ``model-card.md``, ``predictions.csv`` and
        the plots.
    split
        Which rows; ``all`` for every one.
    external
        The manifest of another hospital: all of its rows, in a column of their own (Jang 2022,
        "External validation"); its predictions and plots lie in ``out/external``.
    views
        Of which views hips are judged; a fracture of any class counts, and one that the model has
        no class for as the one nearest to it.
    by
        Columns of the manifest (of a hip: without its side): each value is a group that is judged
        by itself.
    maps
        So many examples of what the network looked at, in ``out/maps``.
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
    InputRefused
        If groups or maps are asked for of a localiser, which has neither.
    """
    model = load_bundle(bundle, threads=threads)
    if model.spec.role is Role.LOCALISER and (by or maps):
        raise InputRefused("a localiser is judged as a whole: it has no groups (by) and no maps")
    found, chosen = _one(model, manifest, split, out, tell, views, by)
    other = None
    if external:
        other, _ = _one(model, external, "all", out / "external", tell, views, by)
        found = replace(found, elsewhere=other.figures)
    write_report(
        model.spec,
        found.figures,
        other.figures if other else (),
        source=f"{found.count} samples of {found.patients} patients in split {split} of "
        f"{name_of(manifest)}",
        external=f"{other.count} samples of {other.patients} patients" if other else "",
        left_out=found.left_out,
        notes=found.notes,
        out=out,
    )
    if maps:
        write_maps(bundle, chosen[:: max(1, len(chosen) // maps)][:maps], out / "maps")
    return found


def _one(
    model: LoadedModel,
    manifest: Manifests,
    split: str,
    out: Path,
    tell: Tell,
    views: Sequence[str],
    by: Sequence[str] = (),
) -> tuple[Evaluation, list[Item]]:
    rows = [row for row in read_manifest(manifest) if split in {"all", row.split}]
    chosen, left_out = items(model.spec, rows, views, every=True)
    if not chosen:
        raise ManifestInvalid(
            f"{name_of(manifest)} has nothing for {model.spec.name} in split {split}"
        )
    out.mkdir(parents=True, exist_ok=True)
    notes = _notes(chosen, by)
    if model.spec.role is Role.LOCALISER:
        measured = _localiser(model, chosen, out, tell)
    else:
        measured = _classifier(model, chosen, out, tell, by)
        notes += tuple(odd_readers(chosen, model.spec.labels).values())
    patients = len({item.row.patient for item in chosen})
    return (
        Evaluation(model, tuple(measured), dict(left_out), len(chosen), patients, notes),
        chosen,
    )


def _notes(chosen: Sequence[Item], by: Sequence[str]) -> tuple[str, ...]:
    lines = (too_small(column, [group_of(item, column) for item in chosen]) for column in by)
    return tuple(filter(None, lines))


def _localiser(model: LoadedModel, chosen: Sequence[Item], out: Path, tell: Tell) -> list[Figure]:
    lines, overlaps, broken, adequate, whose = [], [], [], [], []
    rows = {item.row.file: item.row for item in chosen}
    for index, row in enumerate(rows.values()):
        seen = read_image(row)
        found = [one.box for one in candidates(seen.pixels, model)]
        for hip in row.hips:
            own = seen.hip(hip)
            box = max(found, key=partial(jaccard, own.box), default=None)
            best = jaccard(own.box, box) if box else 0.0
            overlaps.append(best)
            broken.append(hip.label not in {"", "no_fracture"})
            whose.append(row.patient)
            adequate.append(own.points and (box is not None and holds(box, own.points)))
            lines.append([row.file.name, row.patient, hip.side.value, f"{best:.4f}"])
        tell(index + 1, len(rows))
    _csv(out / "predictions.csv", ["file", "patient_id", "side", "jaccard"], lines)
    j, fractured, patients = np.array(overlaps), np.array(broken), np.array(whose)
    curves.overlaps(j, fractured, out / "jaccard.png")
    known = np.array([one is not None for one in adequate])
    seen_well = est.rate(np.array([one is True for one in adequate]), known, whose)
    return [
        *_overlap(j, patients, ""),
        *(
            _overlap(j[~fractured], patients[~fractured], ", unfractured")
            if (~fractured).any()
            else []
        ),
        *(_overlap(j[fractured], patients[fractured], ", fractured") if fractured.any() else []),
        *([Figure.of("adequate boxes", seen_well)] if known.any() else []),
    ]


def _overlap(j: NDArray[np.float64], whose: NDArray[np.str_], which: str) -> list[Figure]:
    """Return Murphy's Figure 2 in figures."""
    every, patients = np.ones(len(j), bool), whose.tolist()
    return [
        Figure(f"mean Jaccard{which}", float(j.mean())),
        Figure(f"SD of Jaccard{which}", float(j.std(ddof=1)) if len(j) > 1 else float("nan")),
        Figure.of(f"Jaccard above 0.5{which}", est.rate(j > 0.5, every, patients)),
        Figure.of(f"Jaccard above 0.7{which}", est.rate(j > 0.7, every, patients)),
    ]


def holds(box: Box, points: HipPoints) -> bool:
    """Tell whether a box shows the head's middle and the tips of both trochanters.

    References
    ----------
    Gale 2017, 2.3: adequacy was "coverage including the femoral head, and the greater and lesser
    trochanters".
    """
    at = (points.head, points.greater, points.lesser)
    return all(box.x0 <= x < box.x1 and box.y0 <= y < box.y1 for x, y in at)


def jaccard(a: Box, b: Box) -> float:
    """Return the area of the overlap over the area of the union."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    shared = max(0, width) * max(0, height)
    return shared / (a.width_px * a.height_px + b.width_px * b.height_px - shared)


def predict(model: LoadedModel, item: Item) -> NDArray[np.float32]:
    """Return calibrated probabilities (classes,) for an item, as the worker would."""
    p: NDArray[np.float32] = scores(model, item).probabilities[0]
    return p


def scores(model: LoadedModel, item: Item) -> Scores:
    """Return all that a classifier gives for an item, as the worker would have it."""
    return _scores(model, item, read_image(item.row))


def _scores(model: LoadedModel, item: Item, seen: Seen) -> Scores:
    roi = HipROI(item.hip.side, seen.hip(item.hip).box, 1.0) if item.hip else None
    known = [item.row.number(name) for name in model.spec.covariates]
    return run(model, seen.pixels, [roi], known)


def _classifier(
    model: LoadedModel, chosen: Sequence[Item], out: Path, tell: Tell, by: Sequence[str]
) -> list[Figure]:
    spec = model.spec
    p, heat, how = np.zeros((len(chosen), len(spec.labels))), [], preprocessing(spec)
    for index, item in enumerate(chosen):
        seen = read_image(item.row)
        found = _scores(model, item, seen)
        p[index] = found.probabilities[0]
        if found.places is not None and item.target in spec.positive_indices:
            heat.append((item.row.patient, hits(spec.role, item, seen, found.places[0], how)))
        tell(index + 1, len(chosen))
    actual = np.array([item.target for item in chosen])
    lines = [
        [
            item.row.file.name,
            item.row.patient,
            item.hip.side.value if item.hip else "",
            spec.labels[item.target],
            *(f"{value:.6f}" for value in row),
        ]
        for item, row in zip(chosen, p, strict=True)
    ]
    _csv(
        out / "predictions.csv",
        ["file", "patient_id", "side", "actual", *spec.labels],
        lines,
    )
    counts = st.confusion(actual, p.argmax(1), len(spec.labels))
    named = [[label, *map(str, row)] for label, row in zip(spec.labels, counts, strict=True)]
    _csv(out / "confusion.csv", ["actual / named", *spec.labels], named)
    columns = list(spec.positive_indices)
    said = reader_answers(chosen, spec.labels)
    curves.roc(actual, p, spec.labels, out / "roc.png", said)
    curves.reliability(p[:, columns].sum(1), np.isin(actual, columns), out / "reliability.png")
    curves.coverage(actual, p, out / "coverage.png")
    patients = [item.row.patient for item in chosen]
    answers = Answers(actual, p, patients, said, subclass_answers(chosen))
    measured = [*figures(spec, answers), *_heat(spec.role, heat)]
    for column in by:
        measured += by_group(spec, answers, column, [group_of(item, column) for item in chosen])
    return measured


def _heat(role: Role, heat: Sequence[tuple[str, bool | None]]) -> list[Figure]:
    """Return how often the map was hottest at the right place, where that is known."""
    known = [(patient, hit) for patient, hit in heat if hit is not None]
    if not known:
        return []
    right = np.array([hit for _, hit in known])
    whose = [patient for patient, _ in known]
    return [Figure.of(NAMES[role], est.rate(right, np.ones(len(right), bool), whose))]


def group_of(item: Item, column: str) -> str:
    """Return what a column says of an item: of its hip, else of its image; "" for nothing.

    Raises
    ------
    ManifestInvalid
        If the manifest has no such column.
    """
    side = f"{item.hip.side.word.lower()}_{column}" if item.hip else column
    for name in (side, column):
        if name in item.row.cells:
            return item.row.cells[name]
    raise ManifestInvalid(f"{item.row.manifest} has no column {column}")


def reader_answers(chosen: Sequence[Item], labels: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Return what each reader said, from the columns ``right_reader_NAME`` and ``left_...``.

    Where a model tells fractures from none, a reader's class of fracture counts as one. A reader
    who says a word that is no class is left out: what is left of his answers would flatter him.
    """
    odd = odd_readers(chosen, labels)
    found: dict[str, NDArray[np.int64]] = {}
    for index, item in enumerate(chosen):
        for name, cell in _said(item):
            if name not in odd:
                said = found.setdefault(name, np.full(len(chosen), -1, np.int64))
                said[index] = labels.index(_as_class(cell, labels))
    return found


def subclass_answers(chosen: Sequence[Item]) -> dict[str, NDArray[np.str_]]:
    """Return which subclass each reader named, "" for none: ``right_subclass_NAME`` and ``left_``.

    References
    ----------
    Murphy 2022, Table 2: the experts chose among the subclasses of the NHFD.
    """
    found: dict[str, list[str]] = {}
    for index, item in enumerate(chosen):
        for name, cell in _said(item, "subclass"):
            found.setdefault(name, [""] * len(chosen))[index] = cell
    return {name: np.asarray(named, str) for name, named in found.items()}


def odd_readers(chosen: Sequence[Item], labels: Sequence[str]) -> dict[str, str]:
    """Return readers who say what is no class of the model, each with a line about it."""
    found: dict[str, str] = {}
    for item in chosen:
        for name, cell in _said(item):
            if _as_class(cell, labels) not in labels:
                line = f"reader {name}: left out; {item.row.at} says {cell!r}, none of the classes"
                found.setdefault(name, line)
    return found


def _said(item: Item, what: str = "reader") -> list[tuple[str, str]]:
    prefix = f"{item.hip.side.word.lower()}_{what}_" if item.hip else f"{what}_"
    cells = item.row.cells.items()
    return [(name.removeprefix(prefix), cell) for name, cell in cells
            if cell and name.startswith(prefix)]  # fmt: skip


def _as_class(cell: str, labels: Sequence[str]) -> str:
    any_kind = PLACE_OF.keys() - {"no_fracture"} if "fracture" in labels else ()
    return "fracture" if cell in any_kind else cell


def _csv(path: Path, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(lines)
