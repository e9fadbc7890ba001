"""ONNX Runtime on the CPU, in float32: what a node without a GPU serves with."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from hipnode.errors import BundleRefused
from hipnode.nets.engines.protocol import Arrays

WEIGHTS = "model.safetensors"
IMAGE = "image"
COVARIATES = "covariates"
_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


class OnnxEngine:
    """A session over a graph whose weights lie in the bundle's safetensors file.

    The graph refers to tensors in that file by offset (ONNX external data), so the weights are
    on disk once; both files come as the very bytes that were verified, and nothing is reopened.

    Parameters
    ----------
    graph
        The ONNX model.
    weights
        The safetensors file, whole.
    outputs
        The names of the outputs wanted.
    threads
        Intra-operator threads; 0 lets ONNX Runtime choose.

    Raises
    ------
    BundleRefused
        If ONNX Runtime cannot make a session of it.
    """

    def __init__(
        self, graph: bytes, weights: bytes, outputs: tuple[str, ...], threads: int = 0
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Idle threads that spin would take the cores from the decoders beside them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_external_initializers_from_files_in_memory([WEIGHTS], [weights], [len(weights)])
        try:
            self._session = ort.InferenceSession(
                graph, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except _ERRORS as error:
            raise BundleRefused(f"ONNX Runtime refuses the graph: {first_line(error)}") from None
        offered = {output.name for output in self._session.get_outputs()}
        if missing := [name for name in outputs if name not in offered]:
            raise BundleRefused(f"the graph lacks the outputs {', '.join(missing)}")
        self._takes = {one.name for one in self._session.get_inputs()}
        if not self._takes <= {IMAGE, COVARIATES}:
            raise BundleRefused(f"the graph wants the inputs {', '.join(sorted(self._takes))}")
        self._outputs = outputs

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
            If ONNX Runtime cannot run it.
        """
        given = {IMAGE: batch} | ({} if covariates is None else {COVARIATES: covariates})
        try:
            values = self._session.run(
                list(self._outputs), {k: v for k, v in given.items() if k in self._takes}
            )
        except _ERRORS as error:
            raise BundleRefused(f"the graph cannot be run: {first_line(error)}") from None
        return dict(zip(self._outputs, values, strict=True))


def first_line(error: Exception) -> str:
    """Return the first line of what a library says, short enough for a reason."""
    return str(error).strip().splitlines()[0][:300]
