"""Every patient of a domain left out once: what a network says of people it never saw.

Real fractures are few. Instead of giving some of them up for a test split, the same recipe is
trained as often as there are folds, each time without some patients, and judged on those alone.
The network that ships then learns from all of them, and these figures are the ones to quote.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from hipnode.errors import ManifestInvalid
from hipnode.training.judge.evaluate import scores
from hipnode.training.judge.figures import Figure
from hipnode.training.recipe.recipe import Recipe
from hipnode.training.runs.train import Telling, check, train
from hipnode.training.samples.items import Item, items
from hipnode.training.samples.manifest import Manifests, Row, name_of, read_manifest
from hipnode.training.stats import estimates as st

_EDGE: Final = 1e-6
_USUAL: Final = 0.985


@dataclass(frozen=True)
class LeftOut:
    """What networks said of samples of patients that they had not learned from.

    ``p`` (n,) P(positive), ``positive`` (n,) bool, ``distance`` (n,) from what the network was
    trained on; nan where it has no such measure.
    """

    items: tuple[Item, ...]
    p: NDArray[np.float64]
    distance: NDArray[np.float64]
    positive: NDArray[np.bool_]

    @property
    def patients(self) -> list[str]:
        """Whose each sample is."""
        return [item.row.patient for item in self.items]


def leave_out(
    recipe: Recipe,
    manifest: Manifests,
    out: Path,
    *,
    folds: int,
    domain: str = "real",
    device: str = "cpu",
    weights: Path | None = None,
    telling: Telling | None = None,
) -> str:
    """Train a network for each fold; judge it on the patients that the fold leaves out.

    Parameters
    ----------
    recipe, manifest, device, weights, telling
        As for `hipnode.training.runs.train.train`.
    out
        A folder: ``fold-0``, ..., ``predictions.csv``, ``left-out.md`` and ``left-out.json``.
    folds
        How many; no more than there are patients with a positive sample.
    domain
        Of whom each patient is left out once, with all images of that patient. Images of other
        domains are learned from as their splits say.

    Returns
    -------
    str
        The table, in Markdown.

    Raises
    ------
    ManifestInvalid
        If there are too few such patients, or a row cannot be used.
    InputRefused
        Before anything is learned, as for `train`.
    """
    for index in range(folds):
        check(recipe, out / f"fold-{index}", device)
    rows = read_manifest(manifest, seed=recipe.plan.seed)
    if not recipe.operating_point.temperature:  # what each fold would fit by itself is not shipped
        as_it_is = recipe.operating_point.model_copy(update={"temperature": 1.0})
        recipe = recipe.model_copy(update={"operating_point": as_it_is})
    found: list[tuple[Item, float, float]] = []
    for index, (divided, held) in enumerate(divide(recipe, rows, folds, domain)):
        model = train(
            recipe, manifest, out / f"fold-{index}", device=device,
            weights=weights, telling=telling, rows=divided,
        )  # fmt: skip
        for item in items(recipe, held, recipe.views)[0]:
            said = scores(model, item)
            far = float("nan") if said.distance is None else float(said.distance[0])
            found.append((item, float(said.p_positive[0]), far))
    if not found:
        raise ManifestInvalid(f"{name_of(manifest)} has nothing of {domain} for {recipe.name}")
    chosen = tuple(item for item, _, _ in found)
    positive = np.isin([item.target for item in chosen], recipe.positive_indices)
    p, distance = (np.array([one[index] for one in found], np.float64) for index in (1, 2))
    return _write(recipe, LeftOut(chosen, p, distance, positive), out)


def divide(
    recipe: Recipe, rows: Sequence[Row], folds: int, domain: str
) -> Iterator[tuple[list[Row], list[Row]]]:
    """Yield, a fold at a time, the rows with other splits, and those that are left out.

    The patients with something positive are dealt out first, one a fold, then all others.

    Raises
    ------
    ManifestInvalid
        If there are fewer such patients than folds.
    """
    of_domain = [row for row in rows if row.domain == domain]
    positive = {
        item.row.patient
        for item in items(recipe, of_domain, recipe.views)[0]
        if item.target in recipe.positive_indices
    }
    if len(positive) < folds:
        raise ManifestInvalid(f"{len(positive)} patients with a positive are too few")
    rng = np.random.default_rng(recipe.plan.seed)
    rest = sorted({row.patient for row in of_domain} - positive)
    order = sorted(positive) + [rest[index] for index in rng.permutation(len(rest))]
    fold_of = {patient: index % folds for index, patient in enumerate(order)}
    for fold in range(folds):
        held = [row for row in of_domain if fold_of[row.patient] == fold]
        learned = [
            row if row.domain != domain or row.split == "val" else _to(row, "train")
            for row in rows
            if fold_of.get(row.patient) != fold
        ]
        yield learned, held


def everything(rows: Sequence[Row]) -> list[Row]:
    """Return rows of which all but the validation split are learned from."""
    return [row if row.split == "val" else _to(row, "train") for row in rows]


def _to(row: Row, split: str) -> Row:
    return dataclasses.replace(row, split=split)


def threshold(found: LeftOut, rate: float) -> float:
    """Return the lowest threshold at which at most this share of negative images alarms.

    Only upright frontal images without anything positive count; an image alarms if one of its
    samples does.
    """
    highest: dict[Path, float] = {}
    broken = {item.row.file for item, yes in zip(found.items, found.positive, strict=True) if yes}
    for item, p in zip(found.items, found.p, strict=True):
        if item.row.view in {"", "frontal"} and item.row.file not in broken:
            highest[item.row.file] = max(p, highest.get(item.row.file, 0.0))
    values = np.sort(list(highest.values()))
    allowed = int(np.floor(rate * len(values)))
    return float(values[len(values) - 1 - allowed]) + _EDGE if len(values) else 1.0


def calibration(found: LeftOut) -> tuple[float, float]:
    """Return the temperature that the probabilities still want, and the prior that they assume.

    ``logit(P at even odds) = logit(p) / temperature - logit(prior)``, fitted with positives and
    negatives weighing the same; ``p`` itself, so divided, is right where so many are positive.

    References
    ----------
    Platt 1999, Probabilistic Outputs for Support Vector Machines.
    """
    z, yes = logit(found.p.clip(_EDGE, 1 - _EDGE)), found.positive
    share = np.where(yes, 0.5 / max(1, yes.sum()), 0.5 / max(1, (~yes).sum()))

    def surprise(at: NDArray[np.float64]) -> float:
        p = expit(at[0] * z + at[1]).clip(_EDGE, 1 - _EDGE)
        return -float((share * np.where(yes, np.log(p), np.log(1 - p))).sum())

    slope, offset = minimize(surprise, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return float(1 / max(slope, _EDGE)), float(expit(-offset))


def calibrated(found: LeftOut, temperature: float, prior: float) -> LeftOut:
    """Return what was found with the probabilities that a bundle so calibrated gives."""
    z = logit(found.p.clip(_EDGE, 1 - _EDGE)) / temperature - logit(prior)
    return dataclasses.replace(found, p=expit(z))


def _write(recipe: Recipe, found: LeftOut, out: Path) -> str:
    out.mkdir(parents=True, exist_ok=True)
    temperature, prior = calibration(found)
    found = calibrated(found, temperature, prior)
    with (out / "predictions.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "patient_id", "side", "view", "actual", "p_positive", "distance"])
        for item, p, far in zip(found.items, found.p, found.distance, strict=True):
            side = item.hip.side.value if item.hip else ""
            actual = recipe.labels[item.target]
            row = [item.row.file.name, item.row.patient, side, item.row.view, actual]
            writer.writerow([*row, f"{p:.6f}", f"{far:.3f}"])
    table = figures(found, recipe.operating_point.false_alarms)
    table += [Figure("temperature wanted", temperature), Figure("prior assumed", prior)]
    lines = [
        (
            f"# {recipe.name}: {len(set(found.patients))} patients, each judged by a network that "
            "had not seen them"
        ),
        "",
        "| figure | value |",
        "| --- | --- |",
        *(f"| {figure.name} | {figure} |" for figure in table),
    ]
    text = "\n".join(lines) + "\n"
    (out / "left-out.md").write_text(text, encoding="utf-8")
    document = {one.name: [one.value, one.low, one.high] for one in table}
    (out / "left-out.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
    return text


def figures(found: LeftOut, rate: float) -> list[Figure]:
    """Return what is measured: positives against negatives, by view and by whose they are."""
    yes, p = found.positive, found.p
    people = np.array(found.patients)
    broken = set(people[yes])
    frontal = np.array([item.row.view in {"", "frontal"} for item in found.items])
    opposite = np.isin(people, sorted(broken)) & ~yes
    level = threshold(found, rate)
    usual = found.distance[frontal & ~yes]
    groups = {
        "frontal": frontal & ~yes & ~opposite,
        "other views": ~frontal & ~yes & ~opposite,
        "of patients with a positive": opposite,
        "all": ~yes,
    }
    table = [
        Figure(f"threshold at {rate:g} false alarms an image", level),
        Figure.of("recall at it", st.proportion(int((p[yes] >= level).sum()), int(yes.sum()))),
    ]
    if np.isfinite(usual).any():
        far = float(np.nanquantile(usual, _USUAL))
        table += [
            Figure(f"distance of {_USUAL:g} of frontal negatives", far),
            Figure("share of positives beyond it", float((found.distance[yes] > far).mean())),
        ]
    for name, negative in groups.items():
        if not negative.any():
            continue
        of = yes | negative
        area = st.auc(yes[of], p[of], list(people[of]))
        alarms = st.proportion(int((p[negative] >= level).sum()), int(negative.sum()))
        table += [
            Figure.of(f"AUC against negatives, {name}", area),
            Figure.of(f"false alarms, {name}", alarms),
        ]
    return table
