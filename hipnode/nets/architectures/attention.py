"""VGG16 with a non-local block, and the small vision transformer.

References
----------
Jang 2022, "Training details" (VGG16 with a non-local neural network inside; which layer it
follows is not printed: here the fourth block). DXA 2023 (ViT-S).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hipnode.nets.architectures.heads import Head

_STAGES = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


class NonLocal(nn.Module):
    """Every place looks at every other; the result is added to the input (Wang 2018, Gaussian).

    Keys and values are pooled by two, as the paper's own speed-up does.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.query = nn.Conv2d(channels, half, 1)
        self.key = nn.Sequential(nn.Conv2d(channels, half, 1), nn.MaxPool2d(2))
        self.value = nn.Sequential(nn.Conv2d(channels, half, 1), nn.MaxPool2d(2))
        self.out = nn.Conv2d(half, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[2:]
        # (n, 1, places, c): one head; ONNX export knows attention with heads alone
        query = self.query(x).flatten(2).transpose(1, 2).unsqueeze(1)
        key = self.key(x).flatten(2).transpose(1, 2).unsqueeze(1)  # a quarter of the places
        value = self.value(x).flatten(2).transpose(1, 2).unsqueeze(1)
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        mixed = mixed.squeeze(1).transpose(1, 2)
        joined: Tensor = x + self.out(mixed.reshape(x.shape[0], -1, rows, columns))
        return joined


class VGG16(nn.Module):
    """VGG16 with batch normalisation, a non-local block where asked for, and a pooled head.

    The head pools globally instead of through two layers of 4,096: 15 M parameters in place of
    134 M, and the class activation map for nothing.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        non_local: bool = True,
        covariates: int = 0,
        hidden: int = 0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for stage, (count, width) in enumerate(_STAGES):
            for _ in range(count):
                layers += [
                    nn.Conv2d(channels, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                channels = width
            if stage == 3 and non_local:
                layers.append(NonLocal(channels))
            if stage < len(_STAGES) - 1:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.score = Head(channels, classes, covariates=covariates, hidden=hidden, dropout=0.5)

    def forward(self, x: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``logits``, ``embedding`` and ``cam``; see `Head`."""
        return self.score.outputs(self.features(x), covariates)


class ViTSmall(nn.Module):
    """ViT-S/16: width 384, twelve layers of six heads, a class token.

    Its backbone has the 21,665,664 parameters of the published ViT-S/16 less those of two colour
    channels. (MONAI's own ViT would bring einops along.) The head is a perceptron of one hidden
    layer. ``depth`` is for trials with fewer layers.

    References
    ----------
    DXA 2023, "Integration of clinical data", Fig. 1B.
    """

    def __init__(
        self,
        size_px: int = 224,
        in_channels: int = 1,
        classes: int = 3,
        covariates: int = 0,
        hidden: int = 128,
        depth: int = 12,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(in_channels, 384, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, 384))
        self.position = nn.Parameter(0.02 * torch.randn(1, (size_px // 16) ** 2 + 1, 384))
        layer = nn.TransformerEncoderLayer(
            384, 6, 1536, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, depth, norm=nn.LayerNorm(384), enable_nested_tensor=False
        )
        self.score = Head(384, classes, covariates=covariates, hidden=hidden, clinical=32)

    def forward(self, x: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``logits`` (n, classes), ``embedding`` (n, 384), the class token's, and ``cam``
        (n, classes, s/16, s/16): what the head says of the token of each patch.
        """
        tokens = self.tokens(x)
        embedding, side = tokens[:, 0], x.shape[-1] // 16
        patches = tokens[:, 1:].transpose(1, 2).reshape(x.shape[0], 384, side, side)
        return {
            "logits": self.score(embedding, covariates),
            "embedding": embedding,
            "cam": self.score.places(patches, covariates),
        }

    def tokens(self, x: Tensor) -> Tensor:
        """Return the last layer's (n, 1 + patches, 384), the class token first.

        An image of another size than the network's is met with interpolated positions.
        """
        patches = self.patches(x)
        position: Tensor = self.position
        if patches.shape[2:].numel() + 1 != position.shape[1]:
            side = round((position.shape[1] - 1) ** 0.5)
            grid = position[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
            grid = functional.interpolate(grid, patches.shape[2:], mode="bicubic")
            position = torch.cat([position[:, :1], grid.flatten(2).transpose(1, 2)], 1)
        tokens = torch.cat(
            [self.token.expand(x.shape[0], -1, -1), patches.flatten(2).transpose(1, 2)], 1
        )
        found: Tensor = self.layers(tokens + position)
        return found
