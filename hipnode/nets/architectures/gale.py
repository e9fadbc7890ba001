"""Gale 2017, Table 1: the small networks that clear the way, from one template."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GaleTemplate(nn.Module):
    """``depth`` blocks of convolution, normalisation, leaky ReLU and pooling, then one convolution.

    The paper prints parameter counts, not layers. This template reaches every one of them
    exactly: CNN-frontal (5, 8, 2, 1) 2,408; CNN-metal (6, 16, 2, 2) 11,792; CNN-bounding
    (6, 128, 4, 4) 746,624; the ten-layer FCN (9, 256, 2, 2) 4,722,944.

    Parameters
    ----------
    depth
        Blocks, each of which halves the image.
    width
        Channels of every block.
    head_px
        The side of the last convolution; the input is ``head_px * 2**depth`` pixels wide.
    outputs
        Values that come out. With one, it is a logit, and a zero logit is put before it, so that
        a softmax over the two is its sigmoid.

    References
    ----------
    Gale 2017, Table 1 and 3.1 (leak rate 0.5).
    """

    def __init__(self, depth: int, width: int, head_px: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for block in range(depth):
            layers += [
                nn.Conv2d(1 if block == 0 else width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width, affine=False),
                nn.LeakyReLU(0.5),
                nn.MaxPool2d(2),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv2d(width, outputs, head_px, bias=False)
        self.single, self.box = outputs == 1, outputs == 4

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return ``logits`` (n, max(outputs, 2)) of ``x`` (n, 1, s, s), and with four ``box`` too.

        ``box`` (n, 4) is x0, y0, x1, y1 of the hip, as shares of the side.
        """
        logits = self.head(self.features(x)).flatten(1)
        if self.single:
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        if self.box:
            return {"logits": logits, "box": torch.sigmoid(logits)}
        return {"logits": logits}
