"""The closed list of networks that a bundle may ask for, and the arguments each one takes.

No torch here: a worker on a CPU validates a bundle without it. `hipnode.nets.architectures`
builds what this list names; a test holds the two together.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Arguments(BaseModel):
    """Arguments of a network: strict, bounded, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class GaleTemplate(Arguments):
    """Gale 2017, Table 1: one template for the small networks and the ten-layer FCN."""

    depth: int = Field(ge=1, le=10)
    width: int = Field(ge=1, le=512)
    head_px: int = Field(ge=1, le=8)
    outputs: int = Field(ge=1, le=16)


class Classifier(Arguments):
    """What most classifiers take."""

    in_channels: int = Field(default=1, ge=1, le=4)
    classes: int = Field(default=2, ge=2, le=16)


class GoogLeNet(Classifier):
    """Murphy 2022, CNN2. ``width`` scales every channel count."""

    width: float = Field(default=1.0, ge=0.125, le=2)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    covariates: int = Field(default=0, ge=0, le=64)


class ResNet(Classifier):
    """Yamamoto 2020 and DXA 2023. ``width`` scales every channel count."""

    depth: Literal[18, 34, 50]
    width: float = Field(default=1.0, ge=0.125, le=2)
    covariates: int = Field(default=0, ge=0, le=64)
    hidden: int = Field(default=0, ge=0, le=1024)


class EfficientNet(Classifier):
    """Yamamoto 2020."""

    size: Literal["b0", "b1", "b2", "b3", "b4"]
    covariates: int = Field(default=0, ge=0, le=64)


class DenseNet172(Arguments):
    """Gale 2017; a reconstruction that meets the printed numbers."""

    in_channels: int = Field(default=1, ge=1, le=4)


class VGG16(Classifier):
    """Jang 2022 and DXA 2023."""

    non_local: bool = True
    covariates: int = Field(default=0, ge=0, le=64)
    hidden: int = Field(default=0, ge=0, le=1024)


class ViTSmall(Classifier):
    """DXA 2023."""

    size_px: int = Field(default=224, ge=32, le=1024, multiple_of=16)
    covariates: int = Field(default=0, ge=0, le=64)
    hidden: int = Field(default=128, ge=0, le=1024)
    depth: int = Field(default=12, ge=1, le=12)


class ClinicalOnly(Arguments):
    """DXA 2023, Table 1: the covariates without the image."""

    covariates: int = Field(ge=1, le=64)
    classes: int = Field(default=3, ge=2, le=16)
    features: int = Field(default=32, ge=1, le=512)


class UNetLocaliser(Arguments):
    """Murphy 2022, CNN1: fully convolutional; one channel, inside or outside a hip ROI."""

    features: list[int] = Field(min_length=6, max_length=6)

    @model_validator(mode="after")
    def _check(self) -> UNetLocaliser:
        if not all(1 <= width <= 512 for width in self.features):
            raise ValueError("features must be from 1 to 512")
        return self


ARGUMENTS: Final[dict[str, type[Arguments]]] = {
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
"""Every network by name."""

LEAST_PX: Final = {"densenet172": 256}
"""The smallest image that a network can take, where that is not next to nothing."""


def validate(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the complete, checked arguments of a network.

    Raises
    ------
    ValueError
        If the registry does not have ``name``, or an argument is unknown or out of range
        (pydantic's `ValidationError` is one).
    """
    if name not in ARGUMENTS:
        raise ValueError(f"the network {name!r} is none of {', '.join(sorted(ARGUMENTS))}")
    return ARGUMENTS[name].model_validate(arguments).model_dump()
