"""The objects that are sent and read: a simulated pelvis at a detector's full size."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.pixels.utils import compress

from hipnode import imaging
from hipnode.codes import derive_uid

SAMPLE: Final = Path(imaging.__file__).parent.parent / "phantom" / "samples" / "normal.dcm"
DX: Final = uid.DigitalXRayImageStorageForPresentation
FULL: Final = (2460, 2186)
SMALL: Final = (500, 500)
SYNTAXES: Final = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
)

# UIDs of one length, so that a sender can put another one in their place.
_DIGITS: Final = 39


def fresh_uid(*parts: object) -> str:
    """Return a UID of 64 - 19 characters that only ``parts`` have."""
    number = int(derive_uid("bench", *map(str, parts)).removeprefix("2.25."))
    return "2.25." + str(10 ** (_DIGITS - 1) + number % (9 * 10 ** (_DIGITS - 1)))


STUDY: Final = fresh_uid("study")
INSTANCE: Final = fresh_uid("instance")


@cache
def pelvis(rows: int = FULL[0], columns: int = FULL[1]) -> NDArray[np.uint16]:
    """Return a 12-bit radiograph (rows, columns) with a detector's noise, which codecs pay for."""
    _, radiograph = imaging.load(SAMPLE)
    height = rows
    width = round(radiograph.pixels.shape[1] * height / radiograph.pixels.shape[0])
    whole = imaging.resample(radiograph.pixels, (height, width))
    start = max(0, (width - columns) // 2)
    cut = whole[:, start : start + columns]
    cut = np.pad(cut, ((0, 0), (0, columns - cut.shape[1])))
    noise = np.random.default_rng(7).normal(0, 6, cut.shape)
    return np.clip(cut * 3900 + 60 + noise, 0, 4095).astype(np.uint16)


def image(
    size: tuple[int, int] = FULL, syntax: str = uid.ExplicitVRLittleEndian, **attributes: Any
) -> Dataset:
    """Return a DX object of the pelvis in a transfer syntax."""
    pixels = pelvis(*size)
    source = pydicom.dcmread(SAMPLE, stop_before_pixels=True)
    ds = Dataset()
    for element in source:
        if element.tag.group not in (0x0028, 0x7FE0):
            ds.add(element)
    values = {
        "SOPClassUID": DX,
        "SOPInstanceUID": INSTANCE,
        "StudyInstanceUID": STUDY,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "WindowCenter": 2048,
        "WindowWidth": 4096,
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "PixelData": pixels.tobytes(),
        **attributes,
    }
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    if encoder := _encoder(syntax):
        ds.PixelData = encapsulate([bytes(encoder(pixels))])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    elif uid.UID(syntax).is_encapsulated:
        compress(ds, syntax, generate_instance_uid=False)
    ds.file_meta.TransferSyntaxUID = uid.UID(syntax)
    return ds


def _encoder(syntax: str) -> Callable[[NDArray[np.uint16]], bytes | bytearray] | None:
    """Return what encodes what pydicom cannot (imagecodecs, of the extra ``test``)."""
    import imagecodecs

    return {
        uid.JPEGLosslessSV1: lambda a: imagecodecs.ljpeg_encode(a, bitspersample=12),
        uid.HTJ2KLossless: lambda a: imagecodecs.htj2k_encode(a, reversible=True),
    }.get(uid.UID(syntax))


def encoded(ds: Dataset) -> bytes:
    """Return a data set as it goes over the wire, without file meta."""
    syntax = ds.file_meta.TransferSyntaxUID
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, syntax.is_implicit_VR
    write_dataset(buffer, ds)
    return bytes(buffer.getvalue())


def filed(ds: Dataset) -> bytes:
    """Return a data set as a DICOM file."""
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()
