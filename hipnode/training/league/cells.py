"""One cell of a league: a system and a seed, trained and judged once, and known again by a key."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import numpy as np

import hipnode
from hipnode.errors import InputRefused
from hipnode.nets import load_bundle
from hipnode.nets.architectures import build
from hipnode.phantom import batch, load_recipe, write_manifest
from hipnode.training.judge.evaluate import evaluate
from hipnode.training.league.profiles import TASKS, Profile, Task
from hipnode.training.recipe.recipe import Pretraining, Recipe, read_recipe
from hipnode.training.runs.pretrain import BACKBONE, pretrain
from hipnode.training.runs.train import train

RESULT: Final = "cell.json"
PREDICTIONS: Final = "predictions.csv"
_CODE: Final = ("nets", "imaging", "training/learn", "training/samples", "training/recipe")
_SEED: Final = 19  # of the league's phantoms

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Cell:
    """A row of a task, and a seed."""

    task: Task
    system: str
    seed: int
    profile: Profile

    @property
    def folder(self) -> str:
        """Where it lies, below the league's folder."""
        return f"{self.task.name}/{self.system}/seed-{self.seed}"

    @property
    def recipe(self) -> Recipe:
        """What is trained, with all that the profile changes."""
        row = self.task.systems[self.system]
        name, own = row.recipe, [*row.changes, f"plan.seed={self.seed}"]
        found = read_recipe(name, [*self.profile.for_recipe(name, labels=True), *own])
        if not isinstance(found, Recipe):
            raise InputRefused(f"{name} learns without labels; it is no row of a league")
        return found.model_copy(update={"name": self.system})

    @property
    def pretraining(self) -> Pretraining | None:
        """What it goes on from; the same for every seed."""
        start = self.task.systems[self.system].start
        if not start:
            return None
        found = read_recipe(start, self.profile.for_recipe(start, labels=False))
        if not isinstance(found, Pretraining):
            raise InputRefused(f"{start} is no recipe without labels")
        return found


def cells(profile: Profile, seeds: int, only: str = "*") -> list[Cell]:
    """Return the cells of a league: all rows with the first seed, then all with the next."""
    return [
        Cell(task, system, seed, profile)
        for seed in range(seeds)
        for task in TASKS
        for system in task.systems
        if fnmatch(system, only) or fnmatch(task.name, only)
    ]


def key_of(cell: Cell, manifest: Path) -> str:
    """Return what a result depends on, as one digest: recipe, images, code."""
    start = cell.pretraining
    facts = [
        cell.recipe.model_dump(mode="json"),
        start.model_dump(mode="json") if start else None,
        hashlib.sha256(manifest.read_bytes()).hexdigest(),
        _code(),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _code() -> str:
    root = Path(hipnode.__file__).parent
    found = hashlib.sha256()
    for folder in _CODE:
        for path in sorted((root / folder).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()


def images(task: Task, profile: Profile, folder: Path, tell: Tell) -> Path:
    """Return the manifest of a task's phantoms, made once.

    Bodies of the test split have shapes that none of the others have (see `phantom.bones`).
    """
    at = folder / "data" / task.phantom
    manifest = at / "manifest.csv"
    if manifest.exists():
        return manifest
    made = []
    for number, (split, count) in enumerate(profile.people.items()):
        recipe = replace(load_recipe(task.phantom), splits={split: 1.0})
        if profile.bodies:
            recipe = replace(recipe, anatomies=profile.bodies)
        tell(f"{task.phantom}: {count} people of split {split}")
        made += list(batch.make_all(batch.Order(recipe, _SEED + number, at), count, 1))
    write_manifest(manifest, made)
    return manifest


def known(cell: Cell, folder: Path) -> dict[str, Any] | None:
    """Return what was found when a cell was played before, with this recipe, images and code."""
    manifest, at = folder / "data" / cell.task.phantom / "manifest.csv", folder / cell.folder
    if not (at / RESULT).exists() or not manifest.exists():
        return None
    found: dict[str, Any] = json.loads((at / RESULT).read_text(encoding="utf-8"))
    return found if found["key"] == key_of(cell, manifest) else None


def play(cell: Cell, folder: Path, tell: Tell = lambda _line: None) -> dict[str, Any]:
    """Train and judge a cell, or return what was found when that was done before.

    Parameters
    ----------
    cell
        Which.
    folder
        The league's. A cell that was interrupted goes on from its last epoch.
    tell
        Is given a line for each step.
    """
    manifest = images(cell.task, cell.profile, folder, tell)
    if (before := known(cell, folder)) is not None:
        return before
    at, key = folder / cell.folder, key_of(cell, manifest)
    run = at / key[:12]
    started = time.process_time()
    weights, spent_s = _backbone(cell, manifest, folder, tell)
    recipe = cell.recipe
    tell(f"{cell.folder}: learns")
    train(recipe, manifest, run / "bundle", resume=True, weights=weights)
    learned_s = time.process_time() - started - (spent_s if weights else 0)
    found = evaluate(run / "bundle", manifest, run / "report", views=recipe.views, threads=1)
    served = _milliseconds(run / "bundle", recipe)
    net = build(recipe.network.name, dict(recipe.network.arguments))
    spare = tuple(getattr(net, "training_only", ()))
    result = {
        "key": key,
        "task": cell.task.name,
        "system": cell.system,
        "seed": cell.seed,
        "profile": cell.profile.name,
        "parameters": sum(p.numel() for n, p in net.named_parameters() if not n.startswith(spare)),
        "size_px": recipe.preprocess.size_px,
        "images": recipe.plan.epochs * (recipe.plan.epoch_images or cell.profile.people["train"]),
        "learned_s": round(learned_s, 1),
        "served_ms": round(served, 2),
        "test_patients": found.patients,
        "figures": {one.name: one.value for one in found.figures},
        "report": str((run / "report").relative_to(folder)),
    }
    (at / RESULT).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def _backbone(cell: Cell, manifest: Path, folder: Path, tell: Tell) -> tuple[Path | None, float]:
    """Return the weights that a cell goes on from, learned once, and the seconds that it took."""
    recipe = cell.pretraining
    if recipe is None:
        return None, 0.0
    facts = [
        recipe.model_dump(mode="json"),
        hashlib.sha256(manifest.read_bytes()).hexdigest(),
        _code(),
    ]
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    at = folder / "backbones" / f"{recipe.name}-{key}"
    started = time.process_time()
    if not (at / BACKBONE).exists():
        tell(f"{recipe.name}: learns without labels")
        pretrain(recipe, manifest, at, resume=True)
    return at / BACKBONE, time.process_time() - started


def _milliseconds(bundle: Path, recipe: Recipe) -> float:
    """Return what one hip costs the node's engine: the fastest of five, one thread."""
    model = load_bundle(bundle, threads=1)
    side = recipe.preprocess.size_px
    image = np.zeros((1, 1, side, side), np.float32)
    known = np.zeros((1, len(recipe.covariates)), np.float32) if recipe.covariates else None
    taken = []
    for _ in range(5):
        since = time.perf_counter()
        model.engine.run(image, known)
        taken.append(time.perf_counter() - since)
    return min(taken) * 1e3


def predictions(report: Path, labels: Iterable[str]) -> tuple[Any, Any, list[str]]:
    """Return classes (n,), probabilities (n, classes) and patients of a report, sorted by file."""
    names = list(labels)
    with (report / PREDICTIONS).open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: (row["file"], row["side"]))
    actual = np.array([names.index(row["actual"]) for row in rows])
    p = np.array([[float(row[name]) for name in names] for row in rows])
    return actual, p, [row["patient_id"] for row in rows]
