"""OpenVINO on the CPU, in float32: for a site that prefers it to ONNX Runtime (an extra)."""

from __future__ import annotations

import sys
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hipnode.errors import BundleRefused
from hipnode.nets.engines.onnx_engine import COVARIATES, IMAGE, WEIGHTS, first_line
from hipnode.nets.engines.protocol import Arrays

_OPTIONS: Final = {
    # Left to itself it computes in bfloat16 where the processor can: other numbers elsewhere.
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    "ENABLE_CPU_PINNING": False,  # the cores are shared with decoders and other reading processes
}


class OpenVinoEngine:
    """A compiled graph, from the same files as `OnnxEngine`'s session.

    Parameters
    ----------
    graph
        The ONNX model; its weights are references into the safetensors file.
    weights
        The safetensors file, whole.
    outputs
        The names of the outputs wanted.
    threads
        Threads within an operator; 0 lets OpenVINO choose.

    Raises
    ------
    BundleRefused
        If OpenVINO is not installed, or cannot compile the graph.
    """

    def __init__(
        self, graph: bytes, weights: bytes, outputs: tuple[str, ...], threads: int = 0
    ) -> None:
        options = _OPTIONS | ({"INFERENCE_NUM_THREADS": threads} if threads else {})
        try:
            # OpenVINO finds weights beside a graph by file name only: the verified bytes go into a
            # folder of ours, and the bundle's own files are not opened again.
            with tempfile.TemporaryDirectory(prefix="hipnode-") as folder:
                Path(folder, WEIGHTS).write_bytes(weights)
                path = Path(folder, "model.onnx")
                path.write_bytes(graph)
                core = _core()
                self._compiled = core.compile_model(core.read_model(path), "CPU", options)
        except OSError as error:
            raise BundleRefused(f"no room to unpack the graph: {error.strerror}") from None
        except RuntimeError as error:
            raise BundleRefused(f"OpenVINO refuses the graph: {first_line(error)}") from None
        self._takes = {port.get_any_name() for port in self._compiled.inputs}
        if not self._takes <= {IMAGE, COVARIATES}:
            raise BundleRefused(f"the graph wants the inputs {', '.join(sorted(self._takes))}")
        offered = {name: port for port in self._compiled.outputs for name in port.get_names()}
        if missing := [name for name in outputs if name not in offered]:
            raise BundleRefused(f"the graph lacks the outputs {', '.join(missing)}")
        self._outputs = {name: offered[name] for name in outputs}

    def run(
        self, batch: NDArray[np.float32], covariates: NDArray[np.float32] | None = None
    ) -> Arrays:
        """Run the graph; see `Engine.run`.

        Parameters
        ----------
        batch
            (n, channels, rows, columns) float32.
        covariates
            (n, k) float32, or None.

        Raises
        ------
        BundleRefused
            If OpenVINO cannot run it.
        """
        given = {IMAGE: batch} | ({} if covariates is None else {COVARIATES: covariates})
        request = self._compiled.create_infer_request()  # one each: callers may be threads
        try:
            values = request.infer({k: v for k, v in given.items() if k in self._takes})
        except RuntimeError as error:
            raise BundleRefused(f"the graph cannot be run: {first_line(error)}") from None
        return {name: values[port] for name, port in self._outputs.items()}


@cache
def _core() -> Any:
    """Return OpenVINO's one entry, without what OpenVINO sends to its makers.

    Importing OpenVINO reports that to a server on the internet, under an identity that it files in
    the home folder; it does without where its telemetry package cannot be imported.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        core = import_module("openvino").Core()
    except ImportError:
        raise BundleRefused("OpenVINO is not installed: pip install 'hipnode[openvino]'") from None
    core.set_property({"ENABLE_MMAP": False})  # the folder that the weights are read from goes
    return core
