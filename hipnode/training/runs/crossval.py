"""Cross-validation: the same recipe on other splits, and one test split that none of them saw.

References
----------
DXA 2023, "Model evaluation and validation": a test split of a tenth is held out; the rest is
divided anew for each fold, and each model is tested on the same held-out split.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from hipnode.errors import ManifestInvalid
from hipnode.training.judge.evaluate import evaluate
from hipnode.training.recipe.published import FOLDS
from hipnode.training.recipe.recipe import Recipe
from hipnode.training.runs.train import Telling, check, train
from hipnode.training.samples.items import items
from hipnode.training.samples.manifest import Manifests, Row, name_of, read_manifest


def cross_validate(
    recipe: Recipe,
    manifest: Manifests,
    out: Path,
    *,
    folds: int = 10,
    device: str = "cpu",
    resume: bool = False,
    weights: Path | None = None,
    telling: Telling | None = None,
) -> str:
    """Train and test a model for each fold; write means and standard deviations.

    Parameters
    ----------
    recipe, manifest, device, resume, weights, telling
        As for `hipnode.training.runs.train.train`.
    out
        A folder: ``fold-0``, ..., each with its report, ``cross-validation.md`` and ``.json``, and
        a ``cache`` of decoded images, which all folds share.
    folds
        How many.

    Returns
    -------
    str
        The table, in Markdown.

    Raises
    ------
    ManifestInvalid
        If the manifest has no test split, or fewer patients than folds.
    InputRefused
        Before anything is learned, as for `train`.
    """
    for index in range(folds):
        check(recipe, out / f"fold-{index}", device)
    rows = read_manifest(manifest, seed=recipe.plan.seed)
    if not any(row.split == "test" for row in rows):
        raise ManifestInvalid(f"{name_of(manifest)} has no split test to hold out")
    found: list[dict[str, float]] = []
    for index, divided in enumerate(divide(recipe, rows, folds)):
        bundle = out / f"fold-{index}"
        train(
            recipe, manifest, bundle, device=device, resume=resume,
            weights=weights, telling=telling, rows=divided, cache=out / "cache",
        )  # fmt: skip
        report = evaluate(bundle, manifest, bundle.with_name(f"fold-{index}-report"))
        found.append({figure.name: figure.value for figure in report.figures})
    return _write(recipe, found, out)


def divide(recipe: Recipe, rows: Sequence[Row], folds: int) -> Iterator[list[Row]]:
    """Yield the rows with other splits: each patient validates once, the test split stays.

    Raises
    ------
    ManifestInvalid
        If there are fewer patients than folds.
    """
    test = [row for row in rows if row.split == "test"]
    rest = [row for row in rows if row.split != "test"]
    patients = [row.patient for row in rest]
    if len(set(patients)) < folds:
        raise ManifestInvalid(f"{len(set(patients))} patients are too few for {folds} folds")
    classes = [
        max((one.target for one in items(recipe, [row], recipe.views)[0]), default=0)
        for row in rest
    ]
    rarest = min(np.bincount(classes)[np.unique(classes)])
    kind = StratifiedGroupKFold if rarest >= folds else GroupKFold
    maker = kind(folds, shuffle=True, random_state=recipe.plan.seed)
    for _, held in maker.split(rest, classes, patients):
        chosen = set(held.tolist())
        yield test + [
            dataclasses.replace(row, split="val" if index in chosen else "train")
            for index, row in enumerate(rest)
        ]


def _write(recipe: Recipe, found: Sequence[dict[str, float]], out: Path) -> str:
    names = [name for name in found[0] if all(name in one for one in found)]
    table = {name: np.array([one[name] for one in found]) for name in names}
    printed = FOLDS.get(recipe.name, {})
    lines = [
        f"# {recipe.name}: {len(found)} folds, one held-out test split",
        "",
        "| figure | mean | SD | the paper: mean (SD) |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {v.mean():.3f} | {v.std(ddof=1):.3f} | {printed.get(name, '')} |"
            for name, v in table.items()
        ),
    ]
    text = "\n".join(lines) + "\n"
    (out / "cross-validation.md").write_text(text, encoding="utf-8")
    document = {name: values.tolist() for name, values in table.items()}
    (out / "cross-validation.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
    return text
