"""Murphy 2022, CNN1: a fully convolutional network that marks the hip ROIs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets.basic_unet import BasicUNet
from torch import Tensor, nn


class UNetLocaliser(nn.Module):
    """MONAI's `BasicUNet` with batch normalisation and one output channel.

    The paper names an FCN (Long 2015) without its layers; this one is small enough to ship.

    Parameters
    ----------
    features
        Channels of the five levels, and of the last.

    References
    ----------
    Murphy 2022, Methods, "CNN1: automatically locating the hip joint".
    """

    def __init__(self, features: Sequence[int] = (16, 16, 32, 64, 128, 16)) -> None:
        super().__init__()
        self.net = BasicUNet(
            spatial_dims=2, in_channels=1, out_channels=1, features=tuple(features), norm="batch"
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return ``mask`` (n, 1, h, w), the probability of each pixel to lie in a hip ROI.

        In training, ``logits`` of the same shape come along.
        """
        logits = self.net(x)
        if self.training:
            return {"mask": torch.sigmoid(logits), "logits": logits}
        return {"mask": torch.sigmoid(logits)}
