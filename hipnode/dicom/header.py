"""The header of a data set as `Header`: every value total, nothing that a bad file can break."""

from __future__ import annotations

import math
import re
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pydicom
from pydicom.dataset import Dataset

from hipnode.domain import Header
from hipnode.errors import HeaderUnusable, NotDicom

PARSE_ERRORS: Final = (
    ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError,
    MemoryError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError, struct.error,
    zlib.error, pydicom.errors.BytesLengthException, pydicom.errors.InvalidDicomError,
)  # fmt: skip
"""What pydicom raises at a damaged data set, or at an attribute whose bytes fit no value."""

_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_MAX_INFLATED_BYTES: Final = 1 << 29
_MAX_HEADER_BYTES: Final = 1 << 24
_MAX_TEXT: Final = 1024
"""Longer than any value of these attributes may be (PS3.5 6.2); the rest of a longer one is cut."""

_OLDEST_YEARS: Final = 130
_AGE: Final = re.compile(r"^\s*(\d{1,3})\s*([DWMY])\s*$", re.IGNORECASE)
_YEARS_PER: Final = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_DATE: Final = re.compile(r"^(\d{4})\.?(\d{2})\.?(\d{2})$")
_UID: Final = re.compile(r"^[0-9.]{1,64}$")

_TEXT: Final = {
    "transfer_syntax_uid": "",
    "modality": "Modality",
    "patient_id": "PatientID",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "accession_number": "AccessionNumber",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
    "station_name": "StationName",
    "institution": "InstitutionName",
    "manufacturer": "Manufacturer",
    "body_part": "BodyPartExamined",
    "view_position": "ViewPosition",
    "patient_sex": "PatientSex",
    "presentation_intent": "PresentationIntentType",
    "device_serial": "DeviceSerialNumber",
    "device_uid": "DeviceUID",
}


def is_dicom(path: Path) -> bool:
    """Tell whether a file is in the DICOM File Format (PS3.10 7.1): 128 bytes, then ``DICM``."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def open_dicom(path: Path, *, pixels: bool) -> pydicom.FileDataset:
    """Read a DICOM file, with or without its pixel data; a missing file meta is forgiven.

    Parameters
    ----------
    path
        The file.
    pixels
        Whether to read the pixel data too.

    Raises
    ------
    NotDicom
        If the file is not DICOM, or breaks off before its header ends.
    HeaderUnusable
        If it is deflated and grows beyond what any radiograph needs.
    """
    try:
        if _is_deflated(path):
            dataset = _inflated(path, pixels=pixels)
        else:
            dataset = pydicom.dcmread(path, force=True, stop_before_pixels=not pixels)
        empty = len(dataset) == 0
    except OSError as error:
        raise NotDicom(f"The file cannot be read: {error.strerror or error}.") from error
    except PARSE_ERRORS as error:
        raise NotDicom(f"The file is not readable as DICOM: {type(error).__name__}.") from error
    if empty:
        raise NotDicom
    return dataset


def _is_deflated(path: Path) -> bool:
    with path.open("rb") as file:
        return _DEFLATED in file.read(4096)


def _inflated(path: Path, *, pixels: bool) -> pydicom.FileDataset:
    """Read a deflated file (PS3.5 A.5) without inflating more than a radiograph can be.

    pydicom inflates the whole file at once: a few megabytes may ask for gigabytes.
    """
    meta = pydicom.filereader.read_file_meta_info(str(path))
    if meta.get("TransferSyntaxUID") != pydicom.uid.DeflatedExplicitVRLittleEndian:
        return pydicom.dcmread(path, force=True, stop_before_pixels=not pixels)
    limit = _MAX_INFLATED_BYTES if pixels else _MAX_HEADER_BYTES
    with path.open("rb") as file:
        file.seek(128 + 4 + 12 + int(meta.FileMetaInformationGroupLength))
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = inflater.decompress(file.read(), limit)
    if pixels and inflater.unconsumed_tail:
        raise HeaderUnusable("The deflated data set is larger than any radiograph.")
    dataset = pydicom.dcmread(BytesIO(plain), force=True, stop_before_pixels=not pixels)
    dataset.file_meta = meta
    return dataset


def read_header(source: Path | Dataset) -> Header:
    """Return what rules, gates and the audit log need to know of an image.

    Parameters
    ----------
    source
        A DICOM file, or a data set that has been read already.

    Raises
    ------
    NotDicom
        If the file is not DICOM.
    HeaderUnusable
        If one of the UIDs that identify the image is missing or not a UID (PS3.5 9.1).
    """
    dataset = open_dicom(source, pixels=False) if isinstance(source, Path) else source
    uids = {
        "sop_class_uid": _uid(dataset, "SOPClassUID"),
        "sop_instance_uid": _uid(dataset, "SOPInstanceUID"),
        "study_instance_uid": _uid(dataset, "StudyInstanceUID"),
    }
    meta = getattr(dataset, "file_meta", None)
    text = {field: _text(dataset, keyword) for field, keyword in _TEXT.items() if keyword}
    text["transfer_syntax_uid"] = _text(meta, "TransferSyntaxUID") if meta is not None else ""
    return Header(
        **uids,
        **text,
        series_instance_uid=_text(dataset, "SeriesInstanceUID"),
        laterality=(_text(dataset, "ImageLaterality") or _text(dataset, "Laterality")).upper()[:1],
        patient_orientation=_many(dataset, "PatientOrientation"),
        image_type=_many(dataset, "ImageType"),
        age_years=_age_years(dataset),
        size_m=_number(dataset, "PatientSize", 0.2, 2.8),
        weight_kg=_number(dataset, "PatientWeight", 0.5, 500),
    )


def value_of(dataset: Any, keyword: str) -> Any:
    """Return an attribute's value; None where it is absent, damaged, or items.

    Parameters
    ----------
    dataset
        A data set, or an item of one.
    keyword
        The attribute's.
    """
    value = _read(dataset, keyword)
    return None if isinstance(value, pydicom.Sequence) else value


def items_of(dataset: Any, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none where it is absent, damaged, or no sequence.

    Parameters
    ----------
    dataset, keyword
        As for `value_of`.
    """
    value = _read(dataset, keyword)
    return list(value) if isinstance(value, pydicom.Sequence) else []


