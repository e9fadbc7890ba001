"""From a trained network to its bundle: calibration, thresholds, model card."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from hipnode.errors import InputRefused
from hipnode.nets.architectures.heads import Head
from hipnode.nets.bundle.spec import HipnodePart
from hipnode.nets.bundle.typical import Typical
from hipnode.nets.load.loaded import LoadedModel
from hipnode.training.learn.state import History
from hipnode.training.learn.validate import forward, prepared
from hipnode.training.pack.card import Card
from hipnode.training.pack.export import write_bundle
from hipnode.training.pack.fit_typical import fit
from hipnode.training.recipe.recipe import Recipe
from hipnode.training.samples.gather import Split
from hipnode.training.stats import calibrate


def bundle(
    recipe: Recipe,
    net: nn.Module,
    splits: Mapping[str, Split],
    history: History,
    out: Path,
    version: str,
    embeddings: Mapping[str, NDArray[np.float32]] | None = None,
) -> LoadedModel:
    """Calibrate a network on the validation split, and write it with all that belongs to it.

    Parameters
    ----------
    recipe, net, splits, history
        What was trained, with what, on what, and how it went.
    out
        The bundle's folder.
    version
        Of the bundle.
    embeddings
        By split what the network says of its images, (n, features), where that is known already.

    Raises
    ------
    BundleRefused
        If the written bundle does not load and reproduce itself.
    """
    at_even_odds(recipe, net)
    validation = splits["val"].samples
    counts = {name: len(split.items) for name, split in splits.items()}
    trained_on = f"{counts['train']} samples of {len(set(splits['train'].patients))} patients"
    block = described(recipe, version, trained_on) | calibration(recipe, net, splits["val"])
    golden = prepared(recipe, validation, slice(0, 1)).numpy()
    known = None if validation.covariates is None else validation.covariates[:1]
    card = model_card(recipe, history, trained_on, block["operating_point"]["chosen_on"])
    usual = usually(recipe, net, splits, embeddings)
    return write_bundle(out, block, net, golden, card.markdown(), known, usual)


def at_even_odds(recipe: Recipe, net: nn.Module) -> None:
    """Move the scores of a network so that its probabilities hold where half are positive.

    Raises
    ------
    InputRefused
        If the prior is known without the temperature, or the network has no such scores.
    """
    aims = recipe.operating_point
    if aims.prior == 0.5:
        return
    head = getattr(net, "score", None)
    if not aims.temperature or not isinstance(head, Head):
        raise InputRefused("a prior needs the temperature, and a network with class scores")
    with torch.no_grad():
        head.bias[list(recipe.positive_indices)] += aims.temperature * math.log(1 / aims.prior - 1)


def described(recipe: Recipe, version: str, trained_on: str) -> dict[str, Any]:
    """Return what a bundle's metadata says of its network: all but the calibration."""
    return {
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
        "card": recipe.card,
        "trained_on": trained_on,
    }


def check_described(recipe: Recipe, version: str) -> None:
    """Refuse what no bundle can say of itself, such as a version that is none.

    Raises
    ------
    InputRefused
        With the first key, and what is wrong with it.
    """
    point = {"name": recipe.role, "doubtful_from": 0.5, "present_from": 0.5}
    try:
        HipnodePart.model_validate(described(recipe, version, "-") | {"operating_point": point})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the recipe"
        given = f" is {first['input']!r}" if isinstance(first["input"], str) else ""
        raise InputRefused(f"no bundle for that: {where}{given}: {first['msg']}") from None


def usually(
    recipe: Recipe,
    net: nn.Module,
    splits: Mapping[str, Split],
    embeddings: Mapping[str, NDArray[np.float32]] | None = None,
) -> Typical | None:
    """Return what the training split looks like to a classifier that gives an embedding."""
    if "embedding" not in recipe.outputs:
        return None
    seen = embeddings or {
        name: forward(recipe, net, split.samples, "embedding", "cpu")
        for name, split in splits.items()
    }
    found = fit(seen["train"], splits["train"].samples.classes, seen["val"])
    limit = recipe.operating_point.usual_to
    return replace(found, limit=limit) if found and limit else found


def calibration(recipe: Recipe, net: nn.Module, split: Split) -> dict[str, Any]:
    """Return temperature, operating point and class thresholds, from the validation split."""
    count = f"{len(split.items)} validation samples"
    point: dict[str, Any] = {"name": recipe.role, "doubtful_from": 0.5, "present_from": 0.5}
    if recipe.role == "localiser":
        return {"temperature": 1.0, "operating_point": point | {"chosen_on": count}}
    logits = forward(recipe, net, split.samples, "logits", "cpu")
    actual = split.samples.classes
    aims = recipe.operating_point
    temperature = aims.temperature or calibrate.temperature(logits, actual)
    p = calibrate.probabilities(logits, temperature)
    found = calibrate.operating_point(
        p[:, recipe.positive_indices].sum(1),
        np.isin(actual, recipe.positive_indices),
        recall=aims.recall,
        precision=aims.precision,
        confidence=aims.confidence,
    )
    point |= {
        "doubtful_from": found.doubtful_from,
        "present_from": found.present_from,
        "chosen_on": f"{count}: {found.promise}",
    }
    if aims.fixed:
        doubtful, present = aims.fixed
        point |= {"doubtful_from": doubtful, "present_from": present, "chosen_on": aims.chosen_on}
    if aims.equivocal and recipe.role == "fracture":
        share, broken = aims.equivocal
        point = calibrate.with_band(
            point,
            p[:, recipe.positive_indices].sum(1),
            np.isin(actual, recipe.positive_indices),
            share=share,
            broken=broken,
            confidence=aims.confidence,
        )
    wanted = aims.class_precision
    each = calibrate.class_thresholds(p, actual, wanted, aims.confidence) if wanted else []
    return {
        "temperature": temperature,
        "operating_point": point,
        "class_thresholds": {
            label: round(threshold, 4)
            for label, threshold in zip(recipe.labels, each, strict=False)
            if threshold is not None
        },
    }


def model_card(recipe: Recipe, history: History, trained_on: str, chosen_on: str) -> Card:
    """Return the card of a network that was just trained."""
    best = history.rows[history.best_epoch] if history.rows else {}
    plan = recipe.plan
    return Card(
        title=recipe.system,
        paper=recipe.paper,
        purpose=recipe.card,
        network=f"{recipe.network.name} {dict(recipe.network.arguments)}",
        data=trained_on,
        training=f"{len(history.rows)} epochs, batches of {plan.batch}, {plan.optimiser} at "
        f"{plan.learning_rate:g}, augmented; the averaged weights of epoch {history.best_epoch}; "
        f"thresholds on {chosen_on}",
        figures={
            (name, "validation split"): f"{value:.4f}"
            for name, value in best.items()
            if name not in {"epoch", "score", "loss"}
        },
        limits=tuple(f"{what}: {why}" for what, why in recipe.where.items())
        or ("Evaluate on images of your own before anything else: `hipnode evaluate`.",),
    )
