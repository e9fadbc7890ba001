"""Learning a backbone without labels: DINO and MoCo, short and plain.

No library that is well kept offers these without torchvision. Both take two or more changed views
of each image and return their loss; what follows the network slowly is moved by `after_step`.

References
----------
DXA 2023, Fig. 1C. Caron 2021, Emerging Properties in Self-Supervised Vision Transformers (DINO).
He 2020, Momentum Contrast (MoCo); Chen 2020, its second version (a perceptron as head).
"""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hipnode.training.learn.state import blend
from hipnode.training.recipe.selfsupervision import SelfSupervision

Views = list[Tensor]
"""Of the same images: two large ones first, then (DINO) the small ones."""


class Embedder(nn.Module):
    """A backbone of the registry and a projection; the backbone's own head is left unused."""

    def __init__(self, backbone: nn.Module, *widths: int) -> None:
        super().__init__()
        self.backbone: nn.Module = backbone
        layers: list[nn.Module] = []
        for one, following in pairwise(widths):
            layers += [nn.Linear(one, following), nn.GELU()]
        self.project = nn.Sequential(*layers[:-1])
        for parameter in backbone.get_submodule("score").parameters():
            parameter.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.project(self.backbone(x)["embedding"].float())
        return found


class Dino(nn.Module):
    """A student learns what its slowly moving average says about another view of the image.

    The teacher's answers are centred and sharpened, so that neither all images nor no two images
    get the same answer.
    """

    centre: Tensor
    done: Tensor

    def __init__(self, backbone: nn.Module, width: int, how: SelfSupervision) -> None:
        super().__init__()
        self.how = how
        self.student = Embedder(backbone, width, how.hidden, how.hidden, 256)
        self.prototypes = nn.Linear(256, how.prototypes, bias=False)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.teacher_prototypes = copy.deepcopy(self.prototypes).requires_grad_(False)
        self.register_buffer("centre", torch.zeros(how.prototypes))
        self.register_buffer("done", torch.zeros(1))

    def forward(self, views: Views) -> Tensor:
        """Return the loss over all pairs of a large view and another one."""
        with torch.no_grad():
            taught = [
                self._score(self.teacher, self.teacher_prototypes, view) for view in views[:2]
            ]
            aims = [
                functional.softmax((one - self.centre) / self.how.teacher_temperature, 1)
                for one in taught
            ]
        losses = []
        for index, view in enumerate(views):
            said = self._score(self.student, self.prototypes, view) / self.how.temperature
            said = functional.log_softmax(said, 1)
            losses += [-(aim * said).sum(1).mean() for at, aim in enumerate(aims) if at != index]
        if self.training:
            mean = torch.cat(taught).mean(0)
            self.centre.lerp_(mean, 1 - self.how.centre_momentum)
        return torch.stack(losses).mean()

    def _score(self, embedder: Embedder, prototypes: nn.Linear, view: Tensor) -> Tensor:
        fixed = prototypes.weight.detach()
        moves = (self.done >= self.how.still).float()
        weight = fixed + (prototypes.weight - fixed) * moves
        answer = functional.linear(
            functional.normalize(embedder(view), dim=1), functional.normalize(weight, dim=1)
        )
        return answer.float()

    def follow(self, done: float) -> None:
        """Move the teacher; ever more slowly towards the end (``done`` from 0 to 1).

        The prototypes stay as they are at first, so that the answers do not collapse onto a few.
        """
        self.done.fill_(done)
        momentum = 1 - (1 - self.how.momentum) * (math.cos(math.pi * done) + 1) / 2
        blend(self.teacher, self.student, momentum)
        blend(self.teacher_prototypes, self.prototypes, momentum)

    @property
    def backbone(self) -> nn.Module:
        """What was learned: the teacher's."""
        return self.teacher.backbone


class Moco(nn.Module):
    """Two views of an image shall be nearer to each other than to the images of a queue."""

    queue: Tensor
    place: Tensor

    def __init__(self, backbone: nn.Module, width: int, how: SelfSupervision) -> None:
        super().__init__()
        self.how = how
        self.query = Embedder(backbone, width, width, how.dimensions)
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        first = functional.normalize(torch.randn(how.queue, how.dimensions), dim=1)
        self.register_buffer("queue", first)
        self.register_buffer("place", torch.zeros(1, dtype=torch.long))

    def forward(self, views: Views) -> Tensor:
        """Return the loss in both directions, and put the new keys into the queue."""
        with torch.no_grad():
            keys = [functional.normalize(self.key(view).float(), dim=1) for view in views[:2]]
        losses = []
        for view, key in zip(views[:2], reversed(keys), strict=True):
            asked = functional.normalize(self.query(view).float(), dim=1)
            near = (asked * key).sum(1, keepdim=True)
            far = asked @ self.queue.clone().T
            logits = torch.cat([near, far], 1) / self.how.temperature
            losses.append(
                functional.cross_entropy(logits, torch.zeros(len(logits)).long().to(logits.device))
            )
        if self.training:
            self._put(torch.cat(keys))
        return torch.stack(losses).mean()

    def _put(self, keys: Tensor) -> None:
        where = (torch.arange(len(keys), device=keys.device) + self.place) % len(self.queue)
        self.queue[where] = keys
        self.place.copy_((self.place + len(keys)) % len(self.queue))

    def follow(self, _done: float) -> None:
        """Move the encoder of the keys."""
        blend(self.key, self.query, self.how.momentum)

    @property
    def backbone(self) -> nn.Module:
        """What was learned."""
        return self.query.backbone


def teacher_of(
    method: Literal["dino", "moco"], backbone: nn.Module, example: Tensor, how: SelfSupervision
) -> Dino | Moco:
    """Return the method around a backbone.

    Parameters
    ----------
    method
        Which one.
    backbone
        Of the registry, with the output ``embedding``.
    example
        (1, channels, s, s): from it the embedding's width is read.
    how
        The settings.
    """
    made: dict[str, Any] = {"dino": Dino, "moco": Moco}
    with torch.inference_mode():
        width = backbone.eval()(example)["embedding"].shape[1]
    method_of: Dino | Moco = made[method](backbone.train(), width, how)
    return method_of
