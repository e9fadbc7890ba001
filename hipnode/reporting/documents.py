"""What the structured documents (TID 1500 and Basic Text) have in common.

References
----------
PS3.3 C.17.2 (SR Document General): flags, evidence, predecessors, referenced requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset

from hipnode.dicom.charset import seal
from hipnode.domain import ResultKind
from hipnode.reporting.envelope import (
    coding_scheme,
    envelope,
    identify,
    predecessors_of,
    references,
    series_uid,
)
from hipnode.reporting.request import encoded, fingerprint
from hipnode.reporting.study import Study
from hipnode.reporting.tree import Content


def document(
    study: Study,
    kind: ResultKind,
    sop_class_uid: str,
    root: Dataset | Content,
    shown: Sequence[Dataset] = (),
) -> Dataset:
    """Return a document of the study around a content tree.

    Parameters
    ----------
    root
        The root content item: a CONTAINER, of highdicom's or prepared.
    shown
        Objects other than the images that the tree refers to.
    """
    request = study.request
    out = envelope(study, kind, sop_class_uid, fingerprint(request), request.version)
    out.CodingSchemeIdentificationSequence = [coding_scheme()]
    out.ReferencedPerformedProcedureStepSequence = []
    out.PerformedProcedureCodeSequence = []
    out.CompletionFlag = "COMPLETE"
    out.VerificationFlag = "UNVERIFIED"
    out.PreliminaryFlag = "PRELIMINARY"
    if requests := _requests(study):
        out.ReferencedRequestSequence = requests
    out.CurrentRequestedProcedureEvidenceSequence = references(
        dict.fromkeys(
            (image.SeriesInstanceUID, image.SOPClassUID, image.SOPInstanceUID)
            for image in (*study.images, *shown)
        ),
        study.uid,
    )
    _name_predecessors(study, kind, out)
    for element in root.heads if isinstance(root, Content) else root:
        out[element.tag] = element
    if not isinstance(root, Content):
        return seal(out, study.declared)
    seal(out, study.declared, root.texts)
    root.put(out)
    return out


def twins(
    study: Study, kind: ResultKind, made: Dataset, sop_class_uids: Sequence[str]
) -> list[Dataset]:
    """Return a document, and its like in each of other SOP Classes that take the same content.

    The content is encoded once for all of them: each time is a fifth of the work of a report.

    Parameters
    ----------
    made
        What `document` has returned.
    """
    if not sop_class_uids:
        return [made]
    written, identity = encoded(made), fingerprint(study.request)
    out: list[Dataset] = [dcmread(BytesIO(written))]  # sequences in it stay bytes
    for sop_class_uid in sop_class_uids:
        twin = dcmread(BytesIO(written))
        identify(study, kind, twin, sop_class_uid, identity, study.request.version)
        _name_predecessors(study, kind, twin)
        out.append(twin)
    return out


def _name_predecessors(study: Study, kind: ResultKind, out: Dataset) -> None:
    """Name the documents that this one takes the place of (PS3.3 C.17.2.3)."""
    if before := predecessors_of(study, kind, out.SOPClassUID):
        out.PredecessorDocumentsSequence = references(
            [
                (
                    p.series_instance_uid or series_uid(study, p.kind, p.sop_class_uid, p.version),
                    p.sop_class_uid,
                    p.sop_instance_uid,
                )
                for p in before
            ],
            study.uid,
        )


def _requests(study: Study) -> list[Dataset]:
    """Return the requests that the study fulfils (PS3.3 C.17.2, Referenced Request Sequence)."""
    items: list[Dataset] = []
    for image in study.images:
        for asked in image.get("RequestAttributesSequence", []):
            item = Dataset()
            item.StudyInstanceUID = image.StudyInstanceUID
            item.ReferencedStudySequence = []
            item.AccessionNumber = asked.get("AccessionNumber") or image.AccessionNumber
            item.PlacerOrderNumberImagingServiceRequest = asked.get(
                "PlacerOrderNumberImagingServiceRequest", ""
            )
            item.FillerOrderNumberImagingServiceRequest = asked.get(
                "FillerOrderNumberImagingServiceRequest", ""
            )
            item.RequestedProcedureID = asked.get("RequestedProcedureID", "")
            item.RequestedProcedureDescription = asked.get("RequestedProcedureDescription", "")
            item.RequestedProcedureCodeSequence = asked.get("RequestedProcedureCodeSequence", [])
            if item not in items:
                items.append(item)
    return items
