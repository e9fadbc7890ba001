"""Looking at our own objects without a viewer: a capture as PNG, a structured report as text."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
from PIL import Image
from pydicom.dataset import Dataset


def render(path: Path) -> tuple[str, bytes, str]:
    """Return what a DICOM object shows.

    Parameters
    ----------
    path
        A Structured Report, or an image that pydicom can decode.

    Returns
    -------
    kind, content, suffix
        ``sr``, ``text`` or ``capture``; the bytes of a text or PNG file, and its suffix.
    """
    dataset = pydicom.dcmread(path)
    if "ContentSequence" in dataset:
        title = dataset.ConceptNameCodeSequence[0].CodeMeaning
        kind = "text" if dataset.SOPClassUID == pydicom.uid.BasicTextSRStorage else "sr"
        lines = [str(title), *_lines(dataset.ContentSequence, 1)]
        return kind, ("\n".join(lines) + "\n").encode(), ".txt"
    buffer = BytesIO()
    Image.fromarray(dataset.pixel_array).save(buffer, "PNG")
    return "capture", buffer.getvalue(), ".png"


def _lines(items: list[Dataset], depth: int) -> Iterator[str]:
    """Yield one indented line per content item (PS3.3 C.17.3)."""
    for item in items:
        name = (
            item.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in item else ""
        )
        yield "  " * depth + ": ".join(part for part in (name, _value(item)) if part)
        yield from _lines(item.get("ContentSequence", []), depth + 1)


def _value(item: Dataset) -> str:
    match item.ValueType:
        case "TEXT":
            return str(item.TextValue)
        case "CODE":
            return str(item.ConceptCodeSequence[0].CodeMeaning)
        case "NUM":
            measured = item.MeasuredValueSequence[0]
            unit = measured.MeasurementUnitsCodeSequence[0].CodeValue
            return f"{measured.NumericValue} {unit}"
        case "UIDREF":
            return str(item.UID)
        case "PNAME":
            return str(item.PersonName)
        case "SCOORD":
            return f"{item.GraphicType} {[round(float(v), 1) for v in item.GraphicData]}"
        case "IMAGE":
            return str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        case _:
            return ""
