"""The header of a data set as `Header`: every value total, nothing that a bad file can break."""

from __future__ import annotations

import re
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial

from hipnode.dicom import uids
from hipnode.dicom.filemeta import once
from hipnode.dicom.values import PARSE_ERRORS, Reader, mark_twice
from hipnode.domain import Header
from hipnode.errors import HeaderUnusable, NotDicom

_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_MAX_INFLATED_BYTES: Final = 1 << 29
_MAX_HEADER_BYTES: Final = 1 << 24
_PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_OLDEST_YEARS: Final = 130
_AGE: Final = re.compile(r"^\s*(\d{1,3})\s*([DWMY])\s*$", re.IGNORECASE)
_YEARS_PER: Final = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_DATE: Final = re.compile(r"^(\d{4})\.?(\d{2})\.?(\d{2})$")
_UIDS: Final = {
    "sop_class_uid": "SOPClassUID",
    "sop_instance_uid": "SOPInstanceUID",
    "study_instance_uid": "StudyInstanceUID",
}
_IDENTIFIERS: Final = {
    "patient_id": "PatientID",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "accession_number": "AccessionNumber",
}
_TEXT: Final = {
    "modality": "Modality",
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
            with path.open("rb") as file:
                dataset = _parsed(file, pixels=pixels)
        empty = len(dataset) == 0
    except OSError as error:
        raise NotDicom(f"The file cannot be read: {error.strerror or error}.") from error
    except PARSE_ERRORS as error:
        raise NotDicom(f"The data set cannot be read: {_in_words(error)}.") from error
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
        with path.open("rb") as file:
            return _parsed(file, pixels=pixels)
    limit = _MAX_INFLATED_BYTES if pixels else _MAX_HEADER_BYTES
    with path.open("rb") as file:
        file.seek(128 + 4 + 12 + int(meta.FileMetaInformationGroupLength))
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = inflater.decompress(file.read(), limit)
    if pixels and inflater.unconsumed_tail:
        raise HeaderUnusable("The deflated data set is larger than any radiograph.")
    dataset = _parsed(BytesIO(plain), pixels=pixels)
    dataset.file_meta = meta
    return dataset


def _parsed(file: BinaryIO, *, pixels: bool) -> pydicom.FileDataset:
    """Parse a data set, and note which tags it has more than once."""
    seen: set[int] = set()
    twice: set[int] = set()

    def look(tag: int, vr: str | None, length: int) -> bool:  # noqa: ARG001
        if tag not in seen:
            seen.add(tag)
        elif len(seen) > 1:  # the first of all may be looked at twice
            twice.add(int(tag))
        return not pixels and tag in _PIXELS

    dataset = read_partial(once(file), look, force=True)
    if twice:
        mark_twice(dataset, twice)
    return dataset


def _in_words(error: BaseException) -> str:
    """Return what is wrong with a data set that the library gave up on, for its sender."""
    if isinstance(error, zlib.error):
        return "its deflated bytes are damaged"
    if isinstance(error, struct.error | EOFError | pydicom.errors.BytesLengthException):
        return "it breaks off within an element"
    if isinstance(error, MemoryError | RecursionError):
        return "it takes more memory than a header may"
    if isinstance(error, pydicom.errors.InvalidDicomError):
        return "it is not in the DICOM File Format"
    return "its elements are not in the form that their lengths say"


def read_header(source: Path | Dataset, assumed_character_set: str = "") -> Header:
    """Return what rules, gates and the audit log need to know of an image.

    What identifies it is carried unchanged or not at all. What had to be left out is named in the
    header's notes.

    Parameters
    ----------
    source
        A DICOM file, or a data set that has been read already.
    assumed_character_set
        The defined term (PS3.3 C.12.1.1.2) to read undeclared text with; ``""`` assumes nothing.

    Raises
    ------
    NotDicom
        If the file is not DICOM.
    HeaderUnusable
        If a UID that identifies the image is missing or none (PS3.5 9.1).
    """
    dataset = open_dicom(source, pixels=False) if isinstance(source, Path) else source
    reader = Reader(dataset, assumed_character_set)
    found = {field: uids.required(reader, keyword) for field, keyword in _UIDS.items()}
    notes = []
    for field, keyword in _IDENTIFIERS.items():
        value = reader.one(keyword)
        if value.fault:
            notes.append(f"{keyword} left out: it {value.fault}")
        found[field] = value.text
    text = {field: reader.text(keyword) for field, keyword in _TEXT.items()}
    meta = Reader(getattr(dataset, "file_meta", None))
    return Header(
        **found,
        **text,
        series_instance_uid=reader.text("SeriesInstanceUID"),
        transfer_syntax_uid=meta.text("TransferSyntaxUID"),
        laterality=(reader.text("ImageLaterality") or reader.text("Laterality")).upper()[:1],
        patient_orientation=reader.many("PatientOrientation"),
        image_type=reader.many("ImageType"),
        age_years=_age_years(reader),
        size_m=reader.number("PatientSize", 0.2, 2.8),
        weight_kg=reader.number("PatientWeight", 0.5, 500),
        notes=tuple(notes),
    )


def header_at_the_door(dataset: Dataset, assumed_character_set: str = "") -> Header:
    """Return the header of an object that may be taken in: every report can carry its identity.

    Parameters
    ----------
    dataset, assumed_character_set
        As for `read_header`.

    Raises
    ------
    HeaderUnusable
        If a UID is missing or none, or the Patient ID cannot be carried unchanged.
    """
    header = read_header(dataset, assumed_character_set)
    reader = Reader(dataset, assumed_character_set)
    if fault := reader.one("PatientID").fault:
        raise HeaderUnusable(f"The PatientID {fault}.")
    uids.required(reader, "SeriesInstanceUID", may_lack=True)
    return header


def known_of(dataset: Dataset, assumed_character_set: str = "") -> dict[str, str]:
    """Return what is known for certain of an object that may be refused: never an error.

    Parameters
    ----------
    dataset, assumed_character_set
        As for `read_header`.

    Returns
    -------
    dict of str to str
        ``study_instance_uid``, ``patient_id`` and ``accession_number``, those that are there.
    """
    reader = Reader(dataset, assumed_character_set)
    known = {"study_instance_uid": "StudyInstanceUID", **_IDENTIFIERS}
    found = {field: reader.one(keyword).text for field, keyword in known.items()}
    del found["issuer_of_patient_id"]
    if not uids.usable(found["study_instance_uid"]):
        del found["study_instance_uid"]
    return {field: text for field, text in found.items() if text}


def _age_years(reader: Reader) -> float | None:
    """Return the age from Patient's Age (PS3.5 6.2, VR AS), else from birth and study dates."""
    if match := _AGE.match(reader.text("PatientAge")):
        years = int(match[1]) * _YEARS_PER[match[2].upper()]
        return years if years <= _OLDEST_YEARS else None
    born = _DATE.match(reader.text("PatientBirthDate"))
    taken = _DATE.match(reader.text("StudyDate") or reader.text("AcquisitionDate"))
    if born is None or taken is None:
        return None
    years = _decimal_year(taken) - _decimal_year(born)
    return years if 0 <= years <= _OLDEST_YEARS else None


def _decimal_year(match: re.Match[str]) -> float:
    return int(match[1]) + (int(match[2]) - 1) / 12 + (int(match[3]) - 1) / 365.25
