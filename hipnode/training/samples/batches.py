"""What a network learns from, and how a batch of it becomes tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hipnode.training.recipe.plan import Plan


@dataclass(frozen=True)
class Samples:
    """What a network learns from, ready in memory or memory-mapped.

    ``images`` (n, s, s) uint16 or uint8, or their embeddings (n, width) float32; ``targets`` (n,)
    int64, (n, 2) int64 (class and place of the fracture), (n, k) float32 or (n, s, s) uint8 masks;
    ``weights`` (n,) how often each is drawn; ``covariates`` (n, k) float32 or None; ``spots``
    (n, 2) float32 or None, where a finding is (`samples.spots`).
    """

    images: NDArray[Any]
    targets: NDArray[Any]
    weights: NDArray[np.float64]
    covariates: NDArray[np.float32] | None = None
    spots: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def classes(self) -> NDArray[np.int64]:
        """The class of each sample, (n,), where the targets are classes."""
        return np.asarray(self.targets if self.targets.ndim == 1 else self.targets[:, 0])


@dataclass(frozen=True)
class Batch:
    """A step's share: ``images`` (n, 1, s, s) in [0, 1], not yet augmented or standardised.

    Or (n, width), what a frozen backbone says of them (`learn.features`).
    """

    images: Tensor
    targets: Tensor
    covariates: Tensor | None
    spots: Tensor | None = None


def draw(samples: Samples, plan: Plan, epoch: int) -> NDArray[np.int64]:
    """Return the indices of an epoch, (steps, batch), drawn with the samples' weights."""
    per_epoch = plan.epoch_images or len(samples)
    steps = max(1, per_epoch // plan.batch)
    rng = np.random.default_rng([plan.seed, epoch])
    chances = samples.weights / samples.weights.sum()
    return rng.choice(len(samples), size=(steps, plan.batch), p=chances).astype(np.int64)


def load(samples: Samples, chosen: Iterable[int], plan: Plan) -> Batch:
    """Return the chosen samples as tensors, of the stored size or of the plan's."""
    order = np.asarray(list(chosen))
    images = tensor_of(samples.images[order])
    targets = torch.from_numpy(np.ascontiguousarray(samples.targets[order]))
    if targets.ndim == 3:
        targets = targets[:, None].float() / (255 if targets.dtype == torch.uint8 else 1)
    side = round((plan.size_px or images.shape[-1] * plan.view) / plan.view)
    if images.ndim == 4 and side != images.shape[-1]:
        images = resize(images, side)
        targets = resize(targets, side) if targets.ndim == 4 else targets
    known, spots = (
        None if of is None else torch.from_numpy(of[order])
        for of in (samples.covariates, samples.spots)
    )
    return Batch(images, targets, known, spots)


def resize(images: Tensor, side: int) -> Tensor:
    """Return (n, 1, side, side), antialiased."""
    return nn.functional.interpolate(images, (side, side), mode="bilinear", antialias=True)


def centre(images: Tensor, plan: Plan) -> Tensor:
    """Return the middle that the network sees; the rest was there to move in from outside."""
    stored = images.shape[-1]
    side = plan.size_px or round(stored * plan.view)
    first = (stored - side) // 2
    return images[..., first : first + side, first : first + side]


def tensor_of(stored: NDArray[Any]) -> Tensor:
    """Return stored images (n, s, s) as (n, 1, s, s) float32 in [0, 1]; embeddings as they are."""
    if stored.ndim == 2:
        return torch.from_numpy(stored)
    top = np.iinfo(stored.dtype).max
    return torch.from_numpy(stored.astype(np.float32) / top)[:, None]
