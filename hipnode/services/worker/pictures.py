"""The picture of an image that its reading leaves for its report, which another process may build.

To decode an image again would cost more than all the rest of a report.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hipnode import imaging, reporting
from hipnode.domain import Radiograph

_KEPT: Final = 32
_SHOWN_PERCENT: Final = (0.5, 99.5)
"""The percentiles of an image that are black and white in its picture, as networks are shown it."""


def lying(radiograph: Radiograph) -> imaging.Squares:
    """Return what captures show: an image as it lies in its file, its pixels square."""
    return imaging.Squares(imaging.as_stored(radiograph).picture(radiograph.pixels))


def of(shown: imaging.Squares) -> NDArray[np.uint8]:
    """Return the picture for captures of what `lying` gave: (rows, columns) uint8.

    Its grey levels reach as far as those of the networks do, whatever the header's window makes of
    them.
    """
    rows, columns = shown.pixels.shape
    scale = min(1.0, reporting.LONG_SIDE_PX / max(rows, columns))
    small = shown.resized((max(1, round(rows * scale)), max(1, round(columns * scale))))
    low, high = imaging.percentiles(small, *_SHOWN_PERCENT)
    grey = small - low
    grey /= max(high - low, 1e-6)
    np.clip(grey, 0, 1, out=grey)
    grey *= 255
    shades: NDArray[np.uint8] = np.rint(grey, out=grey).astype(np.uint8)
    return shades


def keep(picture: NDArray[np.uint8], views: Path, path: Path) -> None:
    """Leave a picture to whichever process builds the report; if that fails, it is made again.

    Parameters
    ----------
    picture
        (rows, columns), as `of` makes it.
    views
        The folder where they are left.
    path
        The file of the image.
    """
    file = _file(views, path)
    try:
        np.save(file, picture)
        _forget_oldest(views)
    except OSError:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def kept(views: Path, path: Path) -> NDArray[np.uint8]:
    """Return the picture that the reading of an image left.

    Raises
    ------
    OSError, ValueError, EOFError
        If there is none, or it is not whole.
    """
    found: NDArray[np.uint8] = np.load(_file(views, path))
    return found


def _file(views: Path, path: Path) -> Path:
    return views / f"{hashlib.sha256(os.fsencode(path)).hexdigest()}.npy"


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    for file in files[:-_KEPT]:
        file.unlink(missing_ok=True)
