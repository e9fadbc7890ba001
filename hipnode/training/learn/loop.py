"""The training loop, readable in one sitting: no callbacks, no trainer class.

Everything that is random is a function of (seed, epoch, step), and a checkpoint, each minute and
after each epoch, holds all that the next step depends on: a run that was killed and resumed ends
with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from hipnode.training.learn.state import History, State, agreed
from hipnode.training.recipe.plan import Plan, learning_rate, weight_decay
from hipnode.training.samples.batches import Batch, Samples, draw, load

Lesson = Callable[[nn.Module, Batch, Generator, torch.device], Tensor]
"""(network, a batch, all its randomness, where to compute) to the loss."""
Measure = Callable[[nn.Module], dict[str, float]]


def fit(
    net: nn.Module,
    samples: Samples,
    lesson: Lesson,
    measure: Measure,
    plan: Plan,
    *,
    folder: Path,
    device: str = "cpu",
    resume: bool = False,
    after_step: Callable[[nn.Module, float], None] | None = None,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> tuple[nn.Module, History]:
    """Train a network.

    Parameters
    ----------
    net
        Trained in place.
    samples
        The training split.
    lesson
        What is done with a batch: augment, standardise, forward, loss.
    measure
        The averaged network to figures on the validation split; ``score`` decides which epoch
        is kept (higher is better).
    plan
        The optimisation.
    folder
        Where ``last.pt`` (resume) and ``best.pt`` (the averaged weights) are written.
    resume
        Continue from ``last.pt``.
    after_step
        Is given the network and the share of all steps that is done, after each.
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
    state = State(net, plan, len(samples), device)
    if resume and (folder / "last.pt").exists():
        state.load(folder / "last.pt")
    for epoch in range(state.epoch, plan.epochs):
        loss = _epoch(state, samples, lesson, epoch, after_step, folder / "last.pt")
        figures = agreed(measure(state.average))
        row = {"epoch": epoch, "loss": loss} | figures
        state.history.rows.append(row)
        state.epoch, state.step, state.losses = epoch + 1, 0, []
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
    if state.rank == 0 and (folder / "best.pt").exists():
        best.load_state_dict(torch.load(folder / "best.pt", weights_only=True))
    return best, state.history


def _epoch(
    state: State,
    samples: Samples,
    lesson: Lesson,
    epoch: int,
    after_step: Callable[[nn.Module, float], None] | None,
    checkpoint: Path,
) -> float:
    plan = state.plan
    indices = draw(samples, plan, epoch)
    total = plan.epochs * len(indices)
    state.model.train()
    keep_still(state.net, plan)
    for step in range(state.step, len(indices)):
        done = epoch * len(indices) + step
        seed = (plan.seed * 1_000_003 + epoch) * 100_003 + step * 101 + state.rank
        torch.manual_seed(seed)  # dropout
        generator = torch.Generator().manual_seed(seed)
        batch = load(samples, indices[step][state.rank :: state.world], plan)
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate(done, total, plan)
            if group["weight_decay"]:
                group["weight_decay"] = weight_decay(done, total, plan)
        loss = lesson(state.model, batch, generator, state.device)
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if plan.clip_norm:
            nn.utils.clip_grad_norm_(state.net.parameters(), plan.clip_norm)
        state.optimiser.step()
        if after_step:
            after_step(state.net, (done + 1) / total)
        state.follow(done)
        state.losses.append(loss.item())
        state.step = step + 1
        if state.due:
            state.save(checkpoint)
    return float(np.mean(state.losses))


def keep_still(net: nn.Module, plan: Plan) -> None:
    """Let nothing move in what is not learned: no statistics, no dropout.

    A part of whose parameters none is learned is run as in serving. Batch normalisation that was
    left in training would go on following the images, and the backbone with it. A method whose
    parts follow one another (``follow``) has no frozen ones.
    """
    for module in net.modules() if not hasattr(net, "follow") else ():
        learned = [parameter.requires_grad for parameter in module.parameters()]
        norm = isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        if (learned and not any(learned)) or (plan.fixed_norm and norm):
            module.eval()
