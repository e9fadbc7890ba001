"""Weights as torchvision, timm and Caffe name them are taken whole; what hardly fits is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")

import torch
from safetensors.torch import save_file

from hipnode.nets.architectures import build
from hipnode.training.learn.weights import start_from
from hipnode.training.recipe.recipe import RecipeInvalid

pytestmark = pytest.mark.slow  # networks of their full size


def torchvision_resnet18() -> dict[str, torch.Tensor]:
    named = {"conv1.weight": torch.randn(64, 3, 7, 7), "fc.weight": torch.randn(1000, 512)}

    def norm(at: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            named[f"{at}.{part}"] = torch.rand(width)

    norm("bn1", 64)
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            at, inputs = f"layer{stage}.{block}", before if block == 0 else width
            named[f"{at}.conv1.weight"] = torch.randn(width, inputs, 3, 3)
            named[f"{at}.conv2.weight"] = torch.randn(width, width, 3, 3)
            norm(f"{at}.bn1", width)
            norm(f"{at}.bn2", width)
            if inputs != width:
                named[f"{at}.downsample.0.weight"] = torch.randn(width, inputs, 1, 1)
                norm(f"{at}.downsample.1", width)
        before = width
    return named


def caffe_googlenet() -> dict[str, torch.Tensor]:
    ours = build("googlenet", {}).state_dict()
    kinds = {
        "one.0": "1x1", "three.0.0": "3x3_reduce", "three.1.0": "3x3", "five.0.0": "5x5_reduce",
        "five.1.0": "5x5", "pool.1.0": "pool_proj",
    }  # fmt: skip
    first = {"stem.0.0": "conv1/7x7_s2", "stem.2.0": "conv2/3x3_reduce", "stem.3.0": "conv2/3x3"}
    named = {}
    for name, tensor in ours.items():
        if name.startswith("aux") or tensor.ndim != 4:
            continue
        at = re.match(r"blocks\.(\w\w)\.(.*)\.weight", name)
        layer = f"inception_{at[1]}/{kinds[at[2]]}" if at else first[name.removesuffix(".weight")]
        inputs = 3 if layer == "conv1/7x7_s2" else tensor.shape[1]
        named[f"{layer}.weight"] = torch.randn(len(tensor), inputs, *tensor.shape[2:])
        named[f"{layer}.bias"] = torch.randn(len(tensor))
    return named


def timm_vit() -> dict[str, torch.Tensor]:
    named = {
        "cls_token": torch.randn(1, 1, 384), "pos_embed": torch.randn(1, 197, 384),
        "patch_embed.proj.weight": torch.randn(384, 3, 16, 16),
        "patch_embed.proj.bias": torch.randn(384),
        "norm.weight": torch.randn(384), "norm.bias": torch.randn(384),
    }  # fmt: skip
    for block in range(12):
        for layer, shape in (
            ("norm1", (384,)), ("attn.qkv", (1152, 384)), ("attn.proj", (384, 384)),
            ("norm2", (384,)), ("mlp.fc1", (1536, 384)), ("mlp.fc2", (384, 1536)),
        ):  # fmt: skip
            named[f"blocks.{block}.{layer}.weight"] = torch.zeros(shape)
            named[f"blocks.{block}.{layer}.bias"] = torch.zeros(shape[0])
    return named


def vgg16(*, norms: bool) -> dict[str, torch.Tensor]:
    named, place, before = {}, 0, 3
    for count, width in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(count):
            named[f"features.{place}.weight"] = torch.zeros(width, before, 3, 3)
            named[f"features.{place}.bias"] = torch.full((width,), 0.25)
            for part in ("weight", "bias", "running_mean", "running_var") if norms else ():
                named[f"features.{place + 1}.{part}"] = torch.ones(width)
            if norms:  # a counter, as torchvision's files have it
                named[f"features.{place + 1}.num_batches_tracked"] = torch.tensor(0)
            place, before = place + (3 if norms else 2), width
        place += 1
    return named


@pytest.mark.parametrize(
    ("made", "network", "arguments", "layout"),
    [
        (torchvision_resnet18(), "resnet", {"depth": 18}, "torchvision"),
        (vgg16(norms=True), "vgg16", {"non_local": False, "hidden": 8}, "torchvision"),
        (vgg16(norms=False), "vgg16", {"non_local": True}, "torchvision"),
        (caffe_googlenet(), "googlenet", {"classes": 4}, "Caffe"),
        (timm_vit(), "vit_small", {"size_px": 64}, "timm"),
    ],
    ids=["resnet18", "vgg16-bn", "vgg16-jang", "bvlc-googlenet", "vit-s"],
)
def test_weights_of_other_libraries_are_taken_whole(
    made: dict[str, torch.Tensor], network: str, arguments: dict[str, Any], layout: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    save_file(made, tmp_path / "w.safetensors")
    net = build(network, arguments)
    taken = start_from(net, network, tmp_path / "w.safetensors")
    assert taken.missing == ()
    assert str(taken) == (
        f"w.safetensors: {taken.of} of {taken.of} tensors of the backbone taken, "
        f"named as in {layout}"
    )


def test_three_channels_become_one_and_a_bias_becomes_a_norm(tmp_path: Path) -> None:
    made = caffe_googlenet()
    save_file(made, tmp_path / "w.safetensors")
    net = build("googlenet", {}).eval()
    start_from(net, "googlenet", tmp_path / "w.safetensors")
    grey = torch.rand(1, 1, 32, 32)
    weight, bias = made["conv1/7x7_s2.weight"], made["conv1/7x7_s2.bias"]
    theirs = torch.nn.functional.conv2d(grey.expand(1, 3, 32, 32), weight, bias, 2, 3).relu()
    with torch.inference_mode():
        ours = net.get_submodule("stem.0")(grey)
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_weights_that_hardly_fit_are_refused(tmp_path: Path) -> None:
    save_file({"features.28.bias": torch.randn(512)}, tmp_path / "w.safetensors")
    net = build("vgg16", {"non_local": False, "hidden": 8})
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(RecipeInvalid, match=r"of 65 tensors .*not: features.0.weight, .*90% of"):
        start_from(net, "vgg16", tmp_path / "w.safetensors")
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
