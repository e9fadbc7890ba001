"""The header of a data set as `Header`: every value total, nothing that a bad file can break."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Final

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from hipnode.dicom import bounded, uids
from hipnode.dicom.bounded import Elements
from hipnode.dicom.files import open_dicom, open_within
from hipnode.dicom.kinds import DOCUMENTS, KEY_OBJECTS
from hipnode.dicom.values import Reader, items_of
from hipnode.dicom.window import Limits
from hipnode.domain import Header
from hipnode.errors import HeaderTooCostly, HeaderUnusable

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


_FURTHER: Final = (
    "SpecificCharacterSet", "SeriesInstanceUID", "ImageLaterality", "Laterality",
    "PatientOrientation", "ImageType", "PatientAge", "PatientBirthDate", "StudyDate",
    "AcquisitionDate", "PatientSize", "PatientWeight",
)  # fmt: skip
_READ: Final = frozenset(
    tag_for_keyword(keyword) or 0
    for keyword in (*_UIDS.values(), *_IDENTIFIERS.values(), *_TEXT.values(), *_FURTHER)
)
"""What `read_header` looks at."""
_REJECTING: Final = frozenset({0x0040A043, 0x0040A375, 0x0040A730})
"""What `hipnode.dicom.rejection_of` looks at: title, evidence and content of a Key Object."""
_MODIFIERS: Final = 8
"""So many modifiers of a view are read; no more are known of one."""
_ASSESSING: Final = frozenset({0x0040A385})
"""What `hipnode.dicom.assessment` looks at too: the other evidence of an SR."""


def open_at_the_door(path: Path, descriptor: int, limits: Limits) -> Dataset | Elements:
    """Return what the door, the rules and the audit log need of an object, within limits.

    Parameters
    ----------
    path, descriptor
        The file; it has the file meta that this node writes.
    limits
        What its header may cost.

    Raises
    ------
    HeaderTooCostly
        If it costs more.
    NotDicom
        If it cannot be read.
    """
    found = bounded.read(descriptor, _READ, limits)
    if found is None:
        return open_within(path, _READ | _REJECTING)
    sop_class = Reader(found).text("SOPClassUID")
    if sop_class == KEY_OBJECTS:
        return open_within(path, _READ | _REJECTING, elements=found.count)
    if sop_class.startswith(DOCUMENTS):
        with suppress(HeaderTooCostly):  # no assessment of ours is so large
            return open_within(path, _READ | _REJECTING | _ASSESSING, elements=found.count)
    return found


def read_header(source: Path | Dataset | Elements, assumed_character_set: str = "") -> Header:
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
    words = _view_words(dataset, reader) if isinstance(dataset, Dataset) else ()
    return _header(reader, getattr(dataset, "file_meta", None), words)


def _view_words(source: Dataset, reader: Reader) -> tuple[str, ...]:
    """Return what the code of the view and those of its modifiers mean (PS3.3 C.8.11.5)."""
    codes = []
    for view in items_of(source, "ViewCodeSequence")[:1]:  # the Standard has one
        codes += [view, *items_of(view, "ViewModifierCodeSequence")[:_MODIFIERS]]
    said = (Reader(code, within=reader.charset).text("CodeMeaning") for code in codes)
    return tuple(word for word in said if word)


def _header(
    reader: Reader, file_meta: Dataset | Elements | None, view_words: tuple[str, ...] = ()
) -> Header:
    found = {field: uids.required(reader, keyword) for field, keyword in _UIDS.items()}
    notes = []
    for field, keyword in _IDENTIFIERS.items():
        value = reader.one(keyword)
        if value.fault:
            notes.append(f"{keyword} left out: it {value.fault}")
        found[field] = value.text
    text = {field: reader.text(keyword) for field, keyword in _TEXT.items()}
    meta = Reader(file_meta)
    return Header(
        **found,
        **text,
        series_instance_uid=reader.text("SeriesInstanceUID"),
        transfer_syntax_uid=meta.text("TransferSyntaxUID"),
        laterality=(reader.text("ImageLaterality") or reader.text("Laterality")).upper()[:1],
        patient_orientation=reader.many("PatientOrientation"),
        image_type=reader.many("ImageType"),
        view_words=view_words,
        age_years=_age_years(reader),
        study_date=_study_date(reader),
        size_m=reader.number("PatientSize", 0.2, 2.8),
        weight_kg=reader.number("PatientWeight", 0.5, 500),
        notes=tuple(notes),
    )


def header_at_the_door(dataset: Dataset | Elements, assumed_character_set: str = "") -> Header:
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
    reader = Reader(dataset, assumed_character_set)
    header = _header(reader, getattr(dataset, "file_meta", None))  # no sequence is read there
    if fault := reader.one("PatientID").fault:
        raise HeaderUnusable(f"The PatientID {fault}.")
    uids.required(reader, "SeriesInstanceUID", may_lack=True)
    return header


def known_of(dataset: Dataset | Elements, assumed_character_set: str = "") -> dict[str, str]:
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
    taken = _taken(reader)
    if born is None or taken is None:
        return None
    years = _decimal_year(taken) - _decimal_year(born)
    return years if 0 <= years <= _OLDEST_YEARS else None


def _study_date(reader: Reader) -> str:
    """Return the day of the examination (ISO 8601), or "" where it is none."""
    if match := _taken(reader):
        with suppress(ValueError):
            return date(*(int(part) for part in match.groups())).isoformat()
    return ""


def _taken(reader: Reader) -> re.Match[str] | None:
    return _DATE.match(reader.text("StudyDate") or reader.text("AcquisitionDate"))


def _decimal_year(match: re.Match[str]) -> float:
    return int(match[1]) + (int(match[2]) - 1) / 12 + (int(match[3]) - 1) / 365.25
