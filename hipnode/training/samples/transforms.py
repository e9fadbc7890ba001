"""The preprocessing of serving, wrapped for training: the very same function, so no drift."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from monai.transforms.transform import Transform
from numpy.typing import NDArray
from torch import Tensor

from hipnode.domain import Box
from hipnode.imaging import PreprocessSpec, preprocess


class Preprocess(Transform):
    """`hipnode.imaging.preprocess` as a MONAI transform.

    Parameters
    ----------
    spec
        What the network is trained, and later served, with.
    """

    def __init__(self, spec: PreprocessSpec) -> None:
        self.spec = spec

    def __call__(self, data: NDArray[Any] | Tensor) -> Tensor:
        """Return a batch (n, 1, s, s) or an image (s, s) in [0, 1], ready for the network."""
        pixels = np.asarray(data, dtype=np.float32)
        if pixels.ndim == 2:
            return torch.from_numpy(preprocess(pixels, self.spec))
        return torch.from_numpy(np.stack([preprocess(one[0], self.spec) for one in pixels]))


def sample(
    pixels: NDArray[np.float32],
    spec: PreprocessSpec,
    box: Box | None,
    *,
    mirror: bool = False,
    size_px: int | None = None,
) -> NDArray[np.uint16]:
    """Return what training keeps of an image: clipped and resampled, not yet standardised.

    Parameters
    ----------
    pixels
        (rows, columns) float32 in [0, 1], bright bone.
    spec
        The network's.
    box, mirror
        As in `hipnode.imaging.preprocess`.
    size_px
        Another size than the network's, to augment from.

    Returns
    -------
    numpy.ndarray
        (size_px, size_px) uint16 over [0, 1].
    """
    loose = dataclasses.replace(spec, scaling="unit", size_px=size_px or spec.size_px)
    unit = preprocess(pixels, loose, box, mirror=mirror)[0]
    stored: NDArray[np.uint16] = np.round(unit * 65535).astype(np.uint16)
    return stored
