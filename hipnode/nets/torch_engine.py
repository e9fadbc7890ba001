"""The entry for MONAI's own tools. Its address stands in every bundle's ``inference.json``."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from hipnode.nets.bundle.contents import METADATA, WEIGHTS, check_tensors, verify
from hipnode.nets.bundle.spec import read_spec
from hipnode.nets.engines.torch_engine import assemble


def load_network(bundle: str | Path) -> nn.Module:
    """Return a bundle's network with its weights: the entry for MONAI's own tools.

    Raises
    ------
    BundleRefused
        If the bundle is refused.
    """
    files, digest = verify(Path(bundle))
    spec = read_spec(files[METADATA], digest)
    check_tensors(files[WEIGHTS], WEIGHTS)
    return assemble(spec.network, spec.arguments, files[WEIGHTS])
