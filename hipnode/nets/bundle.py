"""Loading a bundle: verify, validate, build, prove. Nothing in a bundle is ever executed.

A bundle is a folder in MONAI's layout::

    configs/metadata.json     what it is, in MONAI's keys and one block `hipnode`
    configs/inference.json    for MONAI's tools; compared with what it must be, never parsed
    models/model.safetensors  the weights, float16 or float32
    models/model.onnx         the same network; its weights are references into the file above
    models/typical.safetensors  optional: what the training images look like to the network
    docs/README.md            the model card
    golden.safetensors        an input and the outputs that it must give
    MANIFEST.sha256           the sha256 of each file; its own sha256 is the bundle's digest
    MANIFEST.ed25519          optional: a signature of MANIFEST.sha256
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from hipnode.errors import BundleRefused
from hipnode.nets.engine import Engine
from hipnode.nets.onnx_engine import OnnxEngine
from hipnode.nets.spec import BundleSpec, inference_config, read_spec
from hipnode.nets.typical import Typical, from_arrays

MANIFEST: Final = "MANIFEST.sha256"
SIGNATURE: Final = "MANIFEST.ed25519"
METADATA: Final = "configs/metadata.json"
INFERENCE: Final = "configs/inference.json"
WEIGHTS: Final = "models/model.safetensors"
GRAPH: Final = "models/model.onnx"
GOLDEN: Final = "golden.safetensors"
TYPICAL: Final = "models/typical.safetensors"
CARD: Final = "docs/README.md"
FILES: Final = frozenset({METADATA, INFERENCE, WEIGHTS, GRAPH, GOLDEN, CARD})
"""Every bundle holds these files."""
KNOWN: Final = FILES | {TYPICAL}
"""A bundle may hold these files, and no others."""

TOLERANCE: Final = 1e-4
_MAX_FILE_BYTES: Final = 256 * 1024**2
_MAX_ELEMENTS: Final = 100_000_000
_PICKLES: Final = frozenset({".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".ts", ".joblib"})
_LINE: Final = re.compile(r"^([0-9a-f]{64})  (\S.*)$")


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
        openvino_engine = import_module("hipnode.nets.openvino_engine")
        engine = openvino_engine.OpenVinoEngine(files[GRAPH], files[WEIGHTS], spec.outputs, threads)
        return engine
    torch_engine = import_module("hipnode.nets.torch_engine")
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
    return from_arrays(_arrays(files[TYPICAL], TYPICAL), TYPICAL)


def _arrays(content: bytes, name: str) -> dict[str, Any]:
    check_tensors(content, name)
    try:
        return dict(load_arrays(content))
    except SafetensorError as error:
        raise BundleRefused(f"{name} cannot be read: {error}") from None


def verify(path: Path) -> tuple[dict[str, bytes], str]:
    """Read a bundle's files once and check each against the manifest.

    Returns
    -------
    files
        The verified bytes by relative path.
    digest
        The sha256 of the manifest.

    Raises
    ------
    BundleRefused
        If anything is missing, added, changed, linked, oversized or named outside the folder.
    """
    manifest = _read(path, MANIFEST)
    expected = _parse_manifest(manifest)
    _refuse_strangers(path)
    if missing := FILES - expected.keys():
        raise BundleRefused(f"{MANIFEST} does not list {', '.join(sorted(missing))}")
    files = {name: _read(path, name) for name in sorted(expected)}
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != expected[name]:
            raise BundleRefused(f"{name} does not match its sha256 in {MANIFEST}")
    return files, hashlib.sha256(manifest).hexdigest()


def _parse_manifest(manifest: bytes) -> dict[str, str]:
    expected: dict[str, str] = {}
    for number, line in enumerate(manifest.decode("utf-8", "replace").splitlines(), 1):
        match = _LINE.match(line)
        if not match:
            raise BundleRefused(f"{MANIFEST}, line {number} is not `<sha256>  <path>`")
        name = match[2]
        if Path(name).is_absolute() or ".." in Path(name).parts or "\\" in name:
            raise BundleRefused(f"{MANIFEST} names {name!r}, which is outside the bundle")
        if name not in KNOWN:
            raise BundleRefused(f"{MANIFEST} lists {name!r}, which does not belong into a bundle")
        expected[name] = match[1]
    return expected


def _refuse_strangers(path: Path) -> None:
    for item in sorted(path.rglob("*")):
        name = item.relative_to(path).as_posix()
        if item.is_symlink():
            raise BundleRefused(f"{name} is a link; a bundle holds files only")
        if item.suffix.lower() in _PICKLES:
            raise BundleRefused(f"{name} may be a pickle, which runs code when it is opened")
        if item.is_file() and name not in KNOWN | {MANIFEST, SIGNATURE}:
            raise BundleRefused(f"{name} does not belong into a bundle")


def _read(path: Path, name: str) -> bytes:
    file = path / name
    try:
        if file.is_symlink():
            raise BundleRefused(f"{name} is a link; a bundle holds files only")
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise BundleRefused(f"{name} is larger than {_MAX_FILE_BYTES} bytes")
        return file.read_bytes()
    except OSError as error:
        raise BundleRefused(f"{path}: {name} cannot be read: {error.strerror}") from None


def check_tensors(content: bytes, name: str) -> dict[str, Any]:
    """Check a safetensors file's header before any tensor is made.

    Returns
    -------
    dict
        The header: tensor name to ``dtype``, ``shape`` and ``data_offsets``.

    Raises
    ------
    BundleRefused
        If the header is malformed, a tensor is huge, or its type is not a plain number's.
    """
    if len(content) < 8:
        raise BundleRefused(f"{name} is no safetensors file")
    length = int.from_bytes(content[:8], "little")
    if length > min(len(content) - 8, 4 * 1024**2):
        raise BundleRefused(f"{name} declares a header of {length} bytes")
    try:
        header = json.loads(content[8 : 8 + length])
        header.pop("__metadata__", None)
        for tensor, entry in header.items():
            shape, (start, end) = entry["shape"], entry["data_offsets"]
            elements = math.prod(int(extent) for extent in shape)
            if not 0 <= elements <= _MAX_ELEMENTS:
                raise BundleRefused(f"{name}: the tensor {tensor!r} has the shape {shape}")
            if entry["dtype"] not in {"F16", "F32"}:
                raise BundleRefused(f"{name}: the tensor {tensor!r} has type {entry['dtype']}")
            width = 2 if entry["dtype"] == "F16" else 4
            if (
                not 0 <= start <= end <= len(content) - 8 - length
                or end - start != elements * width
            ):
                raise BundleRefused(f"{name}: the tensor {tensor!r} lies outside the file")
    except (ArithmeticError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise BundleRefused(f"{name} has a malformed header") from None
    return dict(header)


def prove(engine: Engine, spec: BundleSpec, golden: bytes) -> None:
    """Run the golden input and compare every output.

    Raises
    ------
    BundleRefused
        If an output is missing, has another shape or differs by more than `TOLERANCE` (relative
        to 1 or to the output's own magnitude, whichever is larger).
    """
    arrays = _arrays(golden, GOLDEN)
    batch = arrays.pop("input", np.zeros(0)).astype(np.float32)
    if batch.shape[1:] != (spec.channels, spec.size_px, spec.size_px) or len(batch) > 4:
        raise BundleRefused(f"{GOLDEN}: the input has the shape {batch.shape}")
    if missing := set(spec.outputs) - arrays.keys():
        raise BundleRefused(f"{GOLDEN} lacks the outputs {', '.join(sorted(missing))}")
    covariates = arrays.pop("covariates", None)
    if (covariates is not None) != bool(spec.covariates):
        raise BundleRefused(f"{GOLDEN}: covariates are in the metadata or here, but not in both")
    if covariates is not None and covariates.shape != (len(batch), len(spec.covariates)):
        raise BundleRefused(f"{GOLDEN}: the covariates have the shape {covariates.shape}")
    outputs = engine.run(batch, None if covariates is None else covariates.astype(np.float32))
    for name in spec.outputs:
        _compare(name, outputs[name], arrays[name].astype(np.float32))


def _compare(name: str, got: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> None:
    if got.shape != wanted.shape:
        raise BundleRefused(f"{name} has the shape {got.shape}, not {wanted.shape}")
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    difference = float(np.abs(got - wanted).max(initial=0)) / scale
    if not difference <= TOLERANCE:
        raise BundleRefused(f"{name} differs from the golden output by {difference:.2g}")
