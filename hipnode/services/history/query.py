"""Ask an archive which studies and series it holds.

References
----------
PS3.4 C.4.1, C-FIND; C.6.2.1, Study Root; PS3.4 Table C.4-1, its statuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from pydicom import Dataset
from pynetdicom.association import Association

from hipnode import dicom
from hipnode.dicom.uids import usable
from hipnode.errors import DestinationRefused, DestinationUnreachable

FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root Query/Retrieve: FIND
_PENDING: Final = (0xFF00, 0xFF01)
_STUDY: Final = ("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "PatientID")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which studies are asked for; what is empty or None is not asked about."""

    accession_numbers: tuple[str, ...] = ()
    study_instance_uids: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    modalities: tuple[str, ...] = ("DX", "CR")


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """A series, as the archive describes it."""

    study_instance_uid: str
    series_instance_uid: str
    modality: str
    study_date: str
    accession_number: str
    patient_id: str


def find(association: Association, wanted: Wanted) -> list[FoundSeries]:
    """Return the series that are asked for, the oldest study first.

    Raises
    ------
    DestinationUnreachable, DestinationRefused
        If the archive goes away, or does not answer such questions.
    """
    studies: dict[str, dict[str, str]] = {}
    for keys in _questions(wanted):
        for answer in _ask(association, "STUDY", {**dict.fromkeys(_STUDY, ""), **keys}):
            known = {keyword: _text(answer, keyword) for keyword in _STUDY}
            if usable(known["StudyInstanceUID"]):  # else the next question would be for everything
                studies.setdefault(known["StudyInstanceUID"], known)
    found = []
    for uid, study in sorted(
        studies.items(), key=lambda item: (item[1]["StudyDate"], item[1]["StudyTime"], item[0])
    ):
        keys = {"StudyInstanceUID": uid, "SeriesInstanceUID": "", "Modality": ""}
        found += [
            FoundSeries(
                study_instance_uid=uid,
                series_instance_uid=_text(answer, "SeriesInstanceUID"),
                modality=_text(answer, "Modality"),
                study_date=study["StudyDate"],
                accession_number=study["AccessionNumber"],
                patient_id=study["PatientID"],
            )
            for answer in _ask(association, "SERIES", keys)
            if _text(answer, "Modality") in wanted.modalities
            and usable(_text(answer, "SeriesInstanceUID"))
        ]
    return found


def objects(association: Association, study_uid: str) -> frozenset[str]:
    """Return the SOP Instance UIDs of all that the archive shows of a study.

    Raises
    ------
    DestinationUnreachable, DestinationRefused
        If the archive goes away, or does not answer such questions.
    """
    keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": ""}
    series = {_text(answer, "SeriesInstanceUID") for answer in _ask(association, "SERIES", keys)}
    found: set[str] = set()
    for uid in sorted(filter(usable, series)):
        within = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": uid, "SOPInstanceUID": ""}
        found |= {_text(answer, "SOPInstanceUID") for answer in _ask(association, "IMAGE", within)}
    return frozenset(found)


def _questions(wanted: Wanted) -> Iterator[dict[str, str]]:
    """Yield the keys of each question: single values, which every archive matches."""
    dates = {}
    if wanted.since or wanted.until:
        ends = [day.strftime("%Y%m%d") if day else "" for day in (wanted.since, wanted.until)]
        dates = {"StudyDate": "-".join(ends)}
    asked: Sequence[dict[str, str]] = [
        *({"AccessionNumber": number} for number in wanted.accession_numbers),
        *({"StudyInstanceUID": uid} for uid in wanted.study_instance_uids),
    ]
    for keys in asked or [{}]:
        for modality in wanted.modalities:
            yield {**dates, **keys, "ModalitiesInStudy": modality}


def _ask(association: Association, level: str, keys: dict[str, str]) -> Iterator[Dataset]:
    query = Dataset()
    query.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(query, keyword, value)
    for status, answer in association.send_c_find(query, FIND):
        code = status_of(status)
        if code in _PENDING:
            if answer is not None:
                yield answer
        elif code != 0:
            raise DestinationRefused(f"It answers 0x{code:04X} to C-FIND.")


def status_of(response: Dataset) -> int:
    """Return the status of a response.

    Raises
    ------
    DestinationUnreachable
        If there was none: the association is gone.
    """
    status: Any = response.get("Status") if response else None
    if status is None:
        raise DestinationUnreachable("It went away before it answered.")
    return int(status)


def _text(answer: Dataset, keyword: str) -> str:
    return dicom.Reader(answer).text(keyword)
