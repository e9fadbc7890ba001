"""Weights as other libraries name them, by the names that our networks have.

One channel is seen here and three there: the first convolution's three are added up, which is what
it makes of a grey image given three times. Where the other network has no batch normalisation, ours
begins as one that changes nothing and adds the convolution's own bias.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

Tensors = dict[str, Tensor]

_STEMS: Final = {"conv1.": "features.stem.0.", "bn1.": "features.stem.1."}
_BRANCHES: Final = {  # of an inception block: Caffe's layer, torchvision's module, ours
    "1x1": ("branch1", "one"),
    "3x3_reduce": ("branch2.0", "three.0"),
    "3x3": ("branch2.1", "three.1"),
    "5x5_reduce": ("branch3.0", "five.0"),
    "5x5": ("branch3.1", "five.1"),
    "pool_proj": ("branch4.1", "pool.1"),
}
_FIRST: Final = {  # GoogLeNet before its blocks
    "conv1/7x7_s2": ("conv1", "stem.0"),
    "conv2/3x3_reduce": ("conv2", "stem.2"),
    "conv2/3x3": ("conv3", "stem.3"),
}
_TIMM_VIT: Final = (
    ("cls_token", "token"),
    ("pos_embed", "position"),
    ("patch_embed.proj.", "patches."),
    (r"blocks\.(\d+)\.attn\.qkv\.", r"layers.layers.\1.self_attn.in_proj_"),
    (r"blocks\.(\d+)\.attn\.proj\.", r"layers.layers.\1.self_attn.out_proj."),
    (r"blocks\.(\d+)\.mlp\.fc", r"layers.layers.\1.linear"),
    (r"blocks\.(\d+)\.norm", r"layers.layers.\1.norm"),
    (r"^norm\.", "layers.norm."),
)
_TIMM_EFFICIENT: Final = {
    True: {  # a block that widens first
        "conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
        "se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand",
        "conv_pwl": "_project_conv", "bn3": "_bn2",
    },
    False: {
        "conv_dw": "_depthwise_conv", "bn1": "_bn1", "se.conv_reduce": "_se_reduce",
        "se.conv_expand": "_se_expand", "conv_pw": "_project_conv", "bn2": "_bn2",
    },
}  # fmt: skip
_TORCHVISION_EFFICIENT: Final = {
    True: {
        "block.0.0": "_expand_conv", "block.0.1": "_bn0", "block.1.0": "_depthwise_conv",
        "block.1.1": "_bn1", "block.2.fc1": "_se_reduce", "block.2.fc2": "_se_expand",
        "block.3.0": "_project_conv", "block.3.1": "_bn2",
    },
    False: {
        "block.0.0": "_depthwise_conv", "block.0.1": "_bn1", "block.1.fc1": "_se_reduce",
        "block.1.fc2": "_se_expand", "block.2.0": "_project_conv", "block.2.1": "_bn2",
    },
}  # fmt: skip


def translated(given: Mapping[str, Tensor], net: nn.Module, network: str) -> tuple[Tensors, str]:
    """Return weights by our names, and the layout that they were found in.

    Parameters
    ----------
    given
        By the names of torchvision, timm, Caffe (as converted, ``layer.weight``), the release of
        DINO or EfficientNet for PyTorch, or by ours.
    net, network
        Whose names are wanted, and its name in the registry.
    """
    own = net.state_dict()
    if given.keys() & {name for name in own if not name.startswith(("features.", "score."))}:
        return dict(given), "hipnode"
    bare = {
        re.sub(r"^(module|backbone|model)\.", "", name): tensor for name, tensor in given.items()
    }
    layouts: dict[str, Callable[[Tensors, Tensors], tuple[Tensors, str]]] = {
        "resnet": _resnet,
        "vgg16": _vgg,
        "googlenet": _googlenet,
        "vit_small": _vit,
        "efficientnet": _efficientnet,
    }
    named, layout = layouts[network](bare, own) if network in layouts else ({}, "")
    fitted = {name: _fitted(tensor, own.get(name)) for name, tensor in named.items()}
    if len(fits(fitted, own)) <= len(fits(given, own)):
        return dict(given), "hipnode"
    return fitted, layout


def fits(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> frozenset[str]:
    """Return the names of which both have a tensor of one shape; counters are none."""
    return frozenset(
        name
        for name, tensor in given.items()
        if name in own
        and own[name].shape == tensor.shape
        and not name.endswith("num_batches_tracked")
    )


def _fitted(tensor: Tensor, own: Tensor | None) -> Tensor:
    """Return a convolution for one channel, or a small one in the middle of a larger one."""
    if own is None or tensor.ndim != 4 or own.ndim != 4:
        return tensor
    if tensor.shape[1] == 3 and own.shape[1] == 1:
        tensor = tensor.sum(1, keepdim=True)
    wider = own.shape[-1] - tensor.shape[-1]
    if wider == 2 and tensor.shape[-1] > 1:
        tensor = functional.pad(tensor, (1, 1, 1, 1))
    return tensor


def _resnet(given: Tensors, _own: Tensors) -> tuple[Tensors, str]:
    found: Tensors = {}
    for name, tensor in given.items():
        stem = next((ours for theirs, ours in _STEMS.items() if name.startswith(theirs)), None)
        if stem:
            found[stem + name.split(".", 1)[1]] = tensor
        elif at := re.match(r"layer(\d)\.(.*)", name):
            found[f"features.layers.{int(at[1]) - 1}.{at[2]}"] = tensor
    return found, "torchvision"


def _vgg(given: Tensors, own: Tensors) -> tuple[Tensors, str]:
    """Pair the convolutions in their order: ours may have a non-local block between them."""

    def convolutions(tensors: Tensors) -> list[int]:
        found = (
            re.fullmatch(r"features\.(\d+)\.weight", n) for n, t in tensors.items() if t.ndim == 4
        )
        return sorted(int(at[1]) for at in found if at)

    found: Tensors = {}
    for theirs, ours in zip(convolutions(given), convolutions(own), strict=False):
        _unit(given, f"features.{theirs}", f"features.{theirs + 1}",
              found, f"features.{ours}", f"features.{ours + 1}", 1e-5)  # fmt: skip
    return found, "torchvision"


def _googlenet(given: Tensors, _own: Tensors) -> tuple[Tensors, str]:
    caffe = any("/" in name for name in given)
    found: Tensors = {}
    for layer, (module, ours) in _FIRST.items():
        _pair(given, layer if caffe else module, found, ours, caffe=caffe)
    for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        for layer, (module, ours) in _BRANCHES.items():
            at = f"inception_{block}/{layer}" if caffe else f"inception{block}.{module}"
            _pair(given, at, found, f"blocks.{block}.{ours}", caffe=caffe)
    return found, "Caffe" if caffe else "torchvision"


def _pair(given: Tensors, theirs: str, found: Tensors, ours: str, *, caffe: bool) -> None:
    conv, norm = (theirs, "") if caffe else (f"{theirs}.conv", f"{theirs}.bn")
    _unit(given, conv, norm, found, f"{ours}.0", f"{ours}.1", 1e-3)


def _unit(
    given: Tensors, conv: str, norm: str, found: Tensors, our_conv: str, our_norm: str, eps: float
) -> None:
    """Take a convolution with the normalisation that follows it, or with its bias."""
    if f"{conv}.weight" not in given:
        return
    weight = found[f"{our_conv}.weight"] = given[f"{conv}.weight"]
    plain = torch.ones(len(weight))
    bias = given.get(f"{conv}.bias", torch.zeros(len(weight))).reshape(-1)
    if f"{norm}.running_mean" in given:
        for part in ("weight", "bias", "running_mean", "running_var"):
            found[f"{our_norm}.{part}"] = given[f"{norm}.{part}"]
        found[f"{our_norm}.running_mean"] = found[f"{our_norm}.running_mean"] - bias
        return
    found |= {
        f"{our_norm}.weight": plain,
        f"{our_norm}.bias": bias,
        f"{our_norm}.running_mean": torch.zeros(len(weight)),
        f"{our_norm}.running_var": plain - eps,
    }


def _vit(given: Tensors, own: Tensors) -> tuple[Tensors, str]:
    found: Tensors = {}
    for name, tensor in given.items():
        ours = name
        for pattern, replacement in _TIMM_VIT:
            ours = re.sub(pattern, replacement, ours)
        found[ours] = tensor
    position, wanted = found.get("position"), own["position"]
    if position is not None and position.shape[1] != wanted.shape[1]:
        side, ours_side = (round((one.shape[1] - 1) ** 0.5) for one in (position, wanted))
        grid = position[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
        grid = functional.interpolate(grid, (ours_side, ours_side), mode="bicubic")
        found["position"] = torch.cat([position[:, :1], grid.flatten(2).transpose(1, 2)], 1)
    return found, "timm"


def _efficientnet(given: Tensors, own: Tensors) -> tuple[Tensors, str]:
    blocks: dict[int, list[str]] = {}
    for name in own:
        if at := re.match(r"features\.net\._blocks\.(\d+)\.(\d+)\.", name):
            known = blocks.setdefault(int(at[1]), [])
            if at[0] not in known:
                known.append(at[0])
    flat = [prefix for stage in sorted(blocks) for prefix in blocks[stage]]
    timm = any(name.startswith("blocks.") for name in given)
    found: Tensors = {}
    for name, tensor in given.items():
        if at := re.match(r"_blocks\.(\d+)\.(.*)", name):
            found[flat[int(at[1])] + at[2]] = tensor
        elif name.startswith("_"):
            found[f"features.net.{name}"] = tensor
        elif at := re.match(r"(?:blocks|features)\.(\d+)\.(\d+)\.(.*)\.(\w+)$", name):
            stage = int(at[1]) - (0 if timm else 1)
            if stage not in blocks:
                continue
            tables = _TIMM_EFFICIENT if timm else _TORCHVISION_EFFICIENT
            prefix = blocks[stage][int(at[2])]
            table = tables[f"{prefix}_expand_conv.weight" in own]
            if at[3] in table:
                found[f"{prefix}{table[at[3]]}.{at[4]}"] = tensor
    _ends(given, found, len(blocks))
    named = {True: "timm", False: "torchvision"}[timm]
    return found, "EfficientNet for PyTorch" if any(n.startswith("_") for n in given) else named


def _ends(given: Tensors, found: Tensors, stages: int) -> None:
    """Take what stands before an EfficientNet's blocks and after them."""
    for theirs, ours in (
        ("conv_stem", "_conv_stem"), ("bn1", "_bn0"), ("conv_head", "_conv_head"), ("bn2", "_bn1"),
        ("features.0.0", "_conv_stem"), ("features.0.1", "_bn0"),
        (f"features.{stages + 1}.0", "_conv_head"), (f"features.{stages + 1}.1", "_bn1"),
    ):  # fmt: skip
        for part in ("weight", "bias", "running_mean", "running_var"):
            if f"{theirs}.{part}" in given:
                found[f"features.net.{ours}.{part}"] = given[f"{theirs}.{part}"]
