"""The identity of a study: carried unchanged, or left out with a note; never edited.

Hospitals send data sets that no library takes as they are. What a report needs is copied, as
Unicode, under rules that only ever leave out or rewrite in the same meaning:

- a required attribute that may be empty (type 2) is present and empty;
- what identifies something and cannot be carried as it is (more than one value, there twice, a
  control character, characters that cannot be decoded, longer than its VR allows) is left out;
- a sex, date, time or orientation that DICOM does not know is rewritten if its meaning is
  certain (``MALE``, ``2026-03-01``), else left out;
- what only describes is cut where it is too long.

The listener's door reads by the same rules (`hipnode.dicom.header.read_header`) and takes in
nothing that is refused here: no usable UID, a patient ID that cannot be carried.

References
----------
PS3.3 C.7.1.1 (Patient), C.7.2.1 (General Study), C.7.2.2 (Patient Study), C.7.6.1.1.1 (Patient
Orientation), C.12.1.1.2 (Specific Character Set); PS3.5 6.2 (VR), 7.4.3 (type 2).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any, Final

from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from hipnode.dicom import uids
from hipnode.dicom.values import (
    CONTROL,
    MAX_CHARS,
    SEVERAL,
    TWICE,
    Reader,
    Value,
    items_of,
    value_of,
    vr_of,
)
from hipnode.errors import HeaderUnusable, ReportRefused

_TYPE_2: Final = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
_IDENTIFYING: Final = ("IssuerOfPatientID", *_TYPE_2)
_DESCRIBING: Final = (
    "StudyDescription", "PatientAge", "PatientSize", "PatientWeight", "TimezoneOffsetFromUTC",
    "BodyPartExamined", "Laterality", "ImageLaterality", "SeriesNumber", "InstanceNumber",
    "Manufacturer", "ManufacturerModelName", "StationName", "InstitutionName",
    "InstitutionalDepartmentName", "DeviceSerialNumber", "SoftwareVersions", "Modality",
    "PatientOrientation", "LossyImageCompression", "BurnedInAnnotation", "Rows", "Columns",
)  # fmt: skip
_SEQUENCES: Final = {
    "IssuerOfPatientIDQualifiersSequence": (
        "UniversalEntityID", "UniversalEntityIDType", "IdentifierTypeCode",
    ),
    "IssuerOfAccessionNumberSequence": (
        "LocalNamespaceEntityID", "UniversalEntityID", "UniversalEntityIDType",
    ),
    "OtherPatientIDsSequence": ("PatientID", "IssuerOfPatientID", "TypeOfPatientID"),
    "RequestAttributesSequence": (
        "RequestedProcedureID", "AccessionNumber", "StudyInstanceUID",
        "RequestedProcedureDescription", "RequestedProcedureCodeSequence",
        "ScheduledProcedureStepID", "ScheduledProcedureStepDescription",
        "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest",
    ),
    "RequestedProcedureCodeSequence": (
        "CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning",
    ),
    "ProcedureCodeSequence": (
        "CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning",
    ),
}  # fmt: skip
COPIED: Final = frozenset({*_IDENTIFYING, *_DESCRIBING, *_SEQUENCES, "StudyInstanceUID"}) - {
    "Manufacturer", "ManufacturerModelName", "StationName", "InstitutionName", "SoftwareVersions",
    "DeviceSerialNumber", "Modality", "SeriesNumber", "InstanceNumber", "Rows", "Columns",
}  # fmt: skip
"""What an object has from the image; the equipment's part is in its contributing equipment."""

_UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")

_MULTIPLE: Final = frozenset({"PatientOrientation", "SoftwareVersions"})
_CUT: Final = frozenset({"LO", "LT", "ST"})
_SEX: Final = {"M": "M", "F": "F", "O": "O", "MALE": "M", "FEMALE": "F", "OTHER": "O"}


