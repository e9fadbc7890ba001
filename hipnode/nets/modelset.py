"""Model sets: a short TOML file that pins a bundle by its digest for each role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from hipnode.errors import BundleRefused
from hipnode.nets.bundle import LoadedModel, load_bundle
from hipnode.nets.setfile import bundle_path, digest_of, read_set, set_file
from hipnode.nets.spec import Role

NEEDED: Final = frozenset({Role.GATE, Role.LOCALISER, Role.METAL, Role.FRACTURE})


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
    document = read_set(path)
    if missing := NEEDED - {Role(role) for role in document.models}:
        raise BundleRefused(f"{path} names no model for {', '.join(sorted(missing))}")
    where = _resolve(device)
    models: dict[Role, LoadedModel] = {}
    for key, pin in sorted(document.models.items()):
        model = load_bundle(bundle_path(path, pin.bundle), device=where, threads=threads)
        if model.spec.digest != pin.sha256:
            raise BundleRefused(f"{pin.bundle} has the digest {model.spec.digest}, not the pinned")
        if model.spec.role != Role(key):
            raise BundleRefused(f"{pin.bundle} is a {model.spec.role}, not a {key}")
        models[Role(key)] = model
    return ModelSet(document.name, digest_of(document), document.card, MappingProxyType(models))


def _resolve(device: str) -> str:
    if device != "auto":
        return device
    driver = Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()
    if not driver or find_spec("torch") is None:
        return "cpu"
    return "cuda" if import_module("torch").cuda.is_available() else "cpu"
