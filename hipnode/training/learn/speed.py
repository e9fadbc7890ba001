"""Which arithmetic is quicker here: bf16 is twice as fast as float32 on some machines, on others
ten times as slow."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Generator, nn

from hipnode.training.learn.loop import Lesson
from hipnode.training.learn.state import agreed
from hipnode.training.recipe.plan import Plan
from hipnode.training.samples.batches import Samples, draw, load

NOTE = "arithmetic.txt"
"""Where a run notes what it took, so that it is resumed with the same."""


def settled(
    plan: Plan,
    lesson: Callable[[Plan], Lesson],
    net: nn.Module,
    samples: Samples,
    device: str,
    folder: Path,
) -> Plan:
    """Return the plan with ``bf16`` true or false: whichever of one step each is faster.

    Parameters
    ----------
    plan
        Returned as it is unless it leaves the choice open.
    lesson
        What a plan does with a batch.
    net
        Not changed: a copy of it is timed.
    samples
        A part of the first batch is taken.
    device
        Where it is to run.
    folder
        Of the run; a choice that was made there before stands.
    """
    if plan.bf16 != "auto":
        return plan
    note = folder / NOTE
    if note.exists():
        return plan.model_copy(update={"bf16": note.read_text(encoding="utf-8") == "bf16"})
    seconds = [
        _step_s(plan.model_copy(update={"bf16": choice}), lesson, net, samples, device)
        for choice in (False, True)
    ]
    choice = agreed({"bf16": float(seconds[1] < seconds[0])})["bf16"] > 0
    note.write_text("bf16" if choice else "float32", encoding="utf-8")
    return plan.model_copy(update={"bf16": choice})


def _step_s(
    plan: Plan,
    lesson: Callable[[Plan], Lesson],
    net: nn.Module,
    samples: Samples,
    device: str,
) -> float:
    """Return how long a step on a quarter of a batch takes, the first one not counted."""
    where = torch.device(device)
    model = copy.deepcopy(net).to(where).train()
    batch = load(samples, draw(samples, plan, 0)[0][: max(2, plan.batch // 4)], plan)
    teach, took_s = lesson(plan), 0.0
    for _ in range(2):
        since_s = time.perf_counter()
        loss = teach(model, batch, Generator().manual_seed(0), where)
        loss.backward()  # type: ignore[no-untyped-call]
        if where.type == "cuda":
            torch.cuda.synchronize()
        took_s = time.perf_counter() - since_s
    return took_s
