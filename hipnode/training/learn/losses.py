"""What is done with a batch: the losses of the papers, by a recipe's role."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from monai.losses.dice import DiceLoss
from torch import Generator, Tensor, nn
from torch.nn import functional

from hipnode.training.learn.loop import Lesson
from hipnode.training.recipe.recipe import Recipe
from hipnode.training.samples.augment import augment, window
from hipnode.training.samples.batches import Batch, Samples, centre
from hipnode.training.samples.spots import blurred
from hipnode.training.samples.transforms import Preprocess

_SEEN = 0.1
"""A spot of less, summed over the map's places, has left the image."""
Objective = Callable[[dict[str, Tensor], Tensor], Tensor]


def lesson(recipe: Recipe, samples: Samples) -> Lesson:
    """Return what a recipe does with a batch: augment, prepare as serving does, compare.

    Parameters
    ----------
    recipe
        Its plan, augmentation and loss.
    samples
        The training split; classes are weighted by how rare they are in it, if asked for.
    """
    plan, how = recipe.plan, recipe.augmentation
    prepare = Preprocess(recipe.preprocess)
    loss = objective(recipe, samples)

    def teach(model: nn.Module, batch: Batch, generator: Generator, device: torch.device) -> Tensor:
        targets, spots = batch.targets, batch.spots
        masks = targets if targets.ndim == 4 else None
        if spots is not None:
            masks = blurred(spots, batch.images.shape[-1])
        masks = None if masks is None else masks.to(device)
        images = batch.images.to(device)
        if images.ndim == 4:
            images, masks = augment(images, masks, how, generator)
            images = prepare(centre(images, plan), window(len(images), how.window, generator))
            images = images.contiguous(memory_format=torch.channels_last)
        masks = None if masks is None else centre(masks, plan)
        targets = (masks if masks is not None and spots is None else targets).to(device)
        known = () if batch.covariates is None else (batch.covariates.to(device),)
        with torch.autocast(device.type, torch.bfloat16, enabled=plan.bf16 is True):
            outputs = model(images, *known)
        outputs = {name: value.float() for name, value in outputs.items()}
        found = loss(outputs, targets)
        if spots is not None and masks is not None:
            classes = targets if targets.ndim == 1 else targets[:, 0]
            negative = sorted(set(range(len(recipe.labels))) - set(recipe.positive_indices))
            found = found + recipe.pointing_loss * pointing(
                outputs["cam"], classes, negative, masks
            )
        return found

    return teach


def pointing(cam: Tensor, classes: Tensor, negative: Sequence[int], spots: Tensor) -> Tensor:
    """Return how far from a finding its map is hot, over the samples of which the place is known.

    Parameters
    ----------
    cam
        (n, classes, h, w): what each place says for each class.
    classes
        (n,) the right ones.
    negative
        Which labels stand for no finding.
    spots
        (n, 1, s, s), bright where the finding is; empty where that is not known.

    Returns
    -------
    Tensor
        The cross entropy of where a place speaks most for the right class and against none, as a
        distribution over places, and the spot as one.
    """
    own = cam[torch.arange(len(cam), device=cam.device), classes]
    odds = (own - cam[:, list(negative)].logsumexp(1)).flatten(1)
    wanted = functional.adaptive_avg_pool2d(spots, (cam.shape[2], cam.shape[3])).flatten(1)
    total = wanted.sum(1)
    known = total > _SEEN
    if not known.any():
        return odds.sum() * 0
    shares = wanted[known] / total[known, None]
    return -(shares * odds[known].log_softmax(1)).sum(1).mean()


def objective(recipe: Recipe, samples: Samples) -> Objective:
    """Return the loss of a recipe's role: of outputs by name and targets."""
    if recipe.role == "localiser":
        return _boxes if "box" in recipe.outputs else _overlap
    smooth = recipe.label_smoothing
    weights = class_weights(samples, len(recipe.labels)) if recipe.reweight else None

    def classify(outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        classes = targets if targets.ndim == 1 else targets[:, 0]
        rare = None if weights is None else weights.to(targets.device)

        def against(logits: Tensor) -> Tensor:
            return functional.cross_entropy(logits, classes, rare, label_smoothing=smooth)

        loss = against(outputs["logits"])
        for head in outputs["aux"].unbind(1) if "aux" in outputs else ():
            loss = loss + 0.3 * against(head)
        if targets.ndim == 2:  # Gale 2017, 3.1: a secondary loss on where the fracture is
            places = functional.cross_entropy(outputs["location"], targets[:, 1], ignore_index=-1)
            loss = loss + recipe.location_loss * torch.nan_to_num(places)
        return loss

    return classify


def class_weights(samples: Samples, classes: int) -> Tensor:
    """Return (classes,) weights, inverse to how frequent a class is; 1 on average over samples."""
    counts = np.bincount(samples.classes, minlength=classes)
    present = int((counts > 0).sum())
    weights = np.where(counts > 0, counts.sum() / np.maximum(counts, 1) / present, 0.0)
    return torch.from_numpy(weights).float()


def _overlap(outputs: dict[str, Tensor], masks: Tensor) -> Tensor:
    logits = outputs["logits"]
    loss: Tensor = functional.binary_cross_entropy_with_logits(logits, masks)
    both: Tensor = loss + DiceLoss(sigmoid=True)(logits, masks)
    return both


def _boxes(outputs: dict[str, Tensor], masks: Tensor) -> Tensor:
    loss: Tensor = functional.smooth_l1_loss(outputs["box"], extents(masks), beta=0.05)
    return loss


def extents(masks: Tensor) -> Tensor:
    """Return the box around each mask (n, 1, s, s), (n, 4): x0, y0, x1, y1 as shares of the side.

    An empty mask (the box left the image) gives the middle.
    """
    inside = masks[:, 0] >= 0.5
    side = inside.shape[-1]
    spans = []
    for along in (inside.any(1), inside.any(2)):  # columns, rows
        first = along.float().argmax(1)
        last = side - along.flip(1).float().argmax(1)
        found = along.any(1)
        spans.append(torch.where(found, first, side // 2) / side)
        spans.append(torch.where(found, last, side // 2) / side)
    return torch.stack([spans[0], spans[2], spans[1], spans[3]], 1)
