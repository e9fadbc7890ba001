"""Recipes: short TOML files named after paper and system, with the paper's own settings.

A recipe says what is learned and how; the manifest says from what. What it leaves out is off: no
augmentation, averaging, decay or balancing that a recipe does not name. A recipe may go out from
another one (``like = "..."``) and say only what differs. Its table ``where`` says of each setting,
or of the whole table that it stands in, whether the paper prints it (see `MARKS`).
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hipnode.domain import Role
from hipnode.errors import InputRefused
from hipnode.imaging import PreprocessSpec
from hipnode.nets import registry
from hipnode.nets.bundle.spec import Label, Name, Scalar, Sentence
from hipnode.training.recipe.augmentation import Augmentation
from hipnode.training.recipe.plan import Plan
from hipnode.training.recipe.selfsupervision import SelfSupervision

SHIPPED: Final = Path(__file__).resolve().parent / "recipes"
_PARTS: Final = SHIPPED / "like"
"""What several shipped recipes share; no recipe by itself."""
_DEEPEST: Final = 4
MARKS: Final = ("printed", "not printed", "differs because")
"""How each line of ``where`` begins: as in the paper; not to be found there, so whose choice it is;
found there and done otherwise, with the reason."""


class RecipeInvalid(InputRefused):
    """The recipe is not usable."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Network(_Part):
    """A network of the registry."""

    name: Name
    arguments: dict[Label, Any] = {}


class Points(_Part):
    """What the two thresholds must reach on the validation split."""

    recall: float = Field(default=0.98, gt=0, le=1)
    precision: float = Field(default=0.98, gt=0, le=1)
    class_precision: float = Field(default=0, ge=0, lt=1)  # of each class by itself; 0: no rule
    confidence: float = Field(default=0.9, gt=0.5, lt=1)  # of the guarantee, where there is one
    false_alarms: float = Field(default=0.1, ge=0, lt=1)  # an image, of patients left out
    equivocal: tuple[float, float] | None = None  # at most this share of images, so many broken
    fixed: tuple[float, float] | None = None  # known already, e.g. from patients left out
    temperature: float = Field(default=0, ge=0, le=8)  # known already; 0: fitted
    prior: float = Field(default=0.5, gt=0, lt=1)  # what the network takes a positive's to be
    usual_to: float = Field(default=0, ge=0)  # distance known already; 0: fitted
    chosen_on: str = ""  # on what, where they are known already


class Recipe(_Part):
    """One system of one paper."""

    name: Name
    paper: str
    system: str
    role: Role
    card: Sentence
    labels: tuple[Label, ...] = Field(min_length=1)
    positive_labels: tuple[Label, ...] = Field(min_length=1)
    outputs: tuple[Literal["logits", "location", "cam", "mask", "box", "embedding"], ...]
    covariates: tuple[Label, ...] = ()
    network: Network
    preprocessing: dict[Label, Scalar]
    plan: Plan = Plan()
    augmentation: Augmentation = Augmentation()
    operating_point: Points = Points()
    balance: bool = False  # draw every class equally often
    domain_shares: dict[Label, Annotated[float, Field(ge=0, le=1)]] = {}  # else all alike
    hips: Literal["all", "unfractured", "fractured"] = "all"  # which images are learned from
    views: tuple[Label, ...] = ("frontal",)  # of which hips are learned from; the gate: all
    needs_weights: bool = False  # goes on from a network that was trained before
    reweight: bool = False  # weigh each class in the loss by how rare it is
    location_loss: float = Field(default=0, ge=0)  # weight of the loss on the fracture's place
    pointing_loss: float = Field(default=0, ge=0)  # weight of the loss on where the map is hot
    freeze_backbone: bool = False  # where weights are given: learn the head alone
    frozen: tuple[str, ...] = ()  # where weights are given: names that begin so are not learned
    keep: Literal["loss", "accuracy", "last"] = "loss"  # what decides on the epoch
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    where: dict[str, str] = {}

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        registry.validate(self.network.name, self.network.arguments)
        size_px, least = self.preprocess.size_px, registry.LEAST_PX.get(self.network.name, 8)
        if size_px < least:
            raise ValueError(f"{self.network.name} takes images of {least} px or more")
        taken = self.network.arguments.get("covariates", 0)
        if taken != len(self.covariates):
            raise ValueError(f"the network takes {taken} covariates, not {len(self.covariates)}")
        if self.role is Role.LOCALISER and self.plan.view < 1:
            raise ValueError("a localiser learns from whole images: plan.view must be 1")
        return self

    @property
    def positive_indices(self) -> list[int]:
        """Where the positive labels stand among the labels."""
        return [self.labels.index(label) for label in self.positive_labels]

    @property
    def preprocess(self) -> PreprocessSpec:
        """The preprocessing of training and of serving."""
        return PreprocessSpec(**self.preprocessing)  # type: ignore[arg-type]


