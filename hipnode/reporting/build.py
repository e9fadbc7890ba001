"""From a request to the objects that are sent: an SR and a text per study, a capture per image."""

from __future__ import annotations

from pydicom.dataset import Dataset

from hipnode.domain import ResultKind
from hipnode.reporting.capture import capture
from hipnode.reporting.envelope import mend_study
from hipnode.reporting.measurements import measurement_report
from hipnode.reporting.request import BuiltObject, ReportRequest
from hipnode.reporting.text_report import text_report


def build(request: ReportRequest) -> list[BuiltObject]:
    """Return the objects of a report, in the order in which to send them.

    A study of which no hip was read has no measurements to report: where an SR is wanted, it gets
    the text report, so that nothing ever ends in silence. An image that could not be decoded has
    no capture.

    Raises
    ------
    ReportRefused
        If the identity of the study cannot be used without inventing data.
    """
    study = mend_study(request)
    wanted = request.objects
    objects: list[tuple[ResultKind, Dataset]] = []
    captures: dict[str, Dataset] = {}
    if ResultKind.CAPTURE in wanted:
        for number, (source, image) in enumerate(
            zip(request.sources, study.images, strict=True), start=1
        ):
            if source.pixels is not None:
                made = capture(study, source, image, number)
                captures[image.SOPInstanceUID] = made
                objects.append((ResultKind.CAPTURE, made))
    measured = False
    if ResultKind.SR in wanted:
        for sr_class in request.sr_classes:
            report = measurement_report(study, sr_class, captures)
            if report is not None:
                measured = True
                objects.append((ResultKind.SR, report))
    if ResultKind.TEXT in wanted or (ResultKind.SR in wanted and not measured):
        objects.append((ResultKind.TEXT, text_report(study)))
    return [BuiltObject(kind, dataset, study.notes) for kind, dataset in objects]
