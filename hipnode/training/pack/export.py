"""Writing a bundle: the same weights as safetensors and as an ONNX graph that points into them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import monai
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnxscript.optimizer import fold_constants, remove_unused_nodes
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from hipnode.errors import InputRefused
from hipnode.nets.bundle.contents import (
    CARD,
    GOLDEN,
    GRAPH,
    INFERENCE,
    KNOWN,
    MANIFEST,
    METADATA,
    SIGNATURE,
    TYPICAL,
    WEIGHTS,
    check_tensors,
)
from hipnode.nets.bundle.spec import HipnodePart, inference_config
from hipnode.nets.bundle.typical import Typical
from hipnode.nets.engines.onnx_engine import COVARIATES, IMAGE
from hipnode.nets.engines.onnx_engine import WEIGHTS as LOCATION
from hipnode.nets.engines.torch_engine import assemble
from hipnode.nets.load.loaded import LoadedModel, load_bundle

OWN: Final = KNOWN | {MANIFEST, SIGNATURE}
"""All files that a bundle's folder may hold."""
_SMALL = 512  # elements; smaller tensors stay float32, and inside the graph
_LARGEST = torch.finfo(torch.float16).max


def check_out(out: Path, mark: str = MANIFEST, only: Collection[str] = OWN) -> None:
    """Refuse a folder that is not a run's own to write into.

    Parameters
    ----------
    out
        Absent, empty, or of an earlier run.
    mark
        The file that an earlier run leaves in it.
    only
        All files that one may leave; none: there may be others.

    Raises
    ------
    InputRefused
        If something else lies there.
    """
    if out.name in {"", ".."}:
        raise InputRefused(f"{out} has no name of its own: name the folder to write")
    if not out.is_dir():
        if out.exists():
            raise InputRefused(f"{out} is no folder")
        return
    if os.path.ismount(out):
        raise InputRefused(f"{out} is where a disk is mounted: name a folder in it")
    files = (path for path in out.rglob("*") if not path.is_dir())
    own = (out / mark).exists()
    for path in files:
        if not own or (only and path.relative_to(out).as_posix() not in only):
            raise InputRefused(f"{path} is not of an earlier run: name a folder without it")


def write_bundle(
    folder: Path,
    block: Mapping[str, Any],
    net: nn.Module,
    golden: NDArray[np.float32],
    card: str,
    covariates: NDArray[np.float32] | None = None,
    typical: Typical | None = None,
) -> LoadedModel:
    """Write a bundle and load it back, so that what is on disk has proved itself.

    Parameters
    ----------
    folder
        Where to; made if it is not there. A bundle that lies there is replaced as a whole.
    block
        The ``hipnode`` block of the metadata.
    net
        The trained network of the registry.
    golden
        (n, channels, size_px, size_px) float32, at most 4: the input that is checked at load.
    card
        The model card, in Markdown.
    covariates
        (n, k) float32 of the same samples, for a network that takes them.
    typical
        What the training images look like, for the gate against images unlike them.

    Raises
    ------
    BundleRefused
        If the written bundle does not load, or ONNX Runtime and torch disagree on it.
    InputRefused
        If something else than a bundle lies there.
    ValueError
        If ``block`` is not valid.
    """
    part = HipnodePart.model_validate(block)
    weights = pack_weights(net)
    rounded = assemble(part.network.name, part.network.arguments, weights)
    golden = golden.astype(np.float16).astype(np.float32)
    given = [golden] if covariates is None else [golden, covariates.astype(np.float32)]
    with torch.inference_mode():
        outputs = rounded(*map(torch.from_numpy, given))
    arrays = {"input": torch.from_numpy(golden).half()}
    if covariates is not None:
        arrays["covariates"] = torch.from_numpy(given[1])
    arrays |= {name: outputs[name].contiguous() for name in part.outputs}
    files = {
        METADATA: _json(metadata(part)),
        INFERENCE: inference_config(part.name),
        WEIGHTS: weights,
        GRAPH: export_graph(rounded, tuple(part.outputs), given, weights),
        GOLDEN: save_tensors(arrays),
        CARD: card.encode(),
    }
    if typical is not None:
        files[TYPICAL] = save_tensors(
            {name: torch.from_numpy(array) for name, array in typical.arrays().items()}
        )
    return _put(files, folder)


def _put(files: Mapping[str, bytes], folder: Path) -> LoadedModel:
    """Write a bundle beside its folder, and have it take the folder's place once it loads."""
    at = folder.resolve()
    at.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{at.name}-", dir=at.parent) as scratch:
        new = Path(scratch) / "new"
        for name, content in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)
        listed = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
        (new / MANIFEST).write_text("".join(listed), encoding="utf-8")
        load_bundle(new, device="torch-cpu")
        model = load_bundle(new, threads=1)
        check_out(at)
        if at.exists():
            at.rename(Path(scratch) / "old")
        new.rename(at)
    return replace(model, path=folder)


