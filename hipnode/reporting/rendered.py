"""hipnode's own objects as a person would look at them without a viewer: a picture, or text.

References
----------
PS3.3 C.17.3 (SR Document Content), C.7.6.3 (Image Pixel), C.24.2 (Encapsulated Document).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
)

from hipnode.domain import ResultKind

KINDS: Final = {
    Comprehensive3DSRStorage: ResultKind.SR,
    ComprehensiveSRStorage: ResultKind.SR,
    BasicTextSRStorage: ResultKind.TEXT,
    SecondaryCaptureImageStorage: ResultKind.CAPTURE,
    GrayscaleSoftcopyPresentationStateStorage: ResultKind.GSPS,
    EncapsulatedPDFStorage: ResultKind.PDF,
    KeyObjectSelectionDocumentStorage: ResultKind.NOTE,
}
"""Every SOP Class that the node creates, and the kind of result it is."""


def render(source: Path | bytes | Dataset) -> tuple[ResultKind, bytes, str]:
    """Return one of hipnode's own objects to look at.

    Returns
    -------
    tuple
        Its kind; a PNG, a PDF or UTF-8 text; and the suffix of a file's name for it.

    Raises
    ------
    ValueError
        If the object is of no SOP Class that hipnode makes.
    """
    if isinstance(source, bytes):
        source = dcmread(BytesIO(source))
    ds = source if isinstance(source, Dataset) else dcmread(source)
    kind = KINDS.get(ds.SOPClassUID)
    if kind is None:
        raise ValueError(f"hipnode makes no objects of SOP Class {ds.SOPClassUID}")
    if kind is ResultKind.CAPTURE:
        buffer = BytesIO()
        Image.fromarray(pixel_array(ds)).save(buffer, "PNG", optimize=True)
        return kind, buffer.getvalue(), ".png"
    if kind is ResultKind.PDF:
        return kind, bytes(ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength]), ".pdf"
    lines = _annotations(ds) if kind is ResultKind.GSPS else _tree(ds, 0)
    return kind, ("\n".join(lines) + "\n").encode(), ".txt"


def _tree(item: Dataset, depth: int) -> Iterator[str]:
    """Yield a content tree as indented lines: concept name and value."""
    named = item.get("ConceptNameCodeSequence")
    name = named[0].CodeMeaning if named else item.ValueType  # a note's items have no names
    text = name + (f": {value}" if (value := _value(item)) else "")
    pad = "  " * depth
    yield from textwrap.wrap(text, 100, initial_indent=pad, subsequent_indent=pad + "    ")
    for child in item.get("ContentSequence", []):
        yield from _tree(child, depth + 1)


def _value(item: Dataset) -> str:
    match item.ValueType:
        case "TEXT":
            return str(item.TextValue)
        case "CODE":
            code = item.ConceptCodeSequence[0]
            return f"{code.CodeMeaning} ({code.CodeValue}, {code.CodingSchemeDesignator})"
        case "NUM":
            measured = item.MeasuredValueSequence[0]
            unit = measured.MeasurementUnitsCodeSequence[0].CodeValue
            return f"{measured.NumericValue} {unit}"
        case "UIDREF":
            return str(item.UID)
        case "SCOORD":
            points = list(zip(item.GraphicData[::2], item.GraphicData[1::2], strict=True))
            return " ".join(f"({x:g}, {y:g})" for x, y in points)
        case "IMAGE":
            return str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
    return ""


def _annotations(ds: Dataset) -> Iterator[str]:
    for annotation in ds.GraphicAnnotationSequence:
        for text in annotation.get("TextObjectSequence", []):
            yield str(text.UnformattedTextValue)
