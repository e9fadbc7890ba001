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
        (rows, columns) float32 in [0, 1]; bone is taken to be bright.

    Raises
    ------
    PixelsUnreadable
        If the file is not such a picture, is damaged or has too many pixels.
    """
    try:
        content = path.read_bytes()
        with Image.open(path, formats=["PNG", "JPEG"]) as image:
            if image.width * image.height > max_pixels:
                raise PixelsUnreadable("The picture has more pixels than allowed.")
            deep = image.mode.startswith(("I", "F"))
            array = np.asarray(image if deep else image.convert("L"), dtype=np.float32)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise PixelsUnreadable(f"The picture cannot be read ({type(error).__name__}).") from error
    top = 65535.0 if deep else 255.0
    instance, study, series = (_uid(content, part) for part in ("instance", "study", "series"))
    header = Header(_SECONDARY_CAPTURE, instance, study, series, modality="DX")
    note = "The picture has no DICOM header: patient, side and spacing are unknown."
    return header, Radiograph(np.clip(array / np.float32(top), 0, 1), notes=(note,))


def _uid(content: bytes, part: str) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{part} {digest}').int}"