class Mender:
    """One data set under repair: `mended` is the result, `notes` say what was done.

    `declared` is its character set, where it is a valid one.

    Parameters
    ----------
    source
        The data set as received.
    assumed
        The defined term to read undeclared text with; ``""`` assumes nothing.
    """

    def __init__(self, source: Dataset, assumed: str = "") -> None:
        self.source = source
        self.notes: list[str] = []
        self._reader = Reader(source, assumed)
        self.declared = self._reader.charset.declared
        if note := self._reader.charset.note:
            self._note("SpecificCharacterSet", note)
        with disable_value_validation():  # its warnings would quote the patient's data
            self.mended = self._mend()

    def _mend(self) -> Dataset:
        out = Dataset()
        out.SpecificCharacterSet = "ISO_IR 192"
        for keyword in _UIDS:
            setattr(out, keyword, self._uid(keyword))
        for keyword in (*_IDENTIFYING, *_DESCRIBING):
            value = self._value(self._reader, keyword)
            if value not in (None, "", []):
                setattr(out, keyword, value)
        for keyword in ("StudyDate", "PatientBirthDate"):
            self._rewrite(out, keyword, _date)
        self._rewrite(out, "StudyTime", _time)
        self._rewrite(out, "PatientSex", lambda text: _SEX.get(text.upper()))
        self._rewrite(out, "PatientAge", _matching(r"\d{3}[DWMY]"))
        self._rewrite(out, "TimezoneOffsetFromUTC", _matching(r"[+-](0\d|1[0-4])[0-5]\d"))
        self._rewrite(out, "LossyImageCompression", _matching("0[01]"))
        self._orientation(out)
        self._sequences(self.source, out, ())
        for keyword in _TYPE_2:
            if keyword not in out:
                setattr(out, keyword, "")
        return out

    def _uid(self, keyword: str) -> str:
        try:
            uid = uids.required(self._reader, keyword)
        except HeaderUnusable as error:
            raise ReportRefused(str(error)) from error
        if not uids.is_right(uid):
            self._note(keyword, "carried as it is: not a UID by the letter of PS3.5 9.1")
        return uid

    def _sequences(self, source: Dataset, out: Dataset, above: tuple[str, ...]) -> None:
        """Copy the known sequences with the known attributes of their items."""
        known = _SEQUENCES[above[-1]] if above else tuple(_SEQUENCES)
        for keyword in (k for k in known if k in _SEQUENCES):
            items = []
            for item in items_of(source, keyword):
                copy, reader = Dataset(), Reader(item, within=self._reader.charset)
                for name in (n for n in _SEQUENCES[keyword] if n not in _SEQUENCES):
                    value = self._value(reader, name)
                    if value not in (None, ""):
                        setattr(copy, name, value)
                self._sequences(item, copy, (*above, keyword))
                if _complete(keyword, copy):
                    items.append(copy)
            if items:
                setattr(out, keyword, items)

    # --- values ---

    def _value(self, reader: Reader, keyword: str) -> Any:
        """Return a value as text within the bounds of its VR, or None to leave it out."""
        if keyword in _MULTIPLE:
            return list(reader.many(keyword))
        if vr_of(keyword) == "US":
            return value_of(self.source, keyword)
        value = self._usable(reader.one(keyword), reader, keyword)
        if value.fault:
            if keyword == "PatientID" and reader is self._reader:
                raise ReportRefused(f"PatientID {value.fault}")
            self._note(keyword, f"left out: it {value.fault}")
            return None
        if vr_of(keyword) == "CS" and value.text != value.text.upper():
            self._note(keyword, "rewritten in the same meaning")
            return value.text.upper()
        return value.text

    def _usable(self, value: Value, reader: Reader, keyword: str) -> Value:
        """Return a value that only describes without what it cannot be carried with."""
        if not value.fault or keyword in _IDENTIFYING or vr_of(keyword) not in _CUT:
            return value
        text, limit = reader.text(keyword), MAX_CHARS["LO"]
        if value.fault == CONTROL:
            self._note(keyword, "carried without its control characters")
        elif value.fault in (TWICE, SEVERAL) or len(text) <= limit:
            return value
        if len(text) > limit:
            self._note(keyword, f"cut to {limit} characters")
        return Value(text[:limit])

    def _rewrite(self, out: Dataset, keyword: str, rule: Callable[[str], str | None]) -> None:
        text = str(out.get(keyword) or "").strip()
        if not text:
            return
        better = rule(text)
        if better is None:
            del out[keyword]
            self._note(keyword, "left out: not a value that DICOM knows")
        elif better != text:
            setattr(out, keyword, better)
            self._note(keyword, "rewritten in the same meaning")

    def _orientation(self, out: Dataset) -> None:
        value = out.get("PatientOrientation")
        if value is None:
            return
        parts = list(value) if isinstance(value, MultiValue | list) else [value]
        good = len(parts) == 2 and all(re.fullmatch("[LRAPHF]{1,3}", str(p)) for p in parts)
        if not good:
            del out.PatientOrientation
            self._note("PatientOrientation", "left out: not two directions")

    def _note(self, keyword: str, what: str) -> None:
        note = f"{keyword} {what}"
        if note not in self.notes:
            self.notes.append(note)


def mend_identity(dataset: Dataset, assumed_character_set: str = "") -> Dataset:
    """Return the identity of an image: what every report of its study carries.

    Parameters
    ----------
    dataset
        A data set as received. It is not changed.
    assumed_character_set
        The defined term (PS3.3 C.12.1.1.2) to read undeclared text with; ``""`` assumes nothing.

    Returns
    -------
    pydicom.dataset.Dataset
        Patient, study, request, equipment and references, in Unicode, every required attribute
        there, every value legal.

    Raises
    ------
    ReportRefused
        If an identifier is missing or illegal and could only be made up.
    """
    return Mender(dataset, assumed_character_set).mended


def _date(text: str) -> str | None:
    match = re.fullmatch(r"(\d{4})[-./]?(\d\d)[-./]?(\d\d)", text)
    try:
        return date(*map(int, match.groups())).strftime("%Y%m%d") if match else None
    except ValueError:
        return None


def _time(text: str) -> str | None:
    match = re.fullmatch(r"([01]\d|2[0-3]):?(?:([0-5]\d):?(?:([0-5]\d)(\.\d{1,6})?)?)?", text)
    return "".join(group or "" for group in match.groups()) if match else None


def _matching(pattern: str) -> Callable[[str], str | None]:
    return lambda text: text if re.fullmatch(pattern, text) else None


def _complete(keyword: str, item: Dataset) -> bool:
    """Tell whether an item of a sequence has what PS3.3 requires of it."""
    required = {
        "IssuerOfAccessionNumberSequence": ("LocalNamespaceEntityID", "UniversalEntityID"),
        "RequestAttributesSequence": tuple(_SEQUENCES["RequestAttributesSequence"]),
        "IssuerOfPatientIDQualifiersSequence": (
            "UniversalEntityID", "IdentifierTypeCode",
        ),
        "OtherPatientIDsSequence": ("PatientID",),
        "RequestedProcedureCodeSequence": ("CodeMeaning",),
        "ProcedureCodeSequence": ("CodeMeaning",),
    }  # fmt: skip
    if keyword.endswith("CodeSequence"):
        return {"CodeValue", "CodingSchemeDesignator", "CodeMeaning"} <= set(item.dir())
    return any(name in item for name in required[keyword])
