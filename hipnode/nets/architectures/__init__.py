"""The networks themselves, in torch and MONAI. Each returns its outputs by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from torch import nn

from hipnode.nets import registry
from hipnode.nets.architectures.attention import VGG16, ViTSmall
from hipnode.nets.architectures.gale import GaleTemplate
from hipnode.nets.architectures.googlenet import GoogLeNet
from hipnode.nets.architectures.heads import ClinicalOnly
from hipnode.nets.architectures.pooled import DenseNet172, EfficientNet, ResNet
from hipnode.nets.architectures.unet import UNetLocaliser

BUILDERS: Final[dict[str, Callable[..., nn.Module]]] = {
    "gale_template": GaleTemplate,
    "googlenet": GoogLeNet,
    "unet_localiser": UNetLocaliser,
    "resnet": ResNet,
    "efficientnet": EfficientNet,
    "densenet172": DenseNet172,
    "vgg16": VGG16,
    "vit_small": ViTSmall,
    "clinical_only": ClinicalOnly,
}
"""What `hipnode.nets.registry` names, as classes."""


def build(name: str, arguments: dict[str, Any]) -> nn.Module:
    """Build a network of the registry.

    Parameters
    ----------
    name
        As the registry lists it.
    arguments
        What the network takes; the registry checks them.

    Raises
    ------
    ValueError
        If the name or an argument is not the registry's.
    """
    return BUILDERS[name](**registry.validate(name, arguments))