class Pretraining(_Part):
    """A backbone that is learned without labels."""

    name: Name
    paper: str
    system: str
    method: Literal["dino", "moco"]
    network: Network
    preprocessing: dict[Label, Scalar]
    plan: Plan = Plan()
    augmentation: Augmentation = Augmentation()
    settings: SelfSupervision = SelfSupervision()
    where: dict[str, str] = {}

    @model_validator(mode="after")
    def _check(self) -> Pretraining:
        registry.validate(self.network.name, self.network.arguments)
        _ = self.preprocess
        return self

    @property
    def preprocess(self) -> PreprocessSpec:
        """The preprocessing of the large views."""
        return PreprocessSpec(**self.preprocessing)  # type: ignore[arg-type]

    def preprocess_of(self, size_px: int) -> PreprocessSpec:
        """The preprocessing of views of another size."""
        return dataclasses.replace(self.preprocess, size_px=size_px)


def read_recipe(reference: str | Path, changes: Sequence[str] = ()) -> Recipe | Pretraining:
    """Read a recipe, by the name of a shipped one or by path.

    Parameters
    ----------
    reference
        Which one.
    changes
        ``key.key=value`` with a TOML value, each instead of what the recipe says.

    Raises
    ------
    RecipeInvalid
        With the key and what is wrong with it.
    """
    document = read_document(reference)
    path = _path_of(reference, Path())
    try:
        for change in changes:
            _change(document, change)
        kind = Pretraining if "method" in document else Recipe
        return kind.model_validate(document)
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(step) for step in item['loc']) or 'recipe'}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise RecipeInvalid("\n".join([f"{path} is not usable:", *lines])) from None
    except TypeError as error:
        raise RecipeInvalid(f"{path}, preprocessing: {error}") from None


def read_document(reference: str | Path) -> dict[str, Any]:
    """Return a recipe as it is written, with all that it takes from those that it is ``like``.

    Raises
    ------
    RecipeInvalid
        If a file cannot be read, is no TOML, or they go in a circle.
    """
    return _document(reference, Path(), 0)


def _path_of(reference: str | Path, beside: Path) -> Path:
    """Return where a recipe lies: shipped, a shipped part, or a file beside the one that asks."""
    shipped = (SHIPPED / f"{reference}.toml", _PARTS / f"{reference}.toml")
    return next((path for path in shipped if path.is_file()), beside / reference)


def _document(reference: str | Path, beside: Path, depth: int) -> dict[str, Any]:
    path = _path_of(reference, beside)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        names = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
        raise RecipeInvalid(f"{path}: {error.strerror}; shipped recipes: {names}") from None
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML
        raise RecipeInvalid(f"{path} is not valid TOML: {error}") from None
    like = document.pop("like", None)
    if like is None:
        return document
    if depth == _DEEPEST:
        raise RecipeInvalid(f"{path} is like a recipe that is like another, {_DEEPEST} times over")
    return _over(_document(str(like), path.parent, depth + 1), document)


def _over(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``own`` laid over it, table by table; another network takes no arguments
    of the first."""
    merged = dict(base)
    for key, value in own.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            other = key == "network" and value.get("name", before["name"]) != before["name"]
            merged[key] = value if other else _over(before, value)
        else:
            merged[key] = value
    return merged


def _change(document: dict[str, Any], change: str) -> None:
    """Set one value of a recipe's document, e.g. ``plan.epochs=3``."""
    where, _, text = change.partition("=")
    *path, last = where.strip().split(".")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word
    for step in path:
        document = document.setdefault(step, {})
        if not isinstance(document, dict):
            raise RecipeInvalid(f"{where}: {step} is no table of the recipe")
    document[last] = value
