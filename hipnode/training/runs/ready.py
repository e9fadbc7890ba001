"""What is refused before anything is learned: after hours it would be too late."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch

from hipnode.errors import InputRefused
from hipnode.training.recipe.recipe import Pretraining, Recipe, RecipeInvalid

_LARGEST_SEED: Final = 100_000_000
"""Every step has a seed of its own, made from the plan's; torch takes 64 bits."""


_DAMAGE: Final = (
    RuntimeError, EOFError, OSError, LookupError, ValueError, pickle.UnpicklingError,
)  # fmt: skip
"""What torch raises at a file that it did not write whole."""


class CheckpointUnreadable(InputRefused):
    """A checkpoint cannot be read."""


def check_numbers(recipe: Recipe | Pretraining) -> None:
    """Refuse a number of a recipe that nothing can be learned with.

    Raises
    ------
    RecipeInvalid
        If one is not finite, or the seed is too small or too large.
    """
    for name, value in _numbers(recipe.model_dump(mode="python"), ""):
        if not math.isfinite(value):
            raise RecipeInvalid(f"{recipe.name}: {name} is {value}, no finite number")
    if not 0 <= recipe.plan.seed <= _LARGEST_SEED:
        raise RecipeInvalid(
            f"{recipe.name}: plan.seed is {recipe.plan.seed}, not from 0 to {_LARGEST_SEED}"
        )


def _numbers(node: Any, at: str) -> Iterator[tuple[str, float]]:
    if isinstance(node, float):
        yield at, node
    elif isinstance(node, dict):
        for name, value in node.items():
            yield from _numbers(value, f"{at}.{name}" if at else str(name))
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _numbers(value, at)


def check_device(device: str) -> None:
    """Refuse a GPU that is not there.

    Raises
    ------
    InputRefused
        If torch finds no such GPU.
    """
    wanted = torch.device(device)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted.type == "cuda" and (wanted.index or 0) >= count:
        raise InputRefused(f"device {device} is not there: torch finds {count} GPUs with CUDA")


def check_checkpoints(run: Path) -> None:
    """Refuse checkpoints that cannot be gone on from.

    Raises
    ------
    CheckpointUnreadable
        If one is damaged.
    """
    for path in (run / "last.pt", run / "best.pt"):
        if not path.exists():
            continue
        try:
            torch.load(path, weights_only=True, map_location="cpu")
        except _DAMAGE as error:
            raise CheckpointUnreadable(f"{path} cannot be read ({type(error).__name__})") from None