def _read(dataset: Any, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except PARSE_ERRORS:
        return None


def _text(dataset: Any, keyword: str) -> str:
    value = value_of(dataset, keyword)
    if isinstance(value, (list, pydicom.multival.MultiValue)):
        value = value[0] if len(value) else ""
    return _plain(value)


def _plain(value: Any) -> str:
    """Return one value as text; what cannot be text (bytes, an item) counts as absent."""
    if value is None or isinstance(value, (bytes, Dataset)):
        return ""
    text = str(value)[:_MAX_TEXT]
    # Lone surrogates (a wrong character set) could be neither stored nor sent.
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c for c in text if c >= " " and not "\x7f" <= c <= "\x9f").strip()


def _many(dataset: Any, keyword: str) -> tuple[str, ...]:
    value = value_of(dataset, keyword)
    values = value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
    texts = tuple(_plain(v) for v in values[:16])
    return texts if any(texts) else ()


def _uid(dataset: Any, keyword: str) -> str:
    value = _text(dataset, keyword)
    if not _UID.match(value):
        what = "has no" if not value else "has an unusable"
        raise HeaderUnusable(f"The image {what} {keyword}.")
    return value


def _number(dataset: Any, keyword: str, low: float, high: float) -> float | None:
    try:
        number = float(_text(dataset, keyword))
    except ValueError:
        return None
    return number if math.isfinite(number) and low <= number <= high else None


def _age_years(dataset: Any) -> float | None:
    """Return the age from Patient's Age (PS3.5 6.2, VR AS), else from birth and study dates."""
    if match := _AGE.match(_text(dataset, "PatientAge")):
        years = int(match[1]) * _YEARS_PER[match[2].upper()]
        return years if years <= _OLDEST_YEARS else None
    born = _DATE.match(_text(dataset, "PatientBirthDate"))
    taken = _DATE.match(_text(dataset, "StudyDate") or _text(dataset, "AcquisitionDate"))
    if born is None or taken is None:
        return None
    years = _decimal_year(taken) - _decimal_year(born)
    return years if 0 <= years <= _OLDEST_YEARS else None


def _decimal_year(match: re.Match[str]) -> float:
    return int(match[1]) + (int(match[2]) - 1) / 12 + (int(match[3]) - 1) / 365.25
