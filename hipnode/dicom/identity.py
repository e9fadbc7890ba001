"""The identity of a study: mended where that invents nothing, refused where it would.

Hospitals send data sets that no library takes as they are. What a report needs is copied, as
Unicode, under rules that only ever leave out or rewrite in the same meaning:

- a required attribute that may be empty (type 2) is present and empty;
- a sex, date, time or orientation that DICOM does not know is rewritten if its meaning is
  certain (``MALE``, ``2026-03-01``), else left out;
- text without a declared character set is read as UTF-8 if it is that, else as the site's setting
  says, else left out; a misspelt character set is read as what it plainly means;
- a value longer than its VR allows is left out where it identifies something, cut where it only
  describes.

Refused: no usable Study, Series or SOP Instance UID; a patient ID that cannot be carried.

References
----------
PS3.3 C.7.1.1 (Patient), C.7.2.1 (General Study), C.7.2.2 (Patient Study), C.7.6.1.1.1 (Patient
Orientation), C.12.1.1.2 (Specific Character Set); PS3.5 6.2 (VR), 7.4.3 (type 2).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from datetime import date
from typing import Any, Final

from pydicom.charset import convert_encodings, default_encoding, python_encoding
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from hipnode.dicom import items_of, value_of
from hipnode.errors import ReportRefused

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
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

MAX_CHARS: Final = {"LO": 64, "SH": 16, "PN": 64, "CS": 16, "AS": 4, "IS": 12, "DS": 16}
"""PS3.5 6.2: the most characters of a value (of a PN: of each component group), by VR."""

_NUMBER: Final = {
    "IS": re.compile(r"[+-]?\d+"),
    "DS": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
}
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
        self.declared: tuple[str, ...] = ()
        with disable_value_validation():  # its warnings would quote the patient's data
            self._decode = self._decoder(assumed)
            self.mended = self._mend()

    def _mend(self) -> Dataset:
        out = Dataset()
        out.SpecificCharacterSet = "ISO_IR 192"
        for keyword in _UIDS:
            setattr(out, keyword, self._uid(keyword))
        for keyword in (*_IDENTIFYING, *_DESCRIBING):
            value = self._value(self.source, keyword)
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
        uid = str(value_of(self.source, keyword) or "").strip("\0 ")
        if not _UID.fullmatch(uid) or len(uid) > 64:
            raise ReportRefused(f"{keyword} is missing or not a UID, and none can be made up")
        return uid

    def _sequences(self, source: Dataset, out: Dataset, above: tuple[str, ...]) -> None:
        """Copy the known sequences with the known attributes of their items."""
        known = _SEQUENCES[above[-1]] if above else tuple(_SEQUENCES)
        for keyword in (k for k in known if k in _SEQUENCES):
            items = []
            for item in items_of(source, keyword):
                copy = Dataset()
                for name in (n for n in _SEQUENCES[keyword] if n not in _SEQUENCES):
                    value = self._value(item, name)
                    if value not in (None, ""):
                        setattr(copy, name, value)
                self._sequences(item, copy, (*above, keyword))
                if _complete(keyword, copy):
                    items.append(copy)
            if items:
                setattr(out, keyword, items)

    # --- values ---

    def _value(self, dataset: Dataset, keyword: str) -> Any:
        """Return a value as text within the bounds of its VR, or None to leave it out."""
        value = value_of(dataset, keyword)
        if value is None:
            return None
        if isinstance(value, MultiValue):
            if keyword in ("PatientOrientation", "SoftwareVersions"):
                return [self._clean(keyword, str(v)) or "" for v in value]
            value = value[0] if value else ""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value if keyword in ("Rows", "Columns") else str(value)
        return self._clean(keyword, str(value))

    def _clean(self, keyword: str, text: str) -> str | None:
        decoded = self._decode(text)
        if decoded is None:
            if keyword == "PatientID":
                raise ReportRefused(
                    "PatientID has characters of an undeclared character set; set "
                    "node.assumed_character_set if the site knows which"
                )
            self._note(keyword, "left out: its character set is not declared")
            return None
        vr = self.mended_vr(keyword)
        text = "".join(c for c in decoded if c.isprintable()).strip(" ")
        if vr != "PN" and "\\" in text:
            text = text.replace("\\", "/")
        if vr in _NUMBER and text and not _NUMBER[vr].fullmatch(text):
            self._note(keyword, "left out: not a number")
            return None
        limit = MAX_CHARS.get(vr, 64)
        longest = max(map(len, text.split("="))) if vr == "PN" else len(text)
        if longest <= limit:
            return text
        if keyword == "PatientID":
            raise ReportRefused(f"PatientID has {len(text)} characters; DICOM allows {limit}")
        if keyword in _IDENTIFYING or vr in ("CS", "AS", "IS", "DS", "SH"):
            self._note(keyword, f"left out: longer than {limit} characters")
            return None
        self._note(keyword, f"cut to {limit} characters")
        return text[:limit]

    @staticmethod
    def mended_vr(keyword: str) -> str:
        """Return the VR of a keyword in the data dictionary (PS3.6)."""
        from_dictionary = Dataset()
        setattr(from_dictionary, keyword, None)
        return str(from_dictionary[keyword].VR)

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

    # --- characters ---

    def _decoder(self, assumed: str) -> Callable[[str], str | None]:
        """Return how text that pydicom has read becomes the text that was meant.

        pydicom knows the defined terms, their usual misspellings and Python's own names, and reads
        everything else as Latin-1, one character a byte; so the bytes are known again.
        """
        declared = value_of(self.source, "SpecificCharacterSet") or ""
        terms = [
            str(t).strip() for t in (declared if isinstance(declared, MultiValue) else [declared])
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            used = convert_encodings(terms)
        if used != [default_encoding]:
            if all(term in python_encoding for term in terms):
                self.declared = tuple(terms)
            else:
                self._note(
                    "SpecificCharacterSet", "is not a defined term, but its meaning is clear"
                )
            return lambda text: None if "\ufffd" in text else text
        candidates = ["ascii", "utf-8"]
        if assumed:
            candidates.append(python_encoding.get(assumed, "ascii"))

        def decode(text: str) -> str | None:
            try:
                data = text.encode("latin-1")
            except UnicodeEncodeError:
                return text  # set in memory as Unicode: nothing was lost
            for encoding in candidates:
                try:
                    return data.decode(encoding)
                except UnicodeDecodeError:
                    continue
            return None

        return decode


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
