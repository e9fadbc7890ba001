"""All that one epoch hands to the next, in memory and as a checkpoint."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hipnode.errors import InputRefused
from hipnode.training.recipe.plan import Plan, optimiser


@dataclass
class History:
    """What happened, an epoch a row."""

    rows: list[dict[str, float]] = field(default_factory=list)
    best: float = -math.inf
    best_epoch: int = -1


class State:
    """The network, its running average, the optimiser, and where the run stands.

    Parameters
    ----------
    net
        Trained in place; under ``torchrun`` every process has one, and they stay the same.
    plan
        How it is optimised.
    count
        Of the samples; a checkpoint of another number is refused.
    device
        ``cpu`` or ``cuda``; under ``torchrun`` each process takes the GPU of its local rank.
    """

    def __init__(self, net: nn.Module, plan: Plan, count: int, device: str) -> None:
        self.rank, self.world = place()
        self.device = torch.device(device)
        if self.device.type == "cuda" and self.world > 1:
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        self.net = net.to(self.device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.net).eval()
        self.model: nn.Module = DistributedDataParallel(net) if self.world > 1 else net
        self.optimiser = optimiser(net, plan)
        self.plan = plan
        self.count = count
        self.epoch = 0
        self.step = 0  # of the epoch, the next one
        self.losses: list[float] = []  # of the epoch's steps so far
        self.history = History()
        self._saved_s = time.monotonic()

    def save(self, path: Path) -> None:
        """Write a checkpoint: first beside, then in place, so that a kill leaves a whole one."""
        document = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "losses": self.losses,
            "rows": self.history.rows,
            "best": (self.history.best, self.history.best_epoch),
            "plan": self.plan.model_dump_json(),
            "count": self.count,
        }
        torch.save(document, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)
        self._saved_s = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint within an epoch; the first process writes them."""
        return self.rank == 0 and time.monotonic() - self._saved_s >= self.plan.save_s

    def load(self, path: Path) -> None:
        """Take up a checkpoint.

        Raises
        ------
        InputRefused
            If it belongs to another plan or other samples.
        """
        document = torch.load(path, weights_only=True, map_location=self.device)
        if document["plan"] != self.plan.model_dump_json() or document["count"] != self.count:
            raise InputRefused(f"{path} is a checkpoint of another plan or of other samples")
        if not agrees(document["net"], self.net):
            raise InputRefused(f"{path} is a checkpoint of another network or of other weights")
        self.net.load_state_dict(document["net"])
        self.average.load_state_dict(document["average"])
        self.optimiser.load_state_dict(document["optimiser"])
        self.epoch = document["epoch"]
        self.step, self.losses = document["step"], document["losses"]
        self.history = History(document["rows"], *document["best"])

    def follow(self, step: int) -> None:
        """Move the averaged weights towards the network's; faster while there are few steps."""
        blend(self.average, self.net, min(self.plan.ema, (1 + step) / (10 + step)))


def agrees(there: dict[str, torch.Tensor], net: nn.Module) -> bool:
    """Tell whether a checkpoint is of this network, and what stays still in it is the same."""
    own = net.state_dict()
    if {name: value.shape for name, value in there.items()} != {
        name: value.shape for name, value in own.items()
    }:
        return False
    still = [name for name in getattr(net, "still", ()) if name in own]
    return all(torch.allclose(there[n], own[n], rtol=1e-3, atol=1e-5) for n in still)


def blend(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move ``average`` to ``decay`` of itself and the rest of ``net``."""
    with torch.no_grad():
        for mean, value in zip(
            average.state_dict().values(), net.state_dict().values(), strict=True
        ):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


def place() -> tuple[int, int]:
    """Return rank and world size under ``torchrun``, else (0, 1)."""
    if "RANK" not in os.environ:
        return 0, 1
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return distributed.get_rank(), distributed.get_world_size()


def agreed(figures: dict[str, float]) -> dict[str, float]:
    """Return the first process's figures in every process, so that all stop at the same epoch."""
    if place()[1] == 1:
        return figures
    box = [figures]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def first_in_turn() -> Iterator[bool]:
    """Let the first process do something alone, and the others after it; say who this is."""
    rank, world = place()
    if rank > 0:
        distributed.barrier()
    yield rank == 0
    if rank == 0 and world > 1:
        distributed.barrier()
