"""torch, on a GPU or for comparison on a CPU. Imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from torch import nn

from hipnode.errors import BundleRefused, EngineLost
from hipnode.nets.architectures import build
from hipnode.nets.engines.protocol import Arrays


class TorchEngine:
    """A network of the registry with a bundle's weights, in float32.

    Parameters
    ----------
    network, arguments
        As the bundle's spec names them.
    weights
        The safetensors file, whole.
    outputs
        The names of the outputs wanted.
    device
        ``cpu``, ``cuda`` or ``cuda:n``.

    Raises
    ------
    BundleRefused
        If the weights are not this network's.
    EngineLost
        If the device is not there, or fails.
    """

    def __init__(
        self,
        network: str,
        arguments: dict[str, Any],
        weights: bytes,
        outputs: tuple[str, ...],
        *,
        device: str,
    ) -> None:
        self._device = torch.device(device)
        with _device_errors(self._device):
            self._net = assemble(network, arguments, weights).to(self._device)
        self._outputs = outputs
        # The same float32 as on a CPU: TensorFloat-32 would differ by more than the tolerance.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def run(
        self, batch: NDArray[np.float32], covariates: NDArray[np.float32] | None = None
    ) -> Arrays:
        """Run the network; see `Engine.run`.

        Parameters
        ----------
        batch
            (n, channels, rows, columns) float32.
        covariates
            (n, k) float32, or None.
        """
        given = [batch] if covariates is None else [batch, covariates]
        with _device_errors(self._device), torch.inference_mode():
            outputs = self._net(*(torch.from_numpy(one).to(self._device) for one in given))
            return {name: outputs[name].float().cpu().numpy() for name in self._outputs}


@contextmanager
def _device_errors(device: torch.device) -> Iterator[None]:
    """Turn what torch raises where a GPU is absent, full or broken into `EngineLost`."""
    try:
        yield
    except (RuntimeError, AssertionError) as error:
        if device.type == "cpu":
            raise
        raise EngineLost(f"{device.type} cannot be used: {type(error).__name__}") from error


def assemble(network: str, arguments: dict[str, Any], weights: bytes) -> nn.Module:
    """Build a network of the registry and fill it with weights, ready to infer.

    Raises
    ------
    BundleRefused
        If the weights are not this network's.
    """
    net = build(network, arguments)
    state = {name: tensor.float() for name, tensor in load_tensors(weights).items()}
    try:
        missing, unexpected = net.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise BundleRefused(f"the weights are not this network's: {error}") from None
    spare = tuple(getattr(net, "training_only", ()))
    missing = [
        name
        for name in missing
        if not name.endswith(("num_batches_tracked",)) and not name.startswith(spare)
    ]
    if missing or unexpected:
        raise BundleRefused(f"weights missing {missing[:3]}, not this network's {unexpected[:3]}")
    return net.eval()
