"""The training loop, readable in one sitting: no callbacks, no trainer class.

Everything that is random is a function of (seed, epoch, step), and a checkpoint holds all that
the next epoch depends on: a run that was killed and resumed ends with the same bits.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hipnode.errors import InputRefused
from hipnode.training.augment import Augmentation, augment

Objective = Callable[[dict[str, Tensor], Tensor], Tensor]
Measure = Callable[[nn.Module], dict[str, float]]
Standardise = Callable[[Tensor], Tensor]


class Plan(BaseModel):
    """How a network is optimised."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=25, ge=1)
    epoch_images: int = Field(default=0, ge=0)  # drawn per epoch; 0: as many as there are
    batch: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)  # share of all steps
    weight_decay: float = Field(default=1e-4, ge=0)
    clip_norm: float = Field(default=5.0, gt=0)
    ema: float = Field(default=0.99, ge=0, lt=1)  # decay of the averaged weights per step
    bf16: bool = True
    size_px: int = Field(default=0, ge=0)  # what the network sees; 0: the samples' own side
    view: float = Field(default=1.0, gt=0.3, le=1)  # share of the stored side that it sees
    patience: int = Field(default=0, ge=0)  # epochs without a better measure; 0: never stop early
    seed: int = 0


@dataclass(frozen=True)
class Samples:
    """What a network learns from, ready in memory or memory-mapped.

    ``images`` (n, s, s) uint16 or uint8; ``targets`` (n,) int64, (n, k) float32 or (n, s, s)
    uint8 masks; ``weights`` (n,) how often each is drawn.
    """

    images: NDArray[Any]
    targets: NDArray[Any]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class History:
    """What happened, an epoch a row."""

    rows: list[dict[str, float]] = field(default_factory=list)
    best: float = -math.inf
    best_epoch: int = -1


