"""One cell of a league: a system and a seed, trained and judged once, and known again by a key."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import save_file

import hipnode
from hipnode.errors import InputRefused
from hipnode.nets import load_bundle
from hipnode.nets.architectures import build
from hipnode.training.judge.evaluate import evaluate
from hipnode.training.league.files import document, write
from hipnode.training.league.images import Tell, elsewhere, images
from hipnode.training.league.profiles import TASKS, UNTRAINED, Profile, System, Task
from hipnode.training.recipe.recipe import Pretraining, Recipe, read_recipe
from hipnode.training.runs.pretrain import BACKBONE, backbone_weights, is_whole, pretrain
from hipnode.training.runs.ready import CheckpointUnreadable
from hipnode.training.runs.train import train
from hipnode.training.stats.paired import Area, macro_area, mean_of

RESULT: Final = "cell.json"
PREDICTIONS: Final = "predictions.csv"
CACHE: Final = "cache"
"""Of decoded images, which all rows of a task share; it may be deleted."""
_TOLD: Final = ("figures", "images", "learned_s", "parameters", "served_ms", "size_px")
_CODE: Final = ("nets", "imaging", "training/learn", "training/samples", "training/recipe")


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
    def row(self) -> System:
        """The row that it is of."""
        return self.task.systems[self.system]

    @property
    def recipe(self) -> Recipe:
        """What is trained, with all that the profile changes."""
        row = self.row
        found = self._with_labels(row.recipe, *row.changes, f"plan.seed={self.seed}")
        if not isinstance(found, Recipe):
            raise InputRefused(f"{row.recipe} learns without labels; it is no row of a league")
        return found.model_copy(update={"name": self.system})

    @property
    def start(self) -> Pretraining | Recipe | None:
        """The recipe that it goes on from; the same for every seed."""
        name = self.row.start
        if name in {"", UNTRAINED}:
            return None
        if isinstance(read_recipe(name), Recipe):
            return self._with_labels(name)
        return read_recipe(name, self.profile.for_recipe(name, labels=False))

    def _with_labels(self, name: str, *own: str) -> Pretraining | Recipe:
        common = self.profile.for_recipe(name, labels=True)
        return read_recipe(name, [*common, f'views=["{self.task.view}"]', *own])


def cells(profile: Profile, seeds: int, only: str = "*") -> list[Cell]:
    """Return the cells of a league: all rows with the first seed, then all with the next."""
    return [
        Cell(task, system, seed, profile)
        for seed in range(seeds)
        for task in TASKS
        for system in task.systems
        if fnmatch(system, only) or fnmatch(task.name, only)
    ]


def with_played(profile: Profile, seeds: int, folder: Path) -> list[Cell]:
    """Return the cells of a league, with all seeds that its folder has results of.

    Raises
    ------
    InputRefused
        If the folder has results of another profile.
    """
    for result in sorted(folder.glob(f"*/*/seed-*/{RESULT}")):
        other = document(result).get("profile", profile.name)
        if other != profile.name:
            raise InputRefused(
                f"{folder} is a league of profile {other}: one of {profile.name} needs a folder "
                "of its own"
            )
        number = result.parent.name.removeprefix("seed-")
        seeds = max(seeds, int(number) + 1 if number.isdecimal() else 0)
    return cells(profile, seeds)


def key_of(cell: Cell, *manifests: Path) -> str:
    """Return what a result depends on, as one digest: recipe, images (here, elsewhere), code."""
    start = cell.start
    facts = [
        cell.recipe.model_dump(mode="json"),
        start.model_dump(mode="json") if start else None,
        *(hashlib.sha256(one.read_bytes()).hexdigest() for one in manifests),
        _code(),
    ]
    return _digest(facts)


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _code() -> str:
    root = Path(hipnode.__file__).parent
    found = hashlib.sha256()
    for folder in _CODE:
        for path in sorted((root / folder).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()


def known(cell: Cell, folder: Path, tell: Tell = lambda _line: None) -> dict[str, Any] | None:
    """Return what was found when a cell was played before, with this recipe, images and code.

    ``tell`` is given a line for a result that cannot be used, and so counts as not played.
    """
    at = folder / cell.folder
    if not (at / RESULT).exists():
        return None
    phantoms = filter(None, (cell.task.phantom, cell.task.elsewhere))
    manifests = [folder / "data" / phantom / "manifest.csv" for phantom in phantoms]
    for gone in (manifest for manifest in manifests if not manifest.exists()):
        tell(f"{cell.folder}: its images are gone ({gone}): not in the tables without them")
        return None
    found = document(at / RESULT)
    if found and found.get("key") != key_of(cell, *manifests):
        tell(f"{cell.folder}: of another recipe, other images or other code: counts as not played")
        return None
    try:
        people = set(measured(folder / found["report"], cell).patients)
        whole = found["test_patients"] == len(people) and found.keys() >= set(_TOLD)
        if (other := folder / found["report"] / "external").exists():
            predictions(other, cell.recipe.labels)
    except (OSError, LookupError, TypeError, ValueError, csv.Error, InputRefused):
        whole = False
    if not whole:
        tell(f"{cell.folder}: {RESULT} or its report is damaged: counts as not played")
    return found if whole else None


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
    other = elsewhere(cell.task, cell.profile, folder, tell)
    if (before := known(cell, folder)) is not None:
        return before
    at, key = folder / cell.folder, key_of(cell, *filter(None, (manifest, other)))
    run = at / key[:12]
    started = time.process_time()
    weights, spent_s = _backbone(cell, manifest, folder, tell)
    recipe = cell.recipe
    tell(f"{cell.folder}: learns")
    shutil.rmtree(run / "bundle", ignore_errors=True)
    cache = folder / CACHE / cell.task.phantom
    _gone_on(partial(train, recipe, manifest, run / "bundle", weights=weights, cache=cache), tell)
    learned_s = time.process_time() - started - (spent_s if weights else 0)
    found = evaluate(
        run / "bundle", manifest, run / "report", views=recipe.views, threads=1, external=other
    )
    served = _milliseconds(run / "bundle", recipe)
    net = build(recipe.network.name, dict(recipe.network.arguments))
    spare = tuple(getattr(net, "training_only", ()))
    people = cell.profile.people_of(cell.task)
    result = {
        "key": key,
        "task": cell.task.name,
        "system": cell.system,
        "seed": cell.seed,
        "profile": cell.profile.name,
        "parameters": sum(p.numel() for n, p in net.named_parameters() if not n.startswith(spare)),
        "size_px": recipe.preprocess.size_px,
        "images": recipe.plan.epochs * (recipe.plan.epoch_images or people["train"]),
        "learned_s": round(learned_s, 1),
        "served_ms": round(served, 2),
        "test_patients": found.patients,
        "figures": {one.name: one.value for one in found.figures},
        "elsewhere": {one.name: one.value for one in found.elsewhere},
        "report": str((run / "report").relative_to(folder)),
    }
    write(at / RESULT, result)
    _spend(run / "bundle")
    return result


def _gone_on(learn: Callable[..., object], tell: Tell) -> None:
    """Go on from the last checkpoint; begin anew, and say so, where it cannot be read."""
    try:
        learn(resume=True)
    except CheckpointUnreadable as error:
        tell(f"{error}: begun anew")
        learn(resume=False)


def _spend(learned: Path) -> None:
    """Delete the checkpoints of what has learned: ten times its size, and of no more use."""
    for checkpoint in learned.with_name(f"{learned.name}.run").glob("*.pt"):
        checkpoint.unlink()


def _backbone(cell: Cell, manifest: Path, folder: Path, tell: Tell) -> tuple[Path | None, float]:
    """Return the weights that a cell goes on from, learned once, and the seconds that it took."""
    if cell.row.start == UNTRAINED:
        return _untrained(cell.recipe, folder), 0.0
    recipe = cell.start
    if recipe is None:
        return None, 0.0
    facts = [
        recipe.model_dump(mode="json"),
        hashlib.sha256(manifest.read_bytes()).hexdigest(),
        _code(),
    ]
    key = _digest(facts)[:12]
    at, cache = folder / "backbones" / f"{recipe.name}-{key}", folder / CACHE / cell.task.phantom
    started = time.process_time()
    if isinstance(recipe, Recipe):
        if not at.exists():  # a bundle is there as a whole, or not
            tell(f"{recipe.name}: learns first")
            _gone_on(partial(train, recipe, manifest, at, cache=cache), tell)
            _spend(at)
        return at, time.process_time() - started
    if not is_whole(at / BACKBONE):
        tell(f"{recipe.name}: learns without labels")
        shutil.rmtree(at, ignore_errors=True)
        _gone_on(partial(pretrain, recipe, manifest, at, cache=cache), tell)
        _spend(at)
    return at / BACKBONE, time.process_time() - started


def _untrained(recipe: Recipe, folder: Path) -> Path:
    """Return the weights of a network before its first step; the same for every seed."""
    key = _digest([recipe.network.model_dump(mode="json"), _code()])[:12]
    at = folder / "backbones" / f"{UNTRAINED}-{key}" / BACKBONE
    if not is_whole(at):
        at.parent.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        net = build(recipe.network.name, dict(recipe.network.arguments))
        save_file(backbone_weights(net), at.with_suffix(".tmp"))
        at.with_suffix(".tmp").replace(at)
    return at


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


@dataclass(frozen=True)
class Measured:
    """What a cell is judged by: the AUC, or of boxes the mean Jaccard index.

    ``patients`` (n,) are those of the hips or images; ``actual`` (n,) and ``p`` (n, classes) are
    None of boxes.
    """

    area: Area
    patients: list[str]
    actual: Any = None
    p: Any = None


def measured(report: Path, cell: Cell) -> Measured:
    """Return what a report of a cell says, sample by sample."""
    if cell.task.of != "boxes":
        actual, p, whose = predictions(report, cell.recipe.labels)
        return Measured(macro_area(actual, p, whose), whose, actual, p)
    rows = _told(report)
    whose = [row["patient_id"] for row in rows]
    return Measured(mean_of(np.array([float(row["jaccard"]) for row in rows]), whose), whose)


def predictions(report: Path, labels: Iterable[str]) -> tuple[Any, Any, list[str]]:
    """Return classes (n,), probabilities (n, classes) and patients of a report, sorted by file."""
    names, rows = list(labels), _told(report)
    actual = np.array([names.index(row["actual"]) for row in rows])
    p = np.array([[float(row[name]) for name in names] for row in rows])
    return actual, p, [row["patient_id"] for row in rows]


def _told(report: Path) -> list[dict[str, str]]:
    with (report / PREDICTIONS).open(encoding="utf-8", newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: (row["file"], row["side"]))
