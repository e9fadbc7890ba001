"""What a bundle says about itself: ``configs/metadata.json``, validated before anything is built.

The file has MONAI's own keys (so that MONAI's tools read it) and one block, ``hipnode``, that
holds all that this node relies on. The model of that block is strict: unknown keys are refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from hipnode.domain import ModelRef, OperatingPoint, Role
from hipnode.errors import BundleRefused
from hipnode.nets import registry

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Label = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
Sentence = Annotated[str, StringConstraints(min_length=1, max_length=400)]
Scalar = bool | int | float | str


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NetworkPart(_Part):
    """A name in the registry, and its arguments. No class path: nothing here is imported."""

    name: Name
    arguments: dict[Label, Any] = {}


class OperatingPointPart(_Part):
    """Two thresholds on the calibrated P(positive)."""

    name: Label
    doubtful_from: float = Field(ge=0, le=1)
    present_from: float = Field(ge=0, le=1)
    equivocal_from: float | None = Field(default=None, ge=0, le=1)
    equivocal_to: float | None = Field(default=None, ge=0, le=1)
    chosen_on: str = ""


class HipnodePart(_Part):
    """The ``hipnode`` block of the metadata."""

    format: Literal[1]
    name: Name
    version: Annotated[str, StringConstraints(pattern=r"^\d{1,4}\.\d{1,4}\.\d{1,4}$")]
    role: Annotated[Role, Field(strict=False)]
    network: NetworkPart
    outputs: list[Literal["logits", "location", "cam", "mask", "box", "embedding"]] = Field(
        min_length=1
    )
    labels: list[Label] = Field(min_length=1, max_length=32)
    positive_labels: list[Label] = Field(min_length=1)
    channels: int = Field(default=1, ge=1, le=4)
    preprocessing: dict[Label, Scalar] = Field(min_length=1, max_length=24)
    covariates: list[Label] = []
    temperature: float = Field(default=1.0, gt=0, le=100)
    operating_point: OperatingPointPart
    class_thresholds: dict[Label, Annotated[float, Field(ge=0, le=1)]] = {}
    card: Sentence
    trained_on: Sentence

    @model_validator(mode="after")
    def _check(self) -> HipnodePart:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label appears twice")
        if not set(self.positive_labels) <= set(self.labels):
            raise ValueError("a positive label is none of the labels")
        if not self.class_thresholds.keys() <= set(self.labels):
            raise ValueError("a class threshold is of none of the labels")
        size = self.preprocessing.get("size_px")
        if not isinstance(size, int) or isinstance(size, bool) or not 8 <= size <= 4096:
            raise ValueError("preprocessing.size_px must be a whole number from 8 to 4096")
        taken = registry.validate(self.network.name, self.network.arguments).get("covariates", 0)
        if taken != len(self.covariates):
            raise ValueError(f"the network takes {taken} covariates, not {len(self.covariates)}")
        if self.operating_point.equivocal_from is not None and self.role != Role.FRACTURE:
            raise ValueError("only a fracture can be equivocal")
        return self


@dataclass(frozen=True)
class BundleSpec:
    """Everything a reading must know about a model, beside its weights.

    ``preprocessing`` holds the fields of `hipnode.imaging.PreprocessSpec`. ``digest`` is the
    sha256 of the bundle's manifest, which lists the sha256 of every file in it.
    ``class_thresholds`` says from which probability on the naming of a class was certified to be
    right often enough (Murphy 2022, Discussion); what is less sure goes to a person.
    """

    name: str
    version: str
    digest: str
    role: Role
    network: str
    arguments: dict[str, Any]
    outputs: tuple[str, ...]
    labels: tuple[str, ...]
    positive_labels: tuple[str, ...]
    channels: int
    preprocessing: dict[str, bool | int | float | str]
    covariates: tuple[str, ...]
    temperature: float
    operating_point: OperatingPoint
    card: str
    trained_on: str
    class_thresholds: dict[str, float] = field(default_factory=dict)

    @property
    def ref(self) -> ModelRef:
        """The model as findings name it."""
        return ModelRef(self.name, self.version, self.digest, self.card)

    @property
    def size_px(self) -> int:
        """The side of the square input."""
        return int(self.preprocessing["size_px"])

    @property
    def positive_indices(self) -> tuple[int, ...]:
        """Where the positive labels stand among the labels."""
        return tuple(self.labels.index(label) for label in self.positive_labels)


def read_spec(metadata: bytes, digest: str) -> BundleSpec:
    """Return the spec in ``configs/metadata.json``.

    Raises
    ------
    BundleRefused
        If the document is not JSON, holds anything that a configuration parser would execute,
        or its ``hipnode`` block is not valid; the message says which key and why.
    """
    try:
        document = json.loads(metadata)
    except (ValueError, RecursionError) as error:
        raise BundleRefused(f"configs/metadata.json is not JSON: {error}") from None
    refuse_code(document, "configs/metadata.json")
    if not isinstance(document, dict) or not isinstance(document.get("hipnode"), dict):
        raise BundleRefused("configs/metadata.json has no block `hipnode`")
    try:
        part = HipnodePart.model_validate(document["hipnode"])
        point = OperatingPoint(**part.operating_point.model_dump(exclude={"chosen_on"}))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "hipnode"
        raise BundleRefused(f"configs/metadata.json, {where}: {first['msg']}") from None
    except ValueError as error:
        raise BundleRefused(f"configs/metadata.json: {error}") from None
    return BundleSpec(
        name=part.name,
        version=part.version,
        digest=digest,
        role=Role(part.role),
        network=part.network.name,
        arguments=registry.validate(part.network.name, part.network.arguments),
        outputs=tuple(part.outputs),
        labels=tuple(part.labels),
        positive_labels=tuple(part.positive_labels),
        channels=part.channels,
        preprocessing=part.preprocessing,
        covariates=tuple(part.covariates),
        temperature=part.temperature,
        operating_point=point,
        card=part.card,
        trained_on=part.trained_on,
        class_thresholds=part.class_thresholds,
    )


def refuse_code(node: object, where: str) -> None:
    """Refuse whatever MONAI's parser would import, evaluate or include.

    Raises
    ------
    BundleRefused
        At the first ``_target_``-like key, ``$`` expression, ``@`` reference or ``%`` macro.
    """
    if isinstance(node, dict):
        for key, value in node.items():
            if key.startswith("_") and key.endswith("_"):
                raise BundleRefused(f"{where} holds the key {key!r}, which asks to run code")
            refuse_code(key, where)
            refuse_code(value, f"{where}, {key}")
    elif isinstance(node, list):
        for value in node:
            refuse_code(value, where)
    elif isinstance(node, str) and node.startswith(("$", "@", "%")):
        raise BundleRefused(f"{where} holds {node[:60]!r}, which a parser would evaluate")


def inference_config(spec_name: str) -> bytes:
    """Return the only ``configs/inference.json`` that a bundle may have.

    It is there for MONAI's tools (``ConfigParser.get_parsed_content("network_def")`` gives the
    network with its weights). This node compares it with these bytes and never parses it.
    """
    document = {
        "name": spec_name,
        "bundle_root": ".",
        "network_def": {
            "_target_": "hipnode.nets.torch_engine.load_network",
            "bundle": "@bundle_root",
        },
    }
    return (json.dumps(document, indent=2) + "\n").encode()
