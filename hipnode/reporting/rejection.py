"""A rejection note of our own: takes back what was sent about images that were themselves rejected.

References
----------
PS3.3 A.35.4 (Key Object Selection Document IOD), C.17.6 (its modules); PS3.16 TID 2010, CID 7010;
IHE Radiology, Imaging Object Change Management (IOCM).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage, SecondaryCaptureImageStorage

from hipnode import DISCLAIMER, codes
from hipnode.codes import Concept
from hipnode.dicom.charset import seal
from hipnode.domain import ResultKind
from hipnode.reporting.envelope import code, envelope, reference, references
from hipnode.reporting.request import (
    BuiltObject,
    NodeIdentity,
    ReportRequest,
    SourceImage,
    fingerprint,
)
from hipnode.reporting.study import mend_studies


@dataclass(frozen=True, eq=False, slots=True)
class Withdrawal:
    """Own objects to take back.

    Attributes
    ----------
    objects
        Their headers, as they were sent.
    title
        Why: one of `hipnode.codes.REJECTIONS`.
    node, made_utc, version
        As in a `ReportRequest`.
    why
        The reason in words.
    """

    objects: tuple[Dataset, ...]
    title: Concept
    node: NodeIdentity
    made_utc: datetime
    version: int
    why: str = "Made from images that have been rejected or moved."


def rejection_notes(withdrawal: Withdrawal) -> list[BuiltObject]:
    """Return a note for each patient whose objects are taken back."""
    sources = tuple(SourceImage(ds, failure="withdrawn") for ds in withdrawal.objects)
    request = ReportRequest(
        sources, withdrawal.node, withdrawal.made_utc, withdrawal.version, flagged=False
    )
    notes = []
    for study in mend_studies(request):
        identity = fingerprint(study.request, withdrawal.title.value)
        uid = KeyObjectSelectionDocumentStorage
        out = envelope(study, ResultKind.NOTE, uid, identity, withdrawal.version)
        del out.ContributingEquipmentSequence  # of images; here are none
        out.ReferencedPerformedProcedureStepSequence = []
        out.ValueType = "CONTAINER"
        out.ConceptNameCodeSequence = [code(withdrawal.title)]
        out.ContinuityOfContent = "SEPARATE"
        out.ContentTemplateSequence = [_template()]
        out.ContentSequence = [_why(withdrawal.why), *map(_item, study.images)]
        out.CurrentRequestedProcedureEvidenceSequence = references(
            [(i.SeriesInstanceUID, i.SOPClassUID, i.SOPInstanceUID) for i in study.images],
            study.uid,
        )
        notes.append(BuiltObject(ResultKind.NOTE, seal(out, study.declared)))
    return notes


def _template() -> Dataset:
    item = Dataset()
    item.MappingResource = "DCMR"
    item.TemplateIdentifier = "2010"
    return item


def _why(text: str) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "TEXT"
    item.ConceptNameCodeSequence = [code(codes.KEY_OBJECT_DESCRIPTION)]
    item.TextValue = f"{text} {DISCLAIMER}."
    return item


def _item(image: Dataset) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    picture = image.SOPClassUID == SecondaryCaptureImageStorage
    item.ValueType = "IMAGE" if picture else "COMPOSITE"
    item.ReferencedSOPSequence = [reference(image.SOPClassUID, image.SOPInstanceUID)]
    return item
