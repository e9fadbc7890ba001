"""From a request to the objects that are sent: an SR and a text per study, a capture per image.

References
----------
PS3.3 A.35 (SR documents), A.8 (Secondary Capture), A.33 (presentation states), A.45 (documents).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydicom.dataset import Dataset

from hipnode.domain import ResultKind
from hipnode.reporting.capture import capture
from hipnode.reporting.fhir import fhir
from hipnode.reporting.measurements import measurement_reports
from hipnode.reporting.notice import notice
from hipnode.reporting.oru import oru
from hipnode.reporting.presentation import presentation_state
from hipnode.reporting.request import PICTURED, BuiltMessage, BuiltObject, ReportRequest
from hipnode.reporting.study import Study, mend_studies
from hipnode.reporting.text_report import text_report


def build_messages(request: ReportRequest) -> list[BuiltMessage]:
    """Return what a report has beside DICOM objects: an HL7 message, FHIR, a notice.

    Raises
    ------
    ReportRefused
        As for `build`.
    """
    wanted = {kind: make for kind, make in _MESSAGES.items() if kind in request.objects}
    if not wanted:
        return []
    return [make(study) for study in mend_studies(request) for make in wanted.values()]


_MESSAGES: Final = {
    ResultKind.NOTICE: notice,
    ResultKind.ORU: oru,
    ResultKind.FHIR: fhir,
}


def build(request: ReportRequest, *, prepared: bool = True) -> list[BuiltObject]:
    """Return the objects of a report, in the order in which to send them.

    Images under several Patient IDs make as many reports. A study of which no hip was read has no
    measurements to report: where an SR is wanted, it gets the text report, so that nothing ever
    ends in silence. An image that could not be decoded has no capture.

    Parameters
    ----------
    request
        All that the report depends on.
    prepared
        Whether content trees are filled into pieces that were made and encoded before; else
        highdicom makes each anew. The bytes are the same, and a test holds it.

    Raises
    ------
    ReportRefused
        If the identity of the study cannot be used without inventing data.
    """
    return [made for study in mend_studies(request) for made in _made(study, prepared)]


def _made(study: Study, prepared: bool) -> list[BuiltObject]:
    made = list(_objects(study, prepared))
    measured = any(kind is ResultKind.SR for kind, _ in made)
    return [
        BuiltObject(kind, ds, study.notes, kind is ResultKind.TEXT and not measured)
        for kind, ds in made
    ]


def _objects(study: Study, prepared: bool) -> Iterator[tuple[ResultKind, Dataset]]:
    request, wanted = study.request, study.request.objects
    captures: dict[str, Dataset] = {}
    if wanted & PICTURED:
        captures = _captures(study)
    if ResultKind.CAPTURE in wanted:
        yield from ((ResultKind.CAPTURE, made) for made in captures.values())
    shown = captures if ResultKind.CAPTURE in wanted else {}
    reports: list[Dataset] = []
    if ResultKind.SR in wanted:
        reports = measurement_reports(study, shown, prepared=prepared)
    yield from ((ResultKind.SR, report) for report in reports)
    if ResultKind.TEXT in wanted or (ResultKind.SR in wanted and not reports):
        yield ResultKind.TEXT, text_report(study, prepared=prepared)
    if ResultKind.GSPS in wanted:
        images = zip(request.sources, study.images, strict=True)
        for number, (source, image) in enumerate(images, start=1):
            if (boxes := presentation_state(study, source, image, number)) is not None:
                yield ResultKind.GSPS, boxes
    if ResultKind.PDF in wanted:
        from hipnode.reporting.pdf import pdf_report  # noqa: PLC0415 - what sets it is for few

        yield ResultKind.PDF, pdf_report(study, tuple(captures.values()))


def _captures(study: Study) -> dict[str, Dataset]:
    """Return the capture of each image that has pixels, by the image's SOP Instance UID."""
    images = zip(study.request.sources, study.images, strict=True)
    return {
        image.SOPInstanceUID: capture(study, source, image, number)
        for number, (source, image) in enumerate(images, start=1)
        if source.pixels is not None
    }
