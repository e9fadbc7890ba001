"""What every engine can do, whichever library multiplies the matrices."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]
"""Named arrays, float32: ``logits`` (n, classes), ``cam`` (n, classes, h', w'), ``mask``
(n, 1, h, w) in [0, 1], ``embedding`` (n, features); a network has the ones its spec names."""


class Engine(Protocol):
    """A network ready to run. Thread-safe; holds its weights and nothing else."""

    def run(
        self, batch: NDArray[np.float32], covariates: NDArray[np.float32] | None = None
    ) -> Arrays:
        """Run the network forward.

        Parameters
        ----------
        batch
            (n, channels, rows, columns) float32, preprocessed as the bundle's spec says.
        covariates
            (n, k) float32 in the order of the spec's covariates, each in its own unit; None for a
            network that takes the image alone.

        Returns
        -------
        dict of str to numpy.ndarray
            The outputs that the spec names, each with n as its first axis.
        """
        ...
