"""Model sets: a short TOML file that pins a bundle by its digest for each role."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from hipnode.domain import COVARIATES, TASKS, Role
from hipnode.errors import BundleRefused
from hipnode.nets.bundle.setfile import Pin, bundle_path, digest_of, read_set, set_file
from hipnode.nets.bundle.spec import BundleSpec
from hipnode.nets.load.loaded import LoadedModel, load_bundle

RADIOGRAPHS: Final = frozenset({Role.GATE, Role.LOCALISER, Role.METAL, Role.FRACTURE})
"""The roles without which no radiograph is read."""
SCANS: Final = frozenset(row.role for row in TASKS.values() if row.of_scans)
"""The roles that read a densitometer's scan of one hip; a gate may stand before them."""


@dataclass(frozen=True)
class ModelSet:
    """The models that read an image together: radiographs, or a densitometer's scans.

    ``clinical`` holds the variants that take clinical data beside the image; each has the model
    of the same role to fall back to where the data are not known. ``digest`` is the sha256 over
    the roles and the digests of their bundles, and so over every weight, threshold and
    preprocessing step.
    """

    name: str
    digest: str
    card: str
    models: Mapping[Role, LoadedModel]
    clinical: Mapping[Role, LoadedModel] = field(default_factory=dict)

    @property
    def reads_scans(self) -> bool:
        """Whether the set reads scans of a densitometer, and not radiographs."""
        return _for_scans(self.models.keys())

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
    device: Literal["auto", "cpu", "openvino", "cuda", "torch-cpu"] = "auto",
    threads: int = 0,
) -> ModelSet:
    """Load a model set.

    Parameters
    ----------
    reference
        The name of a shipped set, or the path of a model set file.
    device
        As for `load_bundle`; ``auto`` takes the GPU where there is one and torch is installed,
        else ``cpu``.
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
    roles = {Role(role) for role in document.models}
    if not _for_scans(roles) and (missing := RADIOGRAPHS - roles):
        raise BundleRefused(f"{path} names no model for {', '.join(sorted(missing))}")
    if alone := {Role(role) for role in document.clinical} - roles:
        raise BundleRefused(f"{path} has no model without clinical data for {', '.join(alone)}")
    where = _resolve(device)

    def load(pinned: Mapping[Any, Pin], *, clinical: bool) -> Mapping[Role, LoadedModel]:
        models: dict[Role, LoadedModel] = {}
        for key, pin in sorted(pinned.items()):
            model = load_bundle(bundle_path(path, pin.bundle), device=where, threads=threads)
            _check(model.spec, pin, Role(key), clinical=clinical)
            models[Role(key)] = model
        return MappingProxyType(models)

    return ModelSet(
        document.name,
        digest_of(document),
        document.card,
        load(document.models, clinical=False),
        load(document.clinical, clinical=True),
    )


def _for_scans(roles: AbstractSet[Role]) -> bool:
    asked = roles - {Role.GATE}
    return bool(asked) and asked <= SCANS


def _check(spec: BundleSpec, pin: Pin, role: Role, *, clinical: bool) -> None:
    if spec.digest != pin.sha256:
        raise BundleRefused(f"{pin.bundle} has the digest {spec.digest}, not the pinned")
    if spec.role != role:
        raise BundleRefused(f"{pin.bundle} is a {spec.role}, not a {role}")
    if bool(spec.covariates) != clinical:
        what = "takes clinical data" if spec.covariates else "takes no clinical data"
        raise BundleRefused(f"{pin.bundle} {what}: it belongs into the other table")
    if strange := [name for name in spec.covariates if name not in COVARIATES]:
        raise BundleRefused(f"{pin.bundle} asks for {', '.join(strange)}, which nobody can tell")


def _resolve(device: str) -> str:
    if device != "auto":
        return device
    driver = Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()
    if not driver or find_spec("torch") is None:
        return "cpu"
    return "cuda" if import_module("torch").cuda.is_available() else "cpu"
