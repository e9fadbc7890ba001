"""A head alone: what a frozen backbone says of an image that nothing changes is reckoned once."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from hipnode.training.learn.validate import forward
from hipnode.training.recipe.augmentation import Augmentation
from hipnode.training.recipe.recipe import Recipe
from hipnode.training.samples.batches import Samples


class OnEmbeddings(nn.Module):
    """The head of a network, over embeddings in place of images."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.score = net.get_submodule("score")

    def forward(self, embeddings: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``logits`` (n, classes) of embeddings (n, width)."""
        return {"logits": self.score(embeddings, covariates)}


def head_alone(recipe: Recipe, net: nn.Module) -> bool:
    """Tell whether a network's head is all that learns, and from the same images each time."""
    learned = {name.split(".")[0] for name, each in net.named_parameters() if each.requires_grad}
    plain = {"embedding", "logits"} <= set(recipe.outputs) and not recipe.pointing_loss
    return plain and learned == {"score"} and recipe.augmentation == Augmentation()


def embedded(recipe: Recipe, net: nn.Module, samples: Samples, device: str) -> Samples:
    """Return samples whose ``images`` are their embeddings, (n, width) float32."""
    found = forward(recipe, net.to(device), samples, "embedding", device)
    return replace(samples, images=found)
