"""GoogLeNet, as Murphy 2022 used it for CNN2, for one grey channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hipnode.nets.architectures.heads import Head

_BLOCKS: dict[str, tuple[int, int, int, int, int, int]] = {
    # out of: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection (Szegedy 2015, Table 1)
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class ConvUnit(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3),
            nn.ReLU(inplace=True),
        )


class Inception(nn.Module):
    """Four branches side by side, joined along the channels."""

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pool = widths
        self.one = ConvUnit(inputs, one, 1)
        self.three = nn.Sequential(ConvUnit(inputs, reduce3, 1), ConvUnit(reduce3, three, 3))
        self.five = nn.Sequential(ConvUnit(inputs, reduce5, 1), ConvUnit(reduce5, five, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), ConvUnit(inputs, pool, 1))
        self.outputs = one + three + five + pool

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class AuxiliaryHead(nn.Module):
    """A second way for the gradient, in training alone (Szegedy 2015, section 5)."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.reduce = ConvUnit(inputs, 128, 1)
        self.score = nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.score(self.reduce(x).mean((2, 3)))
        return scores


class GoogLeNet(nn.Module):
    """Nine inception blocks over global average pooling and one linear layer.

    Differences from Szegedy 2015: batch normalisation for local response normalisation (there
    are no pretrained weights to keep faith with), one input channel, and auxiliary heads that
    pool globally, so that any image size will do.

    Parameters
    ----------
    in_channels, classes
        Of the input and the output.
    width
        Scales every channel count (rounded up to 8).
    dropout
        Before the linear layer.
    covariates
        How many numbers about the patient come along (Yamamoto 2020).

    References
    ----------
    Murphy 2022, Methods, "Training: transfer learning with GoogLeNet".
    """

    training_only = ("aux.",)

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 3,
        width: float = 1.0,
        dropout: float = 0.2,
        covariates: int = 0,
    ) -> None:
        super().__init__()

        def scaled(channels: int) -> int:
            return max(8, int(-(-channels * width // 8)) * 8) if width != 1 else channels

        self.stem = nn.Sequential(
            ConvUnit(in_channels, scaled(64), 7, 2),
            nn.MaxPool2d(3, 2, 1),
            ConvUnit(scaled(64), scaled(64), 1),
            ConvUnit(scaled(64), scaled(192), 3),
            nn.MaxPool2d(3, 2, 1),
        )
        channels = scaled(192)
        self.blocks = nn.ModuleDict()
        for name, widths in _BLOCKS.items():
            block = Inception(channels, tuple(scaled(one) for one in widths))
            self.blocks[name] = block
            channels = block.outputs
        self.aux = nn.ModuleList(
            AuxiliaryHead(self.blocks[name].outputs, classes)  # type: ignore[arg-type]
            for name in ("4a", "4d")
        )
        self.score = Head(channels, classes, covariates=covariates, dropout=dropout)

    def forward(self, x: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """Return the outputs for ``x`` (n, channels, h, w).

        ``logits`` (n, classes); ``cam`` (n, classes, h/32, w/32), whose mean over the image plus
        the bias is the logit; ``embedding`` (n, features); in training also ``aux``
        (n, 2, classes).
        """
        x = self.stem(x)
        aux: list[Tensor] = []
        for name, block in self.blocks.items():
            if name in {"4a", "5a"}:
                x = functional.max_pool2d(x, 3, 2, 1)
            x = block(x)
            if self.training and name in {"4a", "4d"}:
                aux.append(self.aux[len(aux)](x))
        outputs = self.score.outputs(x, covariates)
        return outputs | {"aux": torch.stack(aux, 1)} if aux else outputs
