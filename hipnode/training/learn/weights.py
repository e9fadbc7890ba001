"""Weights to go on from: a bundle of ours, a backbone learned without labels, or another library's.

What hardly fits is refused: a network that goes on from a file of which one tensor in eighty fits
is a network from scratch that says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hipnode.nets.architectures.attention import NonLocal
from hipnode.nets.bundle.contents import WEIGHTS
from hipnode.nets.load.loaded import load_bundle
from hipnode.training.learn.layouts import fits, translated
from hipnode.training.recipe.recipe import RecipeInvalid

LEAST: Final = 0.9
"""The share of a backbone's tensors that a file must have."""
_SHOWN: Final = 4


@dataclass(frozen=True)
class Taken:
    """What a network has from a file: names of its tensors, and what of the backbone is missing."""

    names: frozenset[str]
    missing: tuple[str, ...]
    of: int  # tensors of the backbone
    layout: str
    source: str

    @property
    def head(self) -> bool:
        """Whether the head goes on from there too."""
        return any(name.startswith("score.") for name in self.names)

    def __str__(self) -> str:
        """Return the line that is told."""
        named = ", ".join(self.missing[:_SHOWN])
        more = ", ..." if len(self.missing) > _SHOWN else ""
        line = f"{self.source}: {self.of - len(self.missing)} of {self.of} tensors of the backbone "
        line += f"taken, named as in {self.layout}"
        return f"{line}; not: {named}{more}" if self.missing else line


def start_from(net: nn.Module, network: str, weights: Path, labels: Sequence[str] = ()) -> Taken:
    """Take from a file or a bundle every tensor that is the network's.

    Parameters
    ----------
    net, network
        Filled in place; its name in the registry.
    weights
        A bundle's folder or a safetensors file; `layouts.translated` says whose names it may have.
    labels
        What the last layer's rows stand for here. Of a bundle with other labels they are taken by
        label, and a label that it lacks is learned from scratch.

    Raises
    ------
    RecipeInvalid
        If the file cannot be read, or has less than nine tenths of the backbone.
    """
    own = net.state_dict()
    try:
        given = load_file(weights / WEIGHTS if weights.is_dir() else weights)
    except (OSError, SafetensorError) as error:
        raise RecipeInvalid(f"{weights} cannot be read as safetensors: {error}") from None
    if labels and weights.is_dir():
        given = _by_label(given, own, load_bundle(weights, threads=1).spec.labels, labels)
    named, layout = translated(given, net, network)
    taken = {name: named[name] for name in fits(named, own)}
    added = tuple(f"{n}." for n, module in net.named_modules() if isinstance(module, NonLocal))
    aside = ("score.", *getattr(net, "training_only", ()), *added)
    backbone = [n for n in own if not n.startswith(aside) and not n.endswith("num_batches_tracked")]
    missing = tuple(name for name in backbone if name not in taken)
    found = Taken(frozenset(taken), missing, len(backbone), layout, weights.name)
    if len(backbone) - len(missing) < LEAST * len(backbone):
        raise RecipeInvalid(f"{found}; {LEAST:.0%} of {network} are needed")
    net.load_state_dict(own | taken)
    return found


def freeze(net: nn.Module, taken: Taken | None, *, backbone: bool, named: tuple[str, ...]) -> None:
    """Let what was taken stay as it is, where a recipe says so; never what begins at random.

    Parameters
    ----------
    net, taken
        The network, and what it has from elsewhere.
    backbone
        All but the head.
    named
        What begins with one of these names.
    """
    have = taken.names if taken else frozenset()
    for name, parameter in net.named_parameters():
        wanted = name.startswith(named) or (backbone and not name.startswith("score."))
        parameter.requires_grad_(not (wanted and name in have))


def _by_label(
    given: dict[str, Tensor], own: dict[str, Tensor], before: Sequence[str], labels: Sequence[str]
) -> dict[str, Tensor]:
    """Return the tensors with the rows of the last layer in the order of ``labels``."""
    rows = [(labels.index(label), old) for old, label in enumerate(before) if label in labels]
    if tuple(before) == tuple(labels) or not rows:
        return given
    moved = dict(given)
    for name, tensor in given.items():
        ours, wanted = own.get(name), (len(labels), *tensor.shape[1:])
        if ours is None or not name.startswith("score.") or len(tensor) != len(before):
            continue
        if tuple(ours.shape) == wanted:
            moved[name] = ours.clone()
            for new, old in rows:
                moved[name][new] = tensor[old]
    return moved
