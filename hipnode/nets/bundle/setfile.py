"""The file of a model set: which bundle it pins for each role. Nothing here loads a network.

A listener has to name the set that an image will be read with; this is all that it needs for that.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from hipnode.domain import Role
from hipnode.errors import BundleRefused
from hipnode.nets.bundle.spec import Name, Sentence

SHIPPED: Final = Path(__file__).resolve().parents[2] / "models"
"""Where the package keeps its own bundles and model sets."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pin(_Part):
    """A bundle's folder, and the digest that it must have."""

    bundle: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class SetFile(_Part):
    """A model set file, checked."""

    name: Name
    card: Sentence
    models: dict[Role, Pin]
    clinical: dict[Role, Pin] = {}


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
    return digest_of(read_set(set_file(reference)))


def pins(reference: str | Path = "default") -> dict[str, tuple[Path, str]]:
    """Return each model's bundle folder and pinned digest, without loading anything.

    The keys are the roles; ``role/clinical`` is its variant with clinical data.
    """
    path = set_file(reference)
    document = read_set(path)
    return {
        key: (bundle_path(path, pin.bundle), pin.sha256) for key, pin in _by_key(document).items()
    }


def bundle_folder(bundle: str, reference: str | Path = "default") -> Path:
    """Return a bundle's folder: that of a key of `pins`, else the path that ``bundle`` is."""
    pinned = pins(reference)
    return pinned[bundle][0] if bundle in pinned else Path(bundle)


def read_set(path: Path) -> SetFile:
    """Read and check a model set file.

    Raises
    ------
    BundleRefused
        If it cannot be read or is not valid; the message says which key.
    """
    try:
        return SetFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BundleRefused(f"model set {path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise BundleRefused(f"model set {path}, {where}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML
        raise BundleRefused(f"model set {path} is not valid TOML: {error}") from None


def bundle_path(set_path: Path, bundle: str) -> Path:
    """Return a bundle's folder, which lies beside its set or below.

    Raises
    ------
    BundleRefused
        If it lies anywhere else.
    """
    if ".." in Path(bundle).parts:
        raise BundleRefused(f"{bundle!r} is outside the model set's folder")
    return set_path.parent / bundle


def digest_of(document: SetFile) -> str:
    """Return the sha256 over the roles and the digests of their bundles."""
    lines = [f"{document.name}\n"]
    lines += [f"{key} {pin.sha256}\n" for key, pin in sorted(_by_key(document).items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _by_key(document: SetFile) -> dict[str, Pin]:
    return {str(role): pin for role, pin in document.models.items()} | {
        f"{role}/clinical": pin for role, pin in document.clinical.items()
    }
