"""The networks: the papers' parameter counts, and the outputs that the registry promises."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")

import torch

from hipnode.nets import registry
from hipnode.nets.architectures import BUILDERS, build

pytestmark = pytest.mark.slow


def parameters(name: str, arguments: dict[str, Any]) -> int:
    with torch.device("meta"):
        net = build(name, arguments)
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ({"depth": 5, "width": 8, "head_px": 2, "outputs": 1}, 2_408),  # CNN-frontal
        ({"depth": 6, "width": 16, "head_px": 2, "outputs": 2}, 11_792),  # CNN-metal
        ({"depth": 6, "width": 128, "head_px": 4, "outputs": 4}, 746_624),  # CNN-bounding
        ({"depth": 9, "width": 256, "head_px": 2, "outputs": 2}, 4_722_944),  # ten-layer FCN
    ],
)
def test_gale_template(arguments: dict[str, Any], printed: int) -> None:
    """Gale 2017, Table 1 and 3.1."""
    assert parameters("gale_template", arguments) == printed


def test_densenet_172() -> None:
    """Gale 2017, 3.1: 1,434,176 parameters in 172 layers."""
    assert parameters("densenet172", {}) == 1_434_176
    with torch.device("meta"):
        net = build("densenet172", {})
    convolutions = sum(isinstance(module, torch.nn.Conv2d) for module in net.modules())
    assert convolutions + 1 == 172


@pytest.mark.parametrize(
    ("name", "arguments", "published", "head"),
    [
        # published for three channels and 1,000 classes; less two channels, less the head
        ("resnet", {"depth": 18}, 11_689_512 - 2 * 64 * 49, 513_000),
        ("resnet", {"depth": 34}, 21_797_672 - 2 * 64 * 49, 513_000),
        ("resnet", {"depth": 50}, 25_557_032 - 2 * 64 * 49, 2_049_000),
        ("efficientnet", {"size": "b3"}, 12_233_232 - 2 * 40 * 9, 1_537_000),
        ("efficientnet", {"size": "b4"}, 19_341_616 - 2 * 48 * 9, 1_793_000),
    ],
)
def test_published_backbones(
    name: str, arguments: dict[str, Any], published: int, head: int
) -> None:
    with torch.device("meta"):
        net = build(name, arguments)
    own_head = sum(p.numel() for p in net.score.parameters())
    assert sum(p.numel() for p in net.parameters()) - own_head == published - head


def test_vit_small() -> None:
    with torch.device("meta"):
        net = build("vit_small", {})
    head = sum(p.numel() for p in net.score.parameters())
    assert sum(p.numel() for p in net.parameters()) - head == 21_665_664 - 2 * 256 * 384


def test_registry_and_builders_agree() -> None:
    assert set(BUILDERS) == set(registry.ARGUMENTS)


@pytest.mark.parametrize(
    ("name", "arguments", "size"),
    [
        ("googlenet", {"classes": 3}, 96),
        ("resnet", {"depth": 18, "covariates": 6}, 64),
        ("efficientnet", {"size": "b0"}, 64),
        ("vgg16", {}, 64),
        ("densenet172", {}, 256),
    ],
)
def test_cam_averages_to_the_logit(name: str, arguments: dict[str, Any], size: int) -> None:
    """The class activation map is the logit spread over the image, up to the head's constant."""
    torch.manual_seed(0)
    net = build(name, arguments).eval()
    images = torch.randn(2, 1, size, size)
    more = (torch.randn(1, 6).expand(2, 6),) if arguments.get("covariates") else ()
    with torch.inference_mode():
        outputs = net(images, *more)
    cam = outputs["cam"]
    cam = cam[..., ::4, ::4] if name == "densenet172" else cam  # of its own places
    rest = outputs["logits"] - cam.mean((2, 3))
    assert torch.allclose(rest[0], rest[1], atol=1e-4)


def test_googlenet_takes_any_size_and_helps_itself_in_training() -> None:
    net = build("googlenet", {"classes": 3})
    assert set(net.train()(torch.randn(2, 1, 128, 128))) == {"logits", "cam", "embedding", "aux"}
    assert set(net.eval()(torch.randn(2, 1, 64, 64))) == {"logits", "cam", "embedding"}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("efficientnet", {"size": "b3"}), ("resnet", {"depth": 18}), ("googlenet", {})],
)
def test_a_hundred_steps_are_enough_to_know_what_its_layers_see(
    name: str, arguments: dict[str, Any]
) -> None:
    """Else a network that learns from few images says the same of all of them when it serves."""
    with torch.device("meta"):
        layers = [m for m in build(name, arguments).modules() if hasattr(m, "running_mean")]
    assert layers
    assert all((1 - layer.momentum) ** 100 < 0.001 for layer in layers)
