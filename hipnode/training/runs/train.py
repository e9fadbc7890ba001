"""``hipnode train``: a recipe and a manifest in, a bundle out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from hipnode.errors import ManifestInvalid
from hipnode.nets.architectures import build
from hipnode.nets.architectures.heads import Clinical
from hipnode.nets.load.loaded import LoadedModel, load_bundle
from hipnode.training.learn.features import OnEmbeddings, embedded, head_alone
from hipnode.training.learn.loop import fit
from hipnode.training.learn.losses import lesson
from hipnode.training.learn.speed import settled
from hipnode.training.learn.state import first_in_turn
from hipnode.training.learn.validate import measure
from hipnode.training.learn.weights import Taken, freeze, start_from
from hipnode.training.pack.bundling import bundle, check_described
from hipnode.training.pack.export import check_out
from hipnode.training.recipe.recipe import Recipe, RecipeInvalid
from hipnode.training.runs import ready
from hipnode.training.samples.batches import Samples
from hipnode.training.samples.gather import Split, gather
from hipnode.training.samples.manifest import Manifests, Row, name_of, read_manifest
from hipnode.training.stats import curves


@dataclass(frozen=True)
class Telling:
    """How a run speaks to whoever watches; each is given plain values."""

    decoded: Callable[[str, int, int], None] = lambda _split, _done, _all: None
    left_out: Callable[[str, dict[str, int]], None] = lambda _split, _why: None
    epoch: Callable[[dict[str, float]], None] = lambda _row: None
    taken: Callable[[str], None] = lambda _line: None  # what of the given weights was taken


def train(
    recipe: Recipe,
    manifest: Manifests,
    out: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    weights: Path | None = None,
    version: str = "0.1.0",
    telling: Telling | None = None,
    rows: Sequence[Row] = (),
    cache: Path | None = None,
) -> LoadedModel:
    """Train a recipe's network and write its bundle.

    Parameters
    ----------
    recipe
        What is learned and how.
    manifest
        From what; see `hipnode.training.samples.manifest`.
    out
        The bundle's folder: absent, empty, or with a bundle, whose place the new one takes. Beside
        it, ``<out>.run`` keeps the cache, the checkpoints, the history and its curves.
    device
        ``cpu`` or ``cuda``.
    resume
        Go on from the last checkpoint, to the same bits as without the break.
    weights
        A safetensors file or a bundle to start from; see `hipnode.training.learn.weights`.
    version
        Of the bundle.
    telling
        Who is told what.
    rows
        The manifest's rows, where they were read already (a fold of a cross-validation).
    cache
        Where decoded images are kept, if others learn from them too; else with the run.

    Raises
    ------
    ManifestInvalid
        If a row cannot be used, or a split is empty.
    RecipeInvalid
        If the given weights hardly fit, or a number of the recipe is not usable.
    InputRefused
        Before anything is learned, if the bundle could not be written, or the device or a
        checkpoint not be used.
    """
    telling = telling or Telling()
    check(recipe, out, device, version)
    run = out.with_name(out.name + ".run")
    if resume:
        ready.check_checkpoints(run)
    run.mkdir(parents=True, exist_ok=True)
    rows = rows or read_manifest(manifest, seed=recipe.plan.seed)
    cache = cache or run / "cache"
    with first_in_turn():
        splits = gather_splits(recipe, rows, cache, telling, name_of(manifest))
    net, taken = start(recipe, splits["train"].samples, weights, telling.taken)
    learner, learned, tested = net, splits["train"].samples, splits["val"].samples
    head = head_alone(recipe, net)
    if head:
        with first_in_turn():
            learned = embedded(recipe, net, learned, device, cache)
            tested = embedded(recipe, net, tested, device, cache)
        begun = taken is not None and taken.head
        learner = OnEmbeddings(head.cpu(), torch.from_numpy(learned.images), begun=begun)
    plan = settled(
        recipe.plan,
        lambda plan: lesson(recipe.model_copy(update={"plan": plan}), learned),
        learner, learned, device, run,
    )  # fmt: skip
    recipe = recipe.model_copy(update={"plan": plan})
    best, history = fit(
        learner,
        learned,
        lesson(recipe, learned),
        lambda model: measure(recipe, model, tested, device),
        recipe.plan,
        folder=run,
        device=device,
        resume=resume,
        tell=telling.epoch,
    )
    if head and isinstance(best, OnEmbeddings):
        best.into(head)
    else:
        net = best
    with first_in_turn() as first:
        if not first:
            return load_bundle(out, threads=1)
        (run / "history.json").write_text(json.dumps(history.rows, indent=1), encoding="utf-8")
        curves.history(history.rows, run / "curves.png")
        seen = {"train": learned.images, "val": tested.images} if head else None
        return bundle(recipe, net.cpu(), splits, history, out, version, seen)


def check(recipe: Recipe, out: Path, device: str, version: str = "0.1.0") -> None:
    """Refuse, before anything is learned, what `train` could not end with a bundle.

    Raises
    ------
    InputRefused
        With the reason.
    """
    ready.check_numbers(recipe)
    ready.check_device(device)
    check_out(out)
    check_described(recipe, version)


def gather_splits(
    recipe: Recipe, rows: Sequence[Row], cache: Path, telling: Telling, source: str
) -> dict[str, Split]:
    """Return the training and the validation split.

    Raises
    ------
    ManifestInvalid
        If a row cannot be used, or a split is empty.
    """
    splits: dict[str, Split] = {}
    for name in ("train", "val"):
        splits[name] = gather(recipe, rows, name, cache, partial(telling.decoded, name))
        telling.left_out(name, splits[name].left_out)
        if not splits[name].items:
            raise ManifestInvalid(f"{source} has nothing for {recipe.name} in split {name}")
    return splits


def start(
    recipe: Recipe,
    samples: Samples,
    weights: Path | None,
    tell: Callable[[str], None] = lambda _line: None,
) -> tuple[nn.Module, Taken | None]:
    """Return the network before its first step, and what it has from elsewhere.

    Parameters
    ----------
    recipe, samples
        What is learned, from what.
    weights
        Where from; None for random weights.
    tell
        Is given the line that says what was taken.

    Raises
    ------
    RecipeInvalid
        If the given weights hardly fit, or the recipe needs some and there are none.
    """
    if recipe.needs_weights and not weights:
        raise RecipeInvalid(f"{recipe.name} goes on from other weights: name them with --weights")
    torch.manual_seed(recipe.plan.seed)
    net = build(recipe.network.name, dict(recipe.network.arguments))
    taken = start_from(net, recipe.network.name, weights, recipe.labels) if weights else None
    if taken:
        tell(str(taken))
    for module in net.modules():
        if isinstance(module, Clinical) and samples.covariates is not None:
            module.learn_scale(torch.from_numpy(samples.covariates))
    freeze(net, taken, backbone=recipe.freeze_backbone, named=recipe.frozen)
    return net, taken
