"""The preprocessing of serving, for training: on one image the very same function, and on a batch
the same arithmetic where the batch lies. A test holds the two together."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from monai.transforms.transform import Transform
from numpy.typing import NDArray
from torch import Tensor

from hipnode.domain import Box
from hipnode.imaging import SAMPLE_PX, PreprocessSpec, preprocess
from hipnode.training.samples.batches import resize


class Preprocess(Transform):
    """`hipnode.imaging.preprocess` as a MONAI transform.

    Parameters
    ----------
    spec
        What the network is trained, and later served, with.
    """

    def __init__(self, spec: PreprocessSpec) -> None:
        self.spec = spec

    def __call__(self, data: NDArray[Any] | Tensor, wider: Tensor | None = None) -> Tensor:
        """Return an image (s, s), or a batch (n, 1, s, s) on its device, ready for the network.

        Parameters
        ----------
        data
            In [0, 1], bright bone.
        wider
            (n,) by how many sigma the window of each image is wider than ``two_sigma`` makes it.
        """
        if data.ndim == 2:
            pixels = np.asarray(data, dtype=np.float32)
            return torch.from_numpy(preprocess(pixels, self.spec))
        return standardise(torch.as_tensor(data).float(), self.spec, wider)


def standardise(images: Tensor, spec: PreprocessSpec, wider: Tensor | None = None) -> Tensor:
    """Do with a batch what `hipnode.imaging.preprocess` does with each image.

    Parameters
    ----------
    images
        (n, 1, s, s) float32 in [0, 1].
    spec
        Its clip and scaling; images of another size are resampled to it.
    wider
        As in `Preprocess`.
    """
    if images.shape[-1] != spec.size_px:
        images = resize(images, spec.size_px)
    step = max(1, int((images[0].numel() / SAMPLE_PX) ** 0.5))
    few = images[..., ::step, ::step].flatten(1)
    low, high = (
        _percentile(few, share).view(-1, 1, 1, 1)
        for share in (spec.clip_low_percent, spec.clip_high_percent)
    )
    out = ((images - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    if spec.scaling == "unit":
        return out
    mean, sigma = _moments(out)
    if spec.scaling == "two_sigma":
        more = 0 if wider is None else wider.to(out.device).view(-1, 1, 1, 1)
        return ((out - mean) / ((2 + more) * sigma).clamp(min=1e-6)).clamp(-1, 1)
    if spec.scaling == "zclip":
        out = torch.minimum(torch.maximum(out, mean - 2 * sigma), mean + 2 * sigma)
        mean, sigma = _moments(out)
    return (out - mean) / sigma.clamp(min=1e-6)


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean, images.std((1, 2, 3), keepdim=True, correction=0)


def _percentile(values: Tensor, share: float) -> Tensor:
    """Return a percentile of each row of (n, k), between two neighbours as numpy does.

    From the nearer end: of the half per cent that is clipped, few values are sorted.
    """
    count = values.shape[1]
    place = share / 100 * (count - 1)
    below = min(int(place), count - 2) if count > 1 else 0
    top = place > (count - 1) / 2
    needed = count - below if top else min(below + 2, count)
    found = values.topk(needed, dim=1, largest=top).values
    first, second = (found[:, -1], found[:, -2 if needed > 1 else -1])
    if not top:
        first, second = second, first
    return first + (second - first) * (place - below)


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
