"""What a bundle holds, verified before anything in it is believed.

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
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from hipnode.errors import BundleRefused

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

_MAX_FILE_BYTES: Final = 256 * 1024**2
_MAX_ELEMENTS: Final = 100_000_000
_PICKLES: Final = frozenset({".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".ts", ".joblib"})
_LINE: Final = re.compile(r"^([0-9a-f]{64})  (\S.*)$")


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


def arrays(content: bytes, name: str) -> dict[str, Any]:
    """Return the tensors of a verified safetensors file.

    Raises
    ------
    BundleRefused
        If `check_tensors` refuses it, or it cannot be read.
    """
    check_tensors(content, name)
    try:
        return dict(load_arrays(content))
    except SafetensorError as error:
        raise BundleRefused(f"{name} cannot be read: {error}") from None
