"""Whether somebody agrees with a result, as an SR or a Key Object Selection says it, in codes.

References
----------
PS3.16 TID 1500, 1411, 1501 (tracking identifiers within a measurement group), TID 2010 (Key Object
Selection), CID 3217 (agreement with findings); PS3.3 A.35, C.17.3 (SR Document Content).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from hipnode.dicom.kinds import DOCUMENTS, KEY_OBJECTS
from hipnode.dicom.rejection import referenced_in
from hipnode.dicom.uids import usable
from hipnode.dicom.values import Reader, items_of
from hipnode.domain.opinions import Opinion, OpinionSource

_TRACKING: Final = "DCM:112040"  # Tracking Unique Identifier
_OBSERVER: Final = "DCM:121008"  # Person Observer Name
_DEEPEST: Final = 16


@dataclass(frozen=True, slots=True)
class Assessment:
    """What an object says of results, before it is known whose they are.

    ``said`` is each opinion with the Tracking Unique Identifier that it stands beside, or "" where
    it is of the object as a whole; ``referenced`` are the SOP Instances that it refers to.
    """

    sop_instance_uid: str
    study_instance_uid: str
    patient_id: str
    source: OpinionSource
    observer: str
    said: tuple[tuple[Opinion, str], ...]
    referenced: frozenset[str]


def assessment_of(
    dataset: Any, agree: Collection[str], disagree: Collection[str]
) -> Assessment | None:
    """Return what an object says of results, or None where it says nothing in these codes.

    Parameters
    ----------
    dataset
        Any object.
    agree, disagree
        The codes, each as ``scheme:value``.
    """
    root = Reader(dataset)
    sop_class = root.text("SOPClassUID")
    if not sop_class.startswith(DOCUMENTS):
        return None
    meant = dict.fromkeys(agree, Opinion.AGREE) | dict.fromkeys(disagree, Opinion.DISAGREE)
    title = meant.get(_code(dataset, "ConceptNameCodeSequence"))
    said = [(title, "")] if title else []
    said += list(_said(dataset, meant, "", 0))
    if not said:
        return None
    return Assessment(
        sop_instance_uid=root.text("SOPInstanceUID"),
        study_instance_uid=root.text("StudyInstanceUID"),
        patient_id=root.text("PatientID"),
        source=OpinionSource.KOS if sop_class == KEY_OBJECTS else OpinionSource.SR,
        observer=_observer(dataset),
        said=tuple(dict.fromkeys(said)),
        referenced=referenced_in(dataset),
    )


def _code(item: Any, keyword: str) -> str:
    codes = [Reader(each) for each in items_of(item, keyword)]
    if not codes:
        return ""
    return f"{codes[0].text('CodingSchemeDesignator')}:{codes[0].text('CodeValue')}"


def _said(
    item: Any, meant: dict[str, Opinion], tracking: str, depth: int
) -> Iterator[tuple[Opinion, str]]:
    """Yield the opinions in a content item, each with the nearest tracking UID around it."""
    if depth > _DEEPEST:
        return
    items = items_of(item, "ContentSequence")
    for each in items:
        if _code(each, "ConceptNameCodeSequence") == _TRACKING:
            uid = Reader(each).text("UID")
            tracking = uid if usable(uid) else tracking
    for each in items:
        opinion = meant.get(_code(each, "ConceptCodeSequence"))
        if opinion is not None:
            yield opinion, tracking
        yield from _said(each, meant, tracking, depth + 1)


def _observer(dataset: Any) -> str:
    for each in items_of(dataset, "ContentSequence"):
        if _code(each, "ConceptNameCodeSequence") == _OBSERVER:
            return " ".join(Reader(each).text("PersonName").split("^")).strip()
    return ""
