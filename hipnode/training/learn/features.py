"""A head alone: what a frozen backbone says of an image that nothing changes is reckoned once."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from hipnode.nets.architectures.heads import Head
from hipnode.training.learn.validate import forward
from hipnode.training.recipe.augmentation import Augmentation
from hipnode.training.recipe.recipe import Recipe
from hipnode.training.samples.batches import Samples
from hipnode.training.samples.gather import keep

_LEAST: Final = (0.01, 1e-3)
"""Of the median spread, and of the mean: what hardly differs is not blown up beyond that."""


class OnEmbeddings(nn.Module):
    """The head of a network over standardised embeddings: they may differ little beside their mean.

    Parameters
    ----------
    head
        The network's; trained in place.
    embeddings
        (n, width) of the training split.
    begun
        The head knows embeddings as they are, and goes on from there.
    """

    mean: Tensor
    spread: Tensor
    still = ("mean", "spread")  # in every checkpoint of the same backbone

    def __init__(self, head: Head, embeddings: Tensor, *, begun: bool = False) -> None:
        super().__init__()
        self.score = head
        mean, spread = embeddings.mean(0), embeddings.std(0, correction=0)
        least = torch.maximum(_LEAST[0] * spread.median(), _LEAST[1] * mean.abs()).clamp(min=1e-6)
        self.register_buffer("mean", mean)
        self.register_buffer("spread", torch.maximum(spread, least))
        if begun:
            weight, bias = _first(head)
            with torch.no_grad():
                bias.add_(weight[:, : head.width] @ self.mean)
                weight[:, : head.width] *= self.spread

    def forward(self, embeddings: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``logits`` (n, classes) of embeddings (n, width)."""
        return {"logits": self.score((embeddings - self.mean) / self.spread, covariates)}

    def into(self, head: Head) -> None:
        """Write what was learned into a head that takes embeddings as they are."""
        head.load_state_dict(self.score.state_dict())
        weight, bias = _first(head)
        with torch.no_grad():
            taken = weight[:, : head.width] / self.spread.to(weight.device)
            weight[:, : head.width] = taken
            bias.sub_(taken @ self.mean.to(weight.device))


def _first(head: Head) -> tuple[Tensor, Tensor]:
    first = head if head.hidden is None else head.hidden[0]
    return first.get_parameter("weight"), first.get_parameter("bias")


def head_alone(recipe: Recipe, net: nn.Module) -> Head | None:
    """Return a network's head if it is all that learns, and from the same images each time."""
    head = getattr(net, "score", None)
    learned = {name.split(".")[0] for name, each in net.named_parameters() if each.requires_grad}
    plain = {"embedding", "logits"} <= set(recipe.outputs) and not recipe.pointing_loss
    still = learned == {"score"} and recipe.augmentation == Augmentation()
    return head if plain and still and isinstance(head, Head) else None


def embedded(recipe: Recipe, net: nn.Module, samples: Samples, device: str, cache: Path) -> Samples:
    """Return samples whose ``images`` are their embeddings, (n, width) float32.

    They are kept in ``cache``, by what they follow from: another head over them need not wait.
    """
    facts = hashlib.sha256(f"{recipe.preprocess} {recipe.plan.view} {recipe.network}".encode())
    facts.update(np.ascontiguousarray(samples.images).data)
    for name, value in net.state_dict().items():
        if not name.startswith("score."):
            facts.update(value.cpu().contiguous().numpy().data)
    at = cache / f"embeddings-{facts.hexdigest()[:16]}.npy"
    if at.exists():
        return replace(samples, images=np.load(at))
    found = forward(recipe, net.to(device), samples, "embedding", device)
    keep(at, found)
    return replace(samples, images=found)
