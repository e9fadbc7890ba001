"""Bundles of networks that have learned nothing, and a model set with networks of the papers' size.

For what does not depend on what a network says: that it can be exported and loaded, and how long
it takes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from hipnode.nets import LoadedModel
from hipnode.nets.architectures import build
from hipnode.nets.bundle.setfile import pins
from hipnode.nets.bundle.spec import HipnodePart, read_spec
from hipnode.nets.engines.torch_engine import TorchEngine
from hipnode.training.pack.bundling import described
from hipnode.training.pack.export import metadata, pack_weights, write_bundle
from hipnode.training.recipe.recipe import Recipe, read_recipe

LARGE: Final = ("gale2017-densenet172", "jang2022-vgg16")
"""The largest networks of the papers that read a radiograph: one for fractures, at 1024 pixels, one
for osteoporosis."""


def bundle(recipe: Recipe, folder: Path) -> LoadedModel:
    """Write the bundle of a recipe's network as it is before training, and load it."""
    net, block = _untrained(recipe)
    size = recipe.preprocess.size_px
    golden = np.random.default_rng(0).normal(size=(1, 1, size, size)).astype(np.float32)
    known = np.zeros((1, len(recipe.covariates)), np.float32) if recipe.covariates else None
    return write_bundle(folder, block, net, golden, "card", known)


def in_memory(recipe: Recipe) -> LoadedModel:
    """Return the same as it is served on a GPU: by torch, without the graph that takes long."""
    net, block = _untrained(recipe)
    part, weights = HipnodePart.model_validate(block), pack_weights(net)
    spec = read_spec(json.dumps(metadata(part)).encode(), hashlib.sha256(weights).hexdigest())
    arguments, outputs = part.network.arguments, tuple(part.outputs)
    engine = TorchEngine(spec.network, arguments, weights, outputs, device="cpu")
    return LoadedModel(spec, engine, Path())


def _untrained(recipe: Recipe) -> tuple[nn.Module, dict[str, Any]]:
    torch.manual_seed(0)
    net = build(recipe.network.name, dict(recipe.network.arguments)).eval()
    point = {"name": "x", "doubtful_from": 0.5, "present_from": 0.5, "chosen_on": "fixed"}
    block = described(recipe, "0.1.0", "nothing") | {"temperature": 1.0, "operating_point": point}
    return net, block


def large_set(folder: Path) -> Path:
    """Return a model set that finds hips as the shipped one does and reads them with `LARGE`."""
    folder.mkdir(parents=True)
    lines = ['name = "large"', 'card = "Untrained networks of the papers\' size."']
    for role, (shipped, digest) in pins().items():
        if role in ("gate", "metal", "localiser"):
            shutil.copytree(shipped, folder / shipped.name)
            lines += [f"[models.{role}]", f'bundle = "{shipped.name}"', f'sha256 = "{digest}"']
    for name in LARGE:
        recipe = read_recipe(name)
        assert isinstance(recipe, Recipe)
        made = bundle(recipe, folder / name)
        lines += [f"[models.{recipe.role}]", f'bundle = "{name}"', f'sha256 = "{made.spec.digest}"']
    path = folder / "large.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
