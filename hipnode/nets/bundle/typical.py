"""What a classifier's training images look like to it, and how far off is too far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hipnode.errors import BundleRefused

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Typical:
    """Class means of embeddings of unit length, and the spread around them.

    Attributes
    ----------
    means
        (classes, features).
    whitening
        (features, features): the Cholesky factor of the inverse covariance around the means.
    limit
        The distance above which an image is unlike those of training.

    References
    ----------
    Lee 2018, A Simple Unified Framework for Detecting Out-of-Distribution Samples; Mueller 2025,
    Mahalanobis++ (embeddings of unit length).
    """

    means: Array
    whitening: Array
    limit: float

    def distance(self, embedding: Array) -> Array:
        """Return the Mahalanobis distance of each image to the nearest class mean.

        Parameters
        ----------
        embedding
            (n, features) float32, as the network gives it.

        Returns
        -------
        numpy.ndarray
            (n,) float32.
        """
        apart = unit(embedding)[:, None, :] - self.means[None]
        nearest: Array = np.linalg.norm(apart @ self.whitening, axis=2).min(axis=1)
        return nearest.astype(np.float32)

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return what a bundle keeps: 16 bits move a distance by less than a hundredth."""
        return {
            "means": self.means.astype(np.float16),
            "whitening": self.whitening.astype(np.float16),
            "limit": np.array([self.limit], np.float32),
        }


def unit(embedding: Array) -> Array:
    """Return embeddings (n, features) scaled to unit length."""
    length = np.linalg.norm(embedding, axis=1, keepdims=True)
    return np.asarray(embedding / np.maximum(length, 1e-9), np.float32)


def from_arrays(arrays: Mapping[str, NDArray[np.generic]], where: str) -> Typical:
    """Return what `Typical.arrays` gave.

    Parameters
    ----------
    arrays
        float32: ``means`` (classes, features), ``whitening`` (features, features), ``limit`` (1,).
    where
        The file, for the message.

    Raises
    ------
    BundleRefused
        If an array is missing, has the wrong shape, or holds anything but numbers.
    """
    if arrays.keys() != {"means", "whitening", "limit"}:
        raise BundleRefused(f"{where} holds {', '.join(sorted(arrays))}")
    means, whitening, limit = (
        np.asarray(arrays[name], np.float32) for name in ("means", "whitening", "limit")
    )
    features = means.shape[-1]
    if means.ndim != 2 or whitening.shape != (features, features) or limit.shape != (1,):
        raise BundleRefused(f"{where}: the shapes do not belong together")
    if not all(np.isfinite(array).all() for array in (means, whitening, limit)):
        raise BundleRefused(f"{where} holds a value that is no number")
    return Typical(means, whitening, float(limit[0]))
