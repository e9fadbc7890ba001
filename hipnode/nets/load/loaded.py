"""Loading a bundle: verify, validate, build, prove. Nothing in a bundle is ever executed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from hipnode.errors import BundleRefused
from hipnode.nets.bundle.contents import (
    GOLDEN,
    GRAPH,
    INFERENCE,
    METADATA,
    TYPICAL,
    WEIGHTS,
    arrays,
    check_tensors,
    verify,
)
from hipnode.nets.bundle.spec import BundleSpec, inference_config, read_spec
from hipnode.nets.bundle.typical import Typical, from_arrays
from hipnode.nets.engines.onnx_engine import OnnxEngine
from hipnode.nets.engines.protocol import Engine

TOLERANCE: Final = 1e-4


@dataclass(frozen=True)
class LoadedModel:
    """A verified bundle and an engine that has reproduced its golden output."""

    spec: BundleSpec
    engine: Engine
    path: Path
    typical: Typical | None = None


def load_bundle(path: Path, *, device: str = "cpu", threads: int = 0) -> LoadedModel:
    """Load a bundle from a folder.

    Parameters
    ----------
    path
        The bundle's folder.
    device
        ``cpu`` runs ONNX Runtime, ``openvino`` OpenVINO on the CPU; ``cuda`` runs torch on the
        GPU, ``torch-cpu`` torch on the CPU.
    threads
        Threads within an operator on the CPU; 0 for the engine's own choice.

    Raises
    ------
    BundleRefused
        With the reason: a file that does not match its digest, a file that does not belong, code
        in a configuration, a pickle, a tensor too large, an unknown network, a wrong output.
    """
    files, digest = verify(path)
    spec = read_spec(files[METADATA], digest)
    if files[INFERENCE] != inference_config(spec.name):
        raise BundleRefused(f"{INFERENCE} is not what hipnode writes; it is refused unread")
    check_tensors(files[WEIGHTS], WEIGHTS)
    engine = _engine(files, spec, device, threads)
    prove(engine, spec, files[GOLDEN])
    return LoadedModel(spec, engine, path, _typical(files, spec))


def _engine(files: dict[str, bytes], spec: BundleSpec, device: str, threads: int) -> Engine:
    """Return the engine that a device asks for; what is not installed by default comes in here."""
    if device == "cpu":
        return OnnxEngine(files[GRAPH], files[WEIGHTS], spec.outputs, threads)
    engine: Engine
    if device == "openvino":
        openvino_engine = import_module("hipnode.nets.engines.openvino_engine")
        engine = openvino_engine.OpenVinoEngine(files[GRAPH], files[WEIGHTS], spec.outputs, threads)
        return engine
    torch_engine = import_module("hipnode.nets.engines.torch_engine")
    engine = torch_engine.TorchEngine(
        spec.network, spec.arguments, files[WEIGHTS], spec.outputs,
        device="cpu" if device == "torch-cpu" else device,
    )  # fmt: skip
    return engine


def _typical(files: dict[str, bytes], spec: BundleSpec) -> Typical | None:
    """Return what the training images look like, where the bundle says so."""
    if TYPICAL not in files:
        return None
    if "embedding" not in spec.outputs:
        raise BundleRefused(f"{TYPICAL} is of embeddings, which the network does not give")
    return from_arrays(arrays(files[TYPICAL], TYPICAL), TYPICAL)


def prove(engine: Engine, spec: BundleSpec, golden: bytes) -> None:
    """Run the golden input and compare every output.

    Raises
    ------
    BundleRefused
        If an output is missing, has another shape or differs by more than `TOLERANCE` (relative
        to 1 or to the output's own magnitude, whichever is larger).
    """
    given = arrays(golden, GOLDEN)
    batch = given.pop("input", np.zeros(0)).astype(np.float32)
    if batch.shape[1:] != (spec.channels, spec.size_px, spec.size_px) or len(batch) > 4:
        raise BundleRefused(f"{GOLDEN}: the input has the shape {batch.shape}")
    if missing := set(spec.outputs) - given.keys():
        raise BundleRefused(f"{GOLDEN} lacks the outputs {', '.join(sorted(missing))}")
    covariates = given.pop("covariates", None)
    if (covariates is not None) != bool(spec.covariates):
        raise BundleRefused(f"{GOLDEN}: covariates are in the metadata or here, but not in both")
    if covariates is not None and covariates.shape != (len(batch), len(spec.covariates)):
        raise BundleRefused(f"{GOLDEN}: the covariates have the shape {covariates.shape}")
    outputs = engine.run(batch, None if covariates is None else covariates.astype(np.float32))
    for name in spec.outputs:
        _compare(name, outputs[name], given[name].astype(np.float32))


def _compare(name: str, got: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> None:
    if got.shape != wanted.shape:
        raise BundleRefused(f"{name} has the shape {got.shape}, not {wanted.shape}")
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    difference = float(np.abs(got - wanted).max(initial=0)) / scale
    if not difference <= TOLERANCE:
        raise BundleRefused(
            f"{name} differs from the golden output by {difference:.2g}, more than {TOLERANCE:g}"
        )
