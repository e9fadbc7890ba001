"""Model sets: a short TOML file that pins a bundle by its digest for each role."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from hipnode.errors import BundleRefused
from hipnode.nets.bundle import LoadedModel, load_bundle
from hipnode.nets.spec import Name, Role, Sentence

SHIPPED: Final = Path(__file__).resolve().parent.parent / "models"
"""Where the package keeps its own bundles and model sets."""

NEEDED: Final = frozenset({Role.GATE, Role.LOCALISER, Role.METAL, Role.FRACTURE})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Pin(_Part):
    bundle: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _SetFile(_Part):
    name: Name
    card: Sentence
    models: dict[Literal["gate", "metal", "localiser", "fracture", "osteoporosis", "risk"], _Pin]


@dataclass(frozen=True)
class ModelSet:
    """The models that read an image together.

    ``digest`` is the sha256 over the roles and the digests of their bundles, and so over every
    weight, threshold and preprocessing step.
    """

    name: str
    digest: str
    card: str
    models: Mapping[Role, LoadedModel]

    @property
    def gate(self) -> LoadedModel:
        """Decides whether the image is an upright frontal pelvis."""
        return self.models[Role.GATE]

    @property
    def metal(self) -> LoadedModel:
        """Decides whether a hip holds an implant."""
        return self.models[Role.METAL]

    @property
    def localiser(self) -> LoadedModel:
        """Finds the hips."""
        return self.models[Role.LOCALISER]

    @property
    def fracture(self) -> LoadedModel:
        """Classifies a hip."""
        return self.models[Role.FRACTURE]


def load_model_set(
    reference: str | Path = "default",
    device: Literal["auto", "cpu", "cuda", "torch-cpu"] = "auto",
    threads: int = 0,
) -> ModelSet:
    """Load a model set.

    Parameters
    ----------
    reference
        The name of a shipped set, or the path of a model set file.
    device
        ``auto`` takes the GPU where there is one and torch is installed.
    threads
        Threads within an operator on the CPU; 0 for the engine's own choice.

    Raises
    ------
    BundleRefused
        If the file is not valid, a role is missing, a bundle is not the pinned one, or any
        bundle is refused.
    """
    path = set_file(reference)
    document = _read(path)
    if missing := NEEDED - {Role(role) for role in document.models}:
        raise BundleRefused(f"{path} names no model for {', '.join(sorted(missing))}")
    where = _resolve(device)
    models: dict[Role, LoadedModel] = {}
    for key, pin in sorted(document.models.items()):
        model = load_bundle(_bundle_path(path, pin.bundle), device=where, threads=threads)
        if model.spec.digest != pin.sha256:
            raise BundleRefused(f"{pin.bundle} has the digest {model.spec.digest}, not the pinned")
        if model.spec.role != Role(key):
            raise BundleRefused(f"{pin.bundle} is a {model.spec.role}, not a {key}")
        models[Role(key)] = model
    return ModelSet(document.name, _digest(document), document.card, MappingProxyType(models))


def set_file(reference: str | Path) -> Path:
    """Return the path of a model set file, by shipped name or by path."""
    shipped = SHIPPED / f"{reference}.toml"
    return shipped if str(reference).isidentifier() and shipped.is_file() else Path(reference)


def set_digest(reference: str | Path = "default") -> str:
    """Return the digest that `load_model_set` will give a set, without loading anything.

    Raises
    ------
    BundleRefused
        If the file is not valid.
    """
    return _digest(_read(set_file(reference)))


def pins(reference: str | Path = "default") -> dict[Role, tuple[Path, str]]:
    """Return each role's bundle folder and pinned digest, without loading anything."""
    path = set_file(reference)
    return {
        Role(role): (_bundle_path(path, pin.bundle), pin.sha256)
        for role, pin in _read(path).models.items()
    }


def _read(path: Path) -> _SetFile:
    try:
        return _SetFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BundleRefused(f"model set {path} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise BundleRefused(f"model set {path} is not valid TOML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise BundleRefused(f"model set {path}, {where}: {first['msg']}") from None


def _bundle_path(set_path: Path, bundle: str) -> Path:
    if ".." in Path(bundle).parts:
        raise BundleRefused(f"{bundle!r} is outside the model set's folder")
    return set_path.parent / bundle


def _digest(document: _SetFile) -> str:
    lines = [f"{document.name}\n"]
    lines += [f"{role} {pin.sha256}\n" for role, pin in sorted(document.models.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _resolve(device: str) -> str:
    if device != "auto":
        return device
    driver = Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()
    if not driver or find_spec("torch") is None:
        return "cpu"
    return "cuda" if import_module("torch").cuda.is_available() else "cpu"
