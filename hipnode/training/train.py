"""``hipnode train``: a recipe and a manifest in, a bundle out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from monai.losses.dice import DiceLoss
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from hipnode.errors import ManifestInvalid
from hipnode.nets.architectures import build
from hipnode.nets.bundle import LoadedModel
from hipnode.training import calibrate, curves
from hipnode.training.card import Card
from hipnode.training.data import Split, gather
from hipnode.training.export import write_bundle
from hipnode.training.loop import History, Objective, Samples, centre, fit, resize, to_unit
from hipnode.training.manifest import read_manifest
from hipnode.training.recipe import Recipe
from hipnode.training.transforms import Preprocess


@dataclass(frozen=True)
class Telling:
    """How a run speaks to whoever watches; each is given plain values."""

    decoded: Callable[[str, int, int], None] = lambda _split, _done, _all: None
    left_out: Callable[[str, dict[str, int]], None] = lambda _split, _why: None
    epoch: Callable[[dict[str, float]], None] = lambda _row: None


def train(
    recipe: Recipe,
    manifest: Path,
    out: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    weights: Path | None = None,
    version: str = "0.1.0",
    telling: Telling | None = None,
) -> LoadedModel:
    """Train a recipe's network and write its bundle.

    Parameters
    ----------
    recipe
        What is learned and how.
    manifest
        From what; see `hipnode.training.manifest`.
    out
        The bundle's folder. Beside it, ``<out>.run`` keeps the cache, the checkpoints, the
        history and its curves.
    device
        ``cpu`` or ``cuda``.
    resume
        Go on from the last checkpoint, to the same bits as without the break.
    weights
        A safetensors file to start from (a pretrained backbone); tensors that fit are taken.
    version
        Of the bundle.
    telling
        Who is told what.

    Raises
    ------
    ManifestInvalid
        If a row cannot be used, or a split is empty.
    """
    telling = telling or Telling()
    run = out.with_name(out.name + ".run")
    run.mkdir(parents=True, exist_ok=True)
    rows = read_manifest(manifest, seed=recipe.plan.seed)
    splits: dict[str, Split] = {}
    for name in ("train", "val"):
        splits[name] = gather(recipe, rows, name, run / "cache", partial(telling.decoded, name))
        telling.left_out(name, splits[name].left_out)
        if not splits[name].items:
            raise ManifestInvalid(f"{manifest} has nothing for {recipe.name} in split {name}")
    torch.manual_seed(recipe.plan.seed)
    net = build(recipe.network.name, dict(recipe.network.arguments))
    if weights:
        start_from(net, weights)
    net, history = fit(
        net,
        splits["train"].samples,
        objective(recipe),
        lambda model: measure(recipe, model, splits["val"].samples, device),
        recipe.plan,
        recipe.augmentation,
        Preprocess(recipe.preprocess),
        folder=run,
        device=device,
        resume=resume,
        tell=telling.epoch,
    )
    (run / "history.json").write_text(json.dumps(history.rows, indent=1), encoding="utf-8")
    curves.history(history.rows, run / "curves.png")
    return _bundle(recipe, net.cpu(), splits, history, out, version)


def start_from(net: nn.Module, weights: Path) -> list[str]:
    """Take from a safetensors file every tensor whose name and shape fit; return their names."""
    own = net.state_dict()
    given = load_file(weights)
    taken = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    net.load_state_dict(own | taken)
    return sorted(taken)


def objective(recipe: Recipe) -> Objective:
    """Return the loss of a recipe's role."""
    smooth = recipe.label_smoothing
    if recipe.role == "localiser":
        dice = DiceLoss(sigmoid=True)

        def overlap(outputs: dict[str, Tensor], masks: Tensor) -> Tensor:
            logits = outputs["logits"]
            loss: Tensor = functional.binary_cross_entropy_with_logits(logits, masks)
            both: Tensor = loss + dice(logits, masks)
            return both

        return overlap

    def classify(outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        loss = functional.cross_entropy(outputs["logits"], targets, label_smoothing=smooth)
        for head in outputs["aux"].unbind(1) if "aux" in outputs else ():
            loss = loss + 0.3 * functional.cross_entropy(head, targets, label_smoothing=smooth)
        return loss

    return classify


def forward(
    recipe: Recipe, net: nn.Module, samples: Samples, output: str, device: str
) -> NDArray[np.float32]:
    """Return an output of the network for all samples, un-augmented, as serving would see them."""
    prepare = Preprocess(recipe.preprocess)
    side = round(recipe.preprocess.size_px / recipe.plan.view)
    plan = recipe.plan.model_copy(update={"size_px": recipe.preprocess.size_px})
    found = []
    net.eval()
    with torch.inference_mode():
        for start in range(0, len(samples), 32):
            images = to_unit(np.asarray(samples.images[start : start + 32]))
            images = images if images.shape[-1] == side else resize(images, side)
            batch = prepare(centre(images, plan)).to(device)
            found.append(net(batch)[output].float().cpu().numpy())
    return np.concatenate(found)


def measure(recipe: Recipe, net: nn.Module, samples: Samples, device: str) -> dict[str, float]:
    """Return the validation figures of an epoch; ``score`` decides which one is kept."""
    if recipe.role == "localiser":
        inside = forward(recipe, net, samples, "mask", device)[:, 0] >= 0.5
        wanted = np.asarray(samples.targets) > 127
        union = np.maximum((inside | wanted).sum((1, 2)), 1)
        jaccard = (inside & wanted).sum((1, 2)) / union
        return {"jaccard": float(jaccard.mean()), "score": float(jaccard.mean())}
    logits = forward(recipe, net, samples, "logits", device)
    p = calibrate.probabilities(logits, 1.0)
    actual = np.asarray(samples.targets)
    positive = np.isin(actual, [recipe.labels.index(label) for label in recipe.positive_labels])
    p_positive = p[:, [recipe.labels.index(label) for label in recipe.positive_labels]].sum(1)
    surprise = -float(np.log(p[np.arange(len(actual)), actual] + 1e-9).mean())
    both = positive.any() and not positive.all()
    return {
        "accuracy": float((p.argmax(1) == actual).mean()),
        "auc": float(roc_auc_score(positive, p_positive)) if both else float("nan"),
        "val_loss": surprise,
        "score": -surprise,
    }


def _bundle(
    recipe: Recipe,
    net: nn.Module,
    splits: dict[str, Split],
    history: History,
    out: Path,
    version: str,
) -> LoadedModel:
    validation = splits["val"].samples
    temperature, doubtful, present = 1.0, 0.5, 0.5
    if recipe.role != "localiser":
        logits = forward(recipe, net, validation, "logits", "cpu")
        actual = np.asarray(validation.targets)
        temperature = calibrate.temperature(logits, actual)
        columns = [recipe.labels.index(label) for label in recipe.positive_labels]
        doubtful, present = calibrate.operating_point(
            calibrate.probabilities(logits, temperature)[:, columns].sum(1),
            np.isin(actual, columns),
            recall=recipe.operating_point.recall,
            precision=recipe.operating_point.precision,
        )
    counts = {name: len(split.items) for name, split in splits.items()}
    trained_on = f"{counts['train']} samples of {len(set(splits['train'].patients))} patients"
    block = {
        "format": 1,
        "name": recipe.name,
        "version": version,
        "role": recipe.role,
        "network": recipe.network.model_dump(),
        "outputs": list(recipe.outputs),
        "labels": list(recipe.labels),
        "positive_labels": list(recipe.positive_labels),
        "preprocessing": {
            name: getattr(recipe.preprocess, name)
            for name in recipe.preprocess.__dataclass_fields__
        },
        "covariates": list(recipe.covariates),
        "temperature": temperature,
        "operating_point": {
            "name": recipe.role,
            "doubtful_from": doubtful,
            "present_from": present,
            "chosen_on": f"{counts['val']} validation samples",
        },
        "card": recipe.card,
        "trained_on": trained_on,
    }
    golden = forward_input(recipe, validation)
    return write_bundle(out, block, net, golden, _card(recipe, history, trained_on).markdown())


def forward_input(recipe: Recipe, samples: Samples) -> NDArray[np.float32]:
    """Return the first validation sample as the network sees it."""
    side = round(recipe.preprocess.size_px / recipe.plan.view)
    plan = recipe.plan.model_copy(update={"size_px": recipe.preprocess.size_px})
    images = to_unit(np.asarray(samples.images[:1]))
    images = images if images.shape[-1] == side else resize(images, side)
    return np.asarray(Preprocess(recipe.preprocess)(centre(images, plan)), np.float32)


def _card(recipe: Recipe, history: History, trained_on: str) -> Card:
    best = history.rows[history.best_epoch] if history.rows else {}
    plan = recipe.plan
    return Card(
        title=recipe.system,
        paper=recipe.paper,
        purpose=recipe.card,
        network=f"{recipe.network.name} {dict(recipe.network.arguments)}",
        data=trained_on,
        training=f"{len(history.rows)} epochs, batches of {plan.batch}, AdamW at "
        f"{plan.learning_rate:g}, augmented; the averaged weights of epoch {history.best_epoch}",
        figures={
            (name, "validation split"): f"{value:.4f}"
            for name, value in best.items()
            if name not in {"epoch", "score", "loss"}
        },
        limits=tuple(f"{what}: {why}" for what, why in recipe.where.items())
        or ("Evaluate on images of your own before anything else: `hipnode evaluate`.",),
    )