def learning_rate(step: int, steps: int, plan: Plan) -> float:
    """Return the rate at a step: linear warm-up, then half a cosine down to a hundredth."""
    rise = max(1, round(steps * plan.warmup))
    if step < rise:
        return plan.learning_rate * (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    return plan.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def fit(
    net: nn.Module,
    samples: Samples,
    objective: Objective,
    measure: Measure,
    plan: Plan,
    how: Augmentation,
    standardise: Standardise,
    *,
    folder: Path,
    device: str = "cpu",
    resume: bool = False,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> tuple[nn.Module, History]:
    """Train a network.

    Parameters
    ----------
    net
        Of the registry; trained in place.
    samples
        The training split.
    objective
        (outputs, targets) to the loss.
    measure
        The averaged network to figures on the validation split; ``score`` decides which epoch
        is kept (higher is better).
    plan, how
        Optimisation and augmentation.
    standardise
        The preprocessing that serving does, on a batch in [0, 1].
    folder
        Where ``last.pt`` (resume) and ``best.pt`` (the averaged weights) are written.
    resume
        Continue from ``last.pt``.
    tell
        Is given each epoch's row.

    Returns
    -------
    net, history
        The averaged network of the best epoch, and what happened.

    Raises
    ------
    InputRefused
        If the checkpoint belongs to another plan or other samples.
    """
    state = _State(net, plan, samples, device)
    if resume and (folder / "last.pt").exists():
        state.load(folder / "last.pt")
    for epoch in range(state.epoch, plan.epochs):
        loss = _epoch(state, samples, objective, how, standardise, epoch)
        figures = measure(state.average)
        row = {"epoch": epoch, "loss": loss} | figures
        state.history.rows.append(row)
        state.epoch = epoch + 1
        if figures["score"] >= state.history.best:
            state.history.best, state.history.best_epoch = figures["score"], epoch
            if state.rank == 0:
                torch.save(state.average.state_dict(), folder / "best.pt")
        if state.rank == 0:
            state.save(folder / "last.pt")
        tell(row)
        if plan.patience and epoch - state.history.best_epoch >= plan.patience:
            break
    best = state.average
    if (folder / "best.pt").exists():
        best.load_state_dict(torch.load(folder / "best.pt", weights_only=True))
    return best, state.history


class _State:
    """All that one epoch hands to the next."""

    def __init__(self, net: nn.Module, plan: Plan, samples: Samples, device: str) -> None:
        self.rank, self.world = _place()
        self.device = torch.device(device)
        self.net = net.to(self.device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.net).eval()
        self.model: nn.Module = DistributedDataParallel(net) if self.world > 1 else net
        decayed = [p for p in net.parameters() if p.ndim > 1]
        plain = [p for p in net.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": plan.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=plan.learning_rate)
        self.plan = plan
        self.count = len(samples)
        self.epoch = 0
        self.history = History()

    def save(self, path: Path) -> None:
        """Write a checkpoint: first beside, then in place, so that a kill leaves a whole one."""
        document = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epoch": self.epoch,
            "rows": self.history.rows,
            "best": (self.history.best, self.history.best_epoch),
            "plan": self.plan.model_dump_json(),
            "count": self.count,
        }
        torch.save(document, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)

    def load(self, path: Path) -> None:
        """Take up a checkpoint."""
        document = torch.load(path, weights_only=True, map_location=self.device)
        if document["plan"] != self.plan.model_dump_json() or document["count"] != self.count:
            raise InputRefused(f"{path} is a checkpoint of another plan or of other samples")
        self.net.load_state_dict(document["net"])
        self.average.load_state_dict(document["average"])
        self.optimiser.load_state_dict(document["optimiser"])
        self.epoch = document["epoch"]
        self.history = History(document["rows"], *document["best"])


def _place() -> tuple[int, int]:
    """Return rank and world size under ``torchrun``, else (0, 1)."""
    if "RANK" not in os.environ:
        return 0, 1
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return distributed.get_rank(), distributed.get_world_size()


def draw(samples: Samples, plan: Plan, epoch: int) -> NDArray[np.int64]:
    """Return the indices of an epoch, (steps, batch), drawn with the samples' weights."""
    per_epoch = plan.epoch_images or len(samples)
    steps = max(1, per_epoch // plan.batch)
    rng = np.random.default_rng([plan.seed, epoch])
    chances = samples.weights / samples.weights.sum()
    return rng.choice(len(samples), size=(steps, plan.batch), p=chances).astype(np.int64)


def _epoch(
    state: _State,
    samples: Samples,
    objective: Objective,
    how: Augmentation,
    standardise: Standardise,
    epoch: int,
) -> float:
    plan = state.plan
    indices = draw(samples, plan, epoch)
    total = plan.epochs * len(indices)
    state.model.train()
    losses = []
    for step, chosen in enumerate(indices):
        mine = chosen[state.rank :: state.world]
        seed = (plan.seed * 1_000_003 + epoch) * 100_003 + step * 101 + state.rank
        torch.manual_seed(seed)  # dropout
        generator = torch.Generator().manual_seed(seed)
        images, targets = _load(samples, mine, plan)
        masks = targets if targets.ndim == 4 else None
        images, masks = augment(images, masks, how, generator)
        images = centre(images, plan)
        targets = targets if masks is None else centre(masks, plan)
        images = standardise(images).to(state.device, memory_format=torch.channels_last)
        targets = targets.to(state.device)
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate(epoch * len(indices) + step, total, plan)
        with torch.autocast(state.device.type, torch.bfloat16, enabled=plan.bf16):
            outputs = state.model(images)
        loss = objective({name: value.float() for name, value in outputs.items()}, targets)
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(state.net.parameters(), plan.clip_norm)
        state.optimiser.step()
        _follow(state.average, state.net, plan.ema, epoch * len(indices) + step)
        losses.append(loss.item())
    return float(np.mean(losses))


def _load(samples: Samples, chosen: Iterable[int], plan: Plan) -> tuple[Tensor, Tensor]:
    order = np.asarray(list(chosen))
    images = to_unit(samples.images[order])
    targets = torch.from_numpy(np.ascontiguousarray(samples.targets[order]))
    if targets.ndim == 3:
        targets = targets[:, None].float() / (255 if targets.dtype == torch.uint8 else 1)
    side = round((plan.size_px or images.shape[-1] * plan.view) / plan.view)
    if side != images.shape[-1]:
        images = resize(images, side)
        targets = resize(targets, side) if targets.ndim == 4 else targets
    return images, targets


def resize(images: Tensor, side: int) -> Tensor:
    """Return (n, 1, side, side), antialiased."""
    return nn.functional.interpolate(images, (side, side), mode="bilinear", antialias=True)


def centre(images: Tensor, plan: Plan) -> Tensor:
    """Return the middle that the network sees; the rest was there to move in from outside."""
    stored = images.shape[-1]
    side = plan.size_px or round(stored * plan.view)
    first = (stored - side) // 2
    return images[..., first : first + side, first : first + side]


def to_unit(stored: NDArray[Any]) -> Tensor:
    """Return stored images (n, s, s) as (n, 1, s, s) float32 in [0, 1]."""
    top = np.iinfo(stored.dtype).max
    return torch.from_numpy(stored.astype(np.float32) / top)[:, None]


def _follow(average: nn.Module, net: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the network's; faster while there are few steps."""
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for mean, value in zip(
            average.state_dict().values(), net.state_dict().values(), strict=True
        ):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)
