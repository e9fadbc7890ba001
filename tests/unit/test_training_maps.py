"""What a network looked at: maps agree where they must, and are hot where the class is told."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")

import torch

from hipnode.nets.architectures import build
from hipnode.training.judge.maps import (
    Logits,
    eigen_cam,
    eigen_grad_cam,
    grad_cam,
    guided_grad_cam,
)


def test_maps_agree_where_they_must() -> None:
    """Under a linear head over the mean, Grad-CAM is the class activation map itself."""
    torch.manual_seed(0)
    net = build("googlenet", {"classes": 2, "width": 0.125}).eval()
    image = torch.randn(1, 1, 96, 96)
    with torch.inference_mode():
        plain = net(image)["cam"][:, 1:2].relu()
        plain = torch.nn.functional.interpolate(plain, (96, 96), mode="bilinear")[0, 0]
    wrapped = Logits(net, None)
    found = grad_cam(wrapped, image, 1, "googlenet")
    assert np.corrcoef(found.ravel(), plain.numpy().ravel())[0, 1] > 0.98
    guided = guided_grad_cam(wrapped, image, 1, "googlenet")
    eigen = eigen_cam(wrapped, image, "googlenet")
    for one in (found, guided, eigen, eigen_grad_cam(wrapped, image, 1, "googlenet")):
        assert one.shape == (96, 96)
        assert 0 <= one.min() < one.max() == pytest.approx(1.0)
    assert np.abs(guided - found).mean() > 0.01  # finer than the map it is multiplied with


class TwoSquares(torch.nn.Module):
    """Class 1 is told by what is bright on the left, class 0 by what is bright on the right."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.AvgPool2d(8)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        seen = self.features(x)
        half = seen.shape[-1] // 2
        halves = [seen[..., half:].mean((1, 2, 3)), seen[..., :half].mean((1, 2, 3))]
        return {"logits": torch.stack(halves, 1)}


def test_eigen_grad_cam_is_hot_where_the_class_is_told() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[..., 24:40, 8:24] = image[..., 24:40, 40:56] = 1
    net = Logits(TwoSquares(), None)
    right, left = (eigen_grad_cam(net, image, label, "") for label in (0, 1))
    assert left[32, 16] == pytest.approx(1, abs=0.01) == right[32, 48]
    assert left[32, 48] == right[32, 16] == 0
    plain = eigen_cam(net, image, "")
    assert plain[32, 16] == pytest.approx(plain[32, 48]), "which asks no class"
    transformer = Logits(build("vit_small", {"classes": 3, "size_px": 64, "depth": 2}).eval(), None)
    maps = [eigen_grad_cam(transformer, torch.rand(1, 1, 64, 64), k, "vit_small") for k in (0, 2)]
    assert np.abs(maps[0] - maps[1]).mean() > 0.01
    assert maps[0].max() == pytest.approx(1)
