"""Classifiers over global average pooling: the class activation map comes out of the same pass.

References
----------
Yamamoto 2020, 2.6 (ResNet18, ResNet34, EfficientNet b3 and b4, with a two-layer perceptron for the
clinical covariates); DXA 2023, "Integration of clinical data"; Gale 2017, 3.1 (DenseNet).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.nets.densenet import DenseNet
from monai.networks.nets.efficientnet import EfficientNetBN
from monai.networks.nets.resnet import resnet18, resnet34, resnet50
from torch import Tensor, nn
from torch.nn import functional

from hipnode.nets.architectures.heads import Head

_SOON_NORMAL = ("batch", {"eps": 1e-3, "momentum": 0.1})
"""MONAI's momentum of 0.01 is for ImageNet's millions of images: after the hundreds of steps that a
hospital's images give, what a network knows of its layers' means is still that of the beginning."""
_RESNETS: dict[int, Any] = {18: resnet18, 34: resnet34, 50: resnet50}


class PooledClassifier(nn.Module):
    """A feature map, and a head over its mean.

    Parameters
    ----------
    features
        (n, channels, h, w) to a map of ``width`` channels.
    width
        Channels of that map.
    classes
        Of the output.
    covariates
        How many numbers about the patient come along; 0 for the image alone.
    hidden
        Units of a hidden layer of the head; 0 for a linear head.
    dropout
        Before the last layer.
    """

    def __init__(
        self,
        features: nn.Module,
        width: int,
        classes: int,
        *,
        covariates: int,
        hidden: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.features = features
        self.score = Head(width, classes, covariates=covariates, hidden=hidden, dropout=dropout)

    def forward(self, x: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``logits``, ``embedding`` and ``cam``; see `Head`."""
        return self.score.outputs(self.features(x), covariates)


class _ResNetFeatures(nn.Module):
    def __init__(self, depth: int, in_channels: int, width: float) -> None:
        super().__init__()
        # MONAI's default first stride of 1 would cost four times the work.
        net = _RESNETS[depth](
            spatial_dims=2,
            n_input_channels=in_channels,
            num_classes=2,
            conv1_t_stride=2,
            bias_downsample=False,
            widen_factor=width,
        )
        self.width = int(net.fc.in_features)
        self.stem = nn.Sequential(net.conv1, net.bn1, nn.ReLU(inplace=True), net.maxpool)
        self.layers = nn.Sequential(net.layer1, net.layer2, net.layer3, net.layer4)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(self.stem(x))
        return found


class ResNet(PooledClassifier):
    """MONAI's ResNet in two dimensions; ``width`` scales every channel count."""

    def __init__(
        self,
        depth: int,
        in_channels: int = 1,
        classes: int = 2,
        covariates: int = 0,
        hidden: int = 0,
        width: float = 1.0,
    ) -> None:
        features = _ResNetFeatures(depth, in_channels, width)
        super().__init__(features, features.width, classes, covariates=covariates, hidden=hidden)


class _EfficientNetFeatures(nn.Module):
    def __init__(self, size: str, in_channels: int) -> None:
        super().__init__()
        self.net = EfficientNetBN(
            f"efficientnet-{size}",
            pretrained=False,
            spatial_dims=2,
            in_channels=in_channels,
            norm=_SOON_NORMAL,
        )
        self.width = int(self.net._fc.in_features)  # noqa: SLF001 (MONAI has no other way)
        del self.net._fc  # noqa: SLF001

    def forward(self, x: Tensor) -> Tensor:
        net = self.net
        x = net._swish(net._bn0(net._conv_stem(net._conv_stem_padding(x))))  # noqa: SLF001
        x = net._blocks(x)  # noqa: SLF001
        found: Tensor = net._swish(  # noqa: SLF001
            net._bn1(net._conv_head(net._conv_head_padding(x)))  # noqa: SLF001
        )
        return found


class EfficientNet(PooledClassifier):
    """MONAI's EfficientNet, b0 to b4."""

    def __init__(
        self, size: str, in_channels: int = 1, classes: int = 2, covariates: int = 0
    ) -> None:
        features = _EfficientNetFeatures(size, in_channels)
        super().__init__(features, features.width, classes, covariates=covariates, dropout=0.3)


class DenseNet172(nn.Module):
    """A DenseNet of 172 layers, 12 features a layer and 1,434,176 parameters.

    The paper prints these three numbers and no block layout. Many layouts meet them; this one,
    with MONAI's own blocks, is a **reconstruction**.

    References
    ----------
    Gale 2017, 3.1: leak rate 0.5, dropout 0.2, a second loss on the location.
    """

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__()
        self.net = DenseNet(
            spatial_dims=2,
            in_channels=in_channels,
            out_channels=4,
            init_features=64,
            growth_rate=12,
            block_config=(3, 3, 12, 12, 12, 20, 20),
            bn_size=4,
            act=("leakyrelu", {"negative_slope": 0.5}),
            dropout_prob=0.2,
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the outputs for ``x`` (n, 1, 1024, 1024).

        ``logits`` (n, 2): no fracture, fracture, whose softmax is the sigmoid of the network's
        first output; ``location`` (n, 3): no fracture, intracapsular, extracapsular;
        ``cam`` (n, 2, h/64, w/64), in serving alone; ``embedding`` (n, features).
        """
        features, parts = self.net.features, list(self.net.features.named_children())
        last = [name for name, _ in parts].index("transition5")  # the last but one
        fine = features[:last](x)
        found = functional.leaky_relu(features[last:](fine), 0.5)
        embedding = found.mean((2, 3))
        head = self.net.class_layers.get_submodule("out")
        scores = head(embedding)
        outputs = {
            "logits": torch.cat([torch.zeros_like(scores[:, :1]), scores[:, :1]], 1),
            "location": scores[:, 1:],
            "embedding": embedding,
        }
        if not self.training:
            weight: Tensor = head.get_parameter("weight")
            wide = functional.leaky_relu(self._unpooled(fine, parts[last:]), 0.5)
            fracture = functional.conv2d(wide, weight[:1, :, None, None])
            outputs["cam"] = torch.cat([torch.zeros_like(fracture), fracture], 1)
        return outputs

    def _unpooled(self, x: Tensor, parts: Sequence[tuple[str, nn.Module]]) -> Tensor:
        """Return the rest of the network at four times as many places a side.

        Each halving is left out, and what follows looks as much wider apart: at every fourth place
        it is what the network itself finds, and between them what it would find of the image
        shifted (Long 2015, 3.2, the filter rarefaction). The last map alone has 4 x 4 places.
        """
        apart = 1
        for name, part in parts:
            if name.startswith("denseblock"):
                for layer in part.children():
                    x = torch.cat([x, _spread(layer.get_submodule("layers"), x, apart)], 1)
            elif name.startswith("transition"):
                x = part.get_submodule("conv")(
                    part.get_submodule("relu")(part.get_submodule("norm")(x))
                )
                wide = functional.pad(x, (0, apart, 0, apart), mode="replicate")
                rows = wide[:, :, :-apart] + wide[:, :, apart:]
                x = (rows[..., :-apart] + rows[..., apart:]) / 4
                apart *= 2
            else:
                x = part(x)
        return x


def _spread(layers: nn.Module, x: Tensor, apart: int) -> Tensor:
    """Return a dense layer's features, its 3 x 3 convolution with steps of ``apart``."""
    for layer in layers.children():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            x = functional.conv2d(x, layer.weight, layer.bias, padding=apart, dilation=apart)
        else:
            x = layer(x)
    return x
