"""What becomes of a network at another hospital, and what a few of its images mend there.

References
----------
Jang 2022, "External validation" (AUC 0.867, then 0.700). Platt 1999 (a logistic curve over scores).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

LOCAL: Final = 100
"""So many images of the other hospital are known when a network is recalibrated."""


def recalibrated(
    actual: NDArray[Any], p: NDArray[Any], positive: Sequence[int]
) -> tuple[float, float] | None:
    """Return the accuracy of positive or not before and after recalibration on the first `LOCAL`.

    Parameters
    ----------
    actual, p
        (n,) class indices and (n, classes) probabilities, of one image a person.
    positive
        Which classes are positive.

    Returns
    -------
    tuple or None
        Both of the images after the first `LOCAL`; None if too few are there, or are of one kind.
    """
    true = np.isin(actual, positive)
    said = p[:, list(positive)].sum(1).clip(1e-6, 1 - 1e-6)
    if len(true) < 2 * LOCAL or len(set(true[:LOCAL])) < 2:
        return None
    score = np.log(said / (1 - said))[:, None]
    curve = LogisticRegression(C=1e3).fit(score[:LOCAL], true[:LOCAL])
    rest, tested = true[LOCAL:], score[LOCAL:]
    before = float(((tested[:, 0] > 0) == rest).mean())
    return before, float((curve.predict(tested) == rest).mean())