def pack_weights(net: nn.Module) -> bytes:
    """Return a network's weights as a safetensors file: large tensors in float16, if they fit."""
    spare = tuple(getattr(net, "training_only", ()))
    state: dict[str, Tensor] = {}
    for name, tensor in sorted(net.state_dict().items()):
        if name.endswith("num_batches_tracked") or name.startswith(spare):
            continue
        plain = tensor.detach().cpu().contiguous()
        halved = plain.numel() >= _SMALL and float(plain.abs().max()) <= _LARGEST
        state[name] = plain.half() if halved else plain.float()
    return save_tensors(state)


def export_graph(
    net: nn.Module,
    outputs: tuple[str, ...],
    examples: Sequence[NDArray[np.float32]],
    weights: bytes,
) -> bytes:
    """Return the network as ONNX, its large weights as references into ``weights``."""
    wrapped = _Ordered(net, outputs).eval()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "graph.onnx"
        batch = tuple(torch.from_numpy(np.concatenate([one, one])[:2]) for one in examples)
        rows = torch.export.Dim("n", min=1, max=64)
        program = torch.onnx.export(
            wrapped,
            batch,
            input_names=[IMAGE, COVARIATES][: len(batch)],
            output_names=list(outputs),
            dynamic_shapes=(tuple({0: rows} for _ in batch),),
            dynamo=True,
            optimize=False,  # it would fold the normalisation into weights of its own
            verbose=False,
        )
        if program is None:
            raise RuntimeError("torch exported nothing")
        # Convolutions without a bias are given one, zeros made anew in each run, which keeps
        # ONNX Runtime from joining normalisation and activation to them.
        fold_constants(program.model)
        remove_unused_nodes(program.model)
        program.save(path, external_data=False)
        model = onnx.load(path)
    _refer(model.graph, weights)
    for node in model.graph.node:
        del node.metadata_props[:]  # the exporter's own paths
        node.doc_string = ""
    del model.graph.metadata_props[:], model.metadata_props[:]
    return bytes(model.SerializeToString(deterministic=True))


class _Ordered(nn.Module):
    """A network whose outputs are a tuple, as ONNX wants them."""

    def __init__(self, net: nn.Module, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.net = net
        self.outputs = outputs

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        named = self.net(*given)
        return tuple(named[name] for name in self.outputs)


def _refer(graph: Any, weights: bytes) -> None:
    """Replace each initialiser found in ``weights`` as float16 by a reference and a cast."""
    header = check_tensors(weights, WEIGHTS)
    base = 8 + int.from_bytes(weights[:8], "little")
    places: dict[bytes, tuple[int, int]] = {}
    for entry in header.values():
        if entry["dtype"] == "F16":
            start, end = entry["data_offsets"]
            half = np.frombuffer(weights[base + start : base + end], np.float16)
            places[_key(half.astype(np.float32))] = (base + start, end - start)
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if place := places.get(_key(values)):
            name = tensor.name
            tensor.CopyFrom(_reference(f"{name}.f16", tensor.dims, *place))
            casts.append(helper.make_node("Cast", [f"{name}.f16"], [name], to=TensorProto.FLOAT))
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)


def _reference(name: str, dims: Any, offset: int, length: int) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=list(dims))
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", LOCATION), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _key(values: NDArray[np.float32]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(values, np.float32).tobytes()).digest()


def metadata(part: HipnodePart) -> dict[str, Any]:
    """Return the whole ``configs/metadata.json``, with the keys that MONAI's schema wants."""
    size = part.preprocessing["size_px"]
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "DX",
        "num_channels": part.channels,
        "spatial_shape": [size, size],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {"0": "radiograph"},
    }
    prediction = {
        "type": "probabilities",
        "format": "segmentation" if part.role == "localiser" else "classes",
        "num_channels": len(part.labels),
        "spatial_shape": [size, size] if part.role == "localiser" else [],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {str(index): label for index, label in enumerate(part.labels)},
    }
    return {
        "version": part.version,
        "changelog": {part.version: "as trained"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"safetensors": "0.5.0"},
        "task": part.role,
        "name": part.name,
        "description": part.card,
        "intended_use": "Research. NOT FOR CLINICAL USE.",
        "authors": "hipnode",
        "copyright": "Apache-2.0",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": prediction}},
        "hipnode": part.model_dump(mode="json", exclude_none=True),
    }


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode()
