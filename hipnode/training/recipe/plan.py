"""How a network is optimised: the numbers of a recipe, and what follows from them."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn


class Plan(BaseModel):
    """How a network is optimised. What a recipe does not name is off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=25, ge=1)
    epoch_images: int = Field(default=0, ge=0)  # drawn per epoch; 0: as many as there are
    batch: int = Field(default=32, ge=2)
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: float = Field(default=0.9, ge=0, lt=1)  # of sgd
    schedule: Literal["cosine", "constant"] = "constant"
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup: float = Field(default=0, ge=0, lt=1)  # share of all steps
    weight_decay: float = Field(default=0, ge=0)
    weight_decay_to: float = Field(default=0, ge=0)  # at the end, along a cosine; 0: the same
    clip_norm: float = Field(default=0, ge=0)  # of the gradient; 0: not clipped
    ema: float = Field(default=0, ge=0, lt=1)  # decay of the averaged weights per step
    bf16: bool | Literal["auto"] = "auto"  # auto: whichever of one step each is faster
    fixed_norm: bool = False  # batch normalisation keeps the statistics that it started with
    size_px: int = Field(default=0, ge=0)  # what the network sees; 0: the samples' own side
    view: float = Field(default=1.0, gt=0.3, le=1)  # share of the stored side that it sees
    patience: int = Field(default=0, ge=0)  # epochs without a better measure; 0: never stop early
    save_s: float = Field(default=60, ge=0)  # between checkpoints within an epoch
    seed: int = 0


def learning_rate(step: int, steps: int, plan: Plan) -> float:
    """Return the rate at a step: a linear warm-up, then constant or half a cosine."""
    rise = max(1, round(steps * plan.warmup))
    if step < rise and plan.warmup:
        return plan.learning_rate * (step + 1) / rise
    if plan.schedule == "constant":
        return plan.learning_rate
    done = (step - rise) / max(1, steps - rise)
    return plan.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def weight_decay(step: int, steps: int, plan: Plan) -> float:
    """Return the weight decay at a step: constant, or half a cosine to ``weight_decay_to``."""
    if not plan.weight_decay_to:
        return plan.weight_decay
    half = 0.5 * (1 - math.cos(math.pi * step / max(1, steps)))
    return plan.weight_decay + (plan.weight_decay_to - plan.weight_decay) * half


def optimiser(net: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """Return the plan's optimiser over what of the network is to be learned.

    Biases and normalisation are not decayed.
    """
    learned = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    match plan.optimiser:
        case "sgd":
            return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=plan.momentum)
        case "adam":
            return torch.optim.Adam(groups, lr=plan.learning_rate)
        case _:
            return torch.optim.AdamW(groups, lr=plan.learning_rate)
