"""Pixels: from a DICOM file to a `Radiograph`, and on to a network's input.

numpy, Pillow and pydicom only; no torch, no settings, no database.
"""

from hipnode.imaging.canonical import Canonical, as_shown, as_stored, by_header, is_lateral
from hipnode.imaging.decode import (
    MAX_PIXELS,
    ImageFile,
    decode,
    load,
    measured,
    open_image,
    picture_digest,
)
from hipnode.imaging.margins import inside_margins
from hipnode.imaging.picture import SUFFIXES as PICTURE_SUFFIXES
from hipnode.imaging.picture import load_picture
from hipnode.imaging.preprocess import (
    SAMPLE_PX,
    PreprocessSpec,
    Squares,
    crop,
    pad_to_square,
    part_of,
    percentiles,
    preprocess,
    resample,
    square_around,
)

__all__ = [
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "SAMPLE_PX",
    "Canonical",
    "ImageFile",
    "PreprocessSpec",
    "Squares",
    "as_shown",
    "as_stored",
    "by_header",
    "crop",
    "decode",
    "inside_margins",
    "is_lateral",
    "load",
    "load_picture",
    "measured",
    "open_image",
    "pad_to_square",
    "part_of",
    "percentiles",
    "picture_digest",
    "preprocess",
    "resample",
    "square_around",
]
