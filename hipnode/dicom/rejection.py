"""Rejection notes: what a Key Object Selection takes back.

References
----------
PS3.3 A.35.4 (Key Object Selection Document IOD), C.17.6.2 (Key Object Document); PS3.16 CID 7010
(Key Object Selection Document Title); IHE Radiology, Imaging Object Change Management.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hipnode.codes import REJECTIONS
from hipnode.dicom.kinds import KEY_OBJECTS
from hipnode.dicom.uids import usable
from hipnode.dicom.values import Reader, all_items_of, items_of
from hipnode.domain import Rejection


def rejection_of(dataset: Any) -> Rejection | None:
    """Return what an object takes back, or None where it is no rejection note.

    Parameters
    ----------
    dataset
        Any object.
    """
    if Reader(dataset).text("SOPClassUID") != KEY_OBJECTS:
        return None
    titles = [Reader(item) for item in items_of(dataset, "ConceptNameCodeSequence")]
    if not titles or titles[0].text("CodingSchemeDesignator") != "DCM":
        return None
    code = titles[0].text("CodeValue")
    return Rejection(code, tuple(dict.fromkeys(_named(dataset)))) if code in REJECTIONS else None


def _named(dataset: Any) -> Iterator[tuple[str, str]]:
    """Yield study and instance of all that the evidence names, else the content tree."""
    for study in items_of(dataset, "CurrentRequestedProcedureEvidenceSequence"):
        study_uid = Reader(study).text("StudyInstanceUID")
        for uid in referenced_in(study):
            if usable(study_uid):
                yield study_uid, uid
    study_uid = Reader(dataset).text("StudyInstanceUID")
    for item in items_of(dataset, "ContentSequence"):
        yield from ((study_uid, uid) for uid in referenced_in(item))


def referenced_in(dataset: Any) -> frozenset[str]:
    """Return the SOP Instance UIDs that an object refers to, at whatever depth.

    Parameters
    ----------
    dataset
        An object, or an item of one.
    """
    found: set[str] = set()
    places = [dataset]
    while places:
        place = places.pop()
        uid = Reader(place).text("ReferencedSOPInstanceUID")
        if usable(uid):
            found.add(uid)
        places += all_items_of(place)
    return frozenset(found)
