"""Pictures (PNG, JPEG) as input for reading and training. Their header is invented, and says so."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from hipnode.domain import Header, Radiograph
from hipnode.errors import PixelsUnreadable

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg"})
_ORIENTATION: Final = 0x0112
_SHOWN: Final = {
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}
"""What EXIF Orientation asks for: so many times `numpy.rot90`, then left and right exchanged."""
_SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"


def load_picture(path: Path, *, max_pixels: int = 100_000_000) -> tuple[Header, Radiograph]:
    """Read a PNG or JPEG radiograph.

    Parameters
    ----------
    path
        The file.
    max_pixels
        A picture with more pixels is refused.

    Returns
    -------
    header
        With UIDs derived from the file's content, and nothing about a patient.
    radiograph
        (rows, columns) float32 in [0, 1], as stored; bone is taken to be bright.

    Raises
    ------
    PixelsUnreadable
        If the file is not such a picture, is damaged or has too many pixels.

    References
    ----------
    EXIF 2.3 (CIPA DC-008), 4.6.4 Orientation.
    """
    try:
        content = path.read_bytes()
        with Image.open(path, formats=["PNG", "JPEG"]) as image:
            if image.width * image.height > max_pixels:
                raise PixelsUnreadable("The picture has more pixels than allowed.")
            turns, mirrored = _SHOWN.get(image.getexif().get(_ORIENTATION, 1), (0, False))
            deep = image.mode.startswith(("I", "F"))
            array = np.asarray(image if deep else image.convert("L"), dtype=np.float32)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise PixelsUnreadable(f"The picture cannot be read ({type(error).__name__}).") from error
    top = 65535.0 if deep else 255.0
    instance, study, series = (_uid(content, part) for part in ("instance", "study", "series"))
    header = Header(_SECONDARY_CAPTURE, instance, study, series, modality="DX")
    note = "The picture has no DICOM header: patient, side and spacing are unknown."
    pixels = np.clip(array / np.float32(top), 0, 1)
    return header, Radiograph(pixels, notes=(note,), shown_turns=turns, shown_mirrored=mirrored)


def _uid(content: bytes, part: str) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{part} {digest}').int}"
