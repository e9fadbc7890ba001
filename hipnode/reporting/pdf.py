"""The report as Encapsulated PDF: its sentences on as many pages as they take, then each capture.

reportlab sets the pages. Its Vera fonts have the letters of every language that a report is
written in; a name in another script is left to the DICOM header and never transliterated.

References
----------
PS3.3 A.45.1 (Encapsulated PDF IOD), C.24.2 (Encapsulated Document).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from io import BytesIO
from typing import Any, Final
from xml.sax.saxutils import escape

from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage
from reportlab import rl_config
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase.pdfmetrics import getFont, registerFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Image, PageBreak, Paragraph, SimpleDocTemplate

from hipnode import codes
from hipnode.dicom.charset import seal
from hipnode.domain import ResultKind
from hipnode.reporting.capture import jpeg
from hipnode.reporting.envelope import code, envelope, reference, titled
from hipnode.reporting.languages import Phrases
from hipnode.reporting.palette import FONTS
from hipnode.reporting.request import fingerprint
from hipnode.reporting.study import Study
from hipnode.reporting.words import feedback_link, phrases_of, report_lines

_MARGIN: Final = 56  # points
_HEAD: Final = 62  # of each page: whose it is, and what it may not be used for
_FACES: Final = {"Vera": "Vera.ttf", "VeraBd": "VeraBd.ttf"}


def pdf_report(study: Study, captures: Sequence[Dataset]) -> Dataset:
    """Return the report as one document.

    Parameters
    ----------
    captures
        The capture of each image that has one.
    """
    identity = fingerprint(study.request, *(c.SOPInstanceUID for c in captures))
    number = study.request.version
    out = envelope(study, ResultKind.PDF, EncapsulatedPDFStorage, identity, number)
    document = _pages(study, captures)
    out.ConversionType = "WSD"
    out.AcquisitionDateTime = ""
    out.BurnedInAnnotation = "YES"
    out.RecognizableVisualFeatures = "NO"
    out.SourceInstanceSequence = [reference(i.SOPClassUID, i.SOPInstanceUID) for i in study.images]
    out.DocumentTitle = titled(study)
    out.ConceptNameCodeSequence = [code(codes.DIAGNOSTIC_REPORT)]
    out.VerificationFlag = "UNVERIFIED"
    out.MIMETypeOfEncapsulatedDocument = "application/pdf"
    out.EncapsulatedDocumentLength = len(document)
    out.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    return seal(out, study.declared)


def _pages(study: Study, captures: Sequence[Dataset]) -> bytes:
    """Return the PDF; the same report makes the same bytes."""
    _learn_fonts()
    body = ParagraphStyle("body", fontName="Vera", fontSize=10, leading=14, spaceAfter=5)
    first = ParagraphStyle("first", body, fontName="VeraBd", fontSize=12, leading=16)
    link = escape(feedback_link(study.request))
    drawn: list[Any] = [
        Paragraph(
            _linked(escape(sentence), link) if heading == "Feedback" else escape(sentence),
            first if heading == "Impression" else body,
        )
        for heading, sentence in report_lines(study.request)
    ]
    width, height = A4[0] - 2 * _MARGIN, A4[1] - 2 * _MARGIN - _HEAD
    for made in captures:
        scale = min((width - 12) / made.Columns, (height - 12) / made.Rows)
        size = (made.Columns * scale, made.Rows * scale)
        drawn += [PageBreak(), Image(BytesIO(jpeg(made)), *size)]

    def head(canvas: Canvas, _: object) -> None:
        _head(canvas, study)

    out = BytesIO()
    margins = {f"{edge}Margin": _MARGIN for edge in ("left", "right", "bottom")}
    template = SimpleDocTemplate(
        out, pagesize=A4, topMargin=_MARGIN + _HEAD, invariant=1, title=titled(study),
        author=codes.MANUFACTURER, lang=study.request.language, **margins,
    )  # fmt: skip
    template.build(drawn, onFirstPage=head, onLaterPages=head)
    return out.getvalue()


@cache
def _learn_fonts() -> None:
    """Read the fonts, once for a process, and let streams be binary, as a DICOM file is anyway.

    As ASCII they are a quarter longer, and reportlab takes 100 ms to write a capture so.
    """
    rl_config.useA85 = 0
    for face, file in _FACES.items():
        registerFont(TTFont(face, FONTS / file))


def _head(canvas: Canvas, study: Study) -> None:
    """Write onto a page whose report it is: pages get parted."""
    phrases, newest = phrases_of(study.request), study.newest
    name = str(newest.PatientName).replace("^", " ").strip()
    values = (
        name if _has_letters(name) else "(DICOM: Patient Name)",
        newest.PatientID,
        _day(newest.PatientBirthDate, phrases),
        _day(newest.StudyDate, phrases),
        newest.AccessionNumber,
    )
    who = [f"{label}: {value}" for label, value in zip(phrases.patient, values, strict=True)]
    top = A4[1] - _MARGIN
    canvas.setFont("VeraBd", 13)
    canvas.drawString(_MARGIN, top, phrases.title)
    canvas.setFont("VeraBd", 10)
    canvas.drawString(_MARGIN, top - 16, phrases.disclaimer)
    canvas.setFont("Vera", 8)
    canvas.drawString(_MARGIN, top - 32, "    ".join(who[:2]))
    canvas.drawString(_MARGIN, top - 44, "    ".join(who[2:]))
    canvas.drawRightString(A4[0] - _MARGIN, _MARGIN / 2, str(canvas.getPageNumber()))


def _linked(text: str, link: str) -> str:
    return text.replace(link, f'<link href="{link}" color="blue">{link}</link>')


def _day(value: Any, phrases: Phrases) -> str:
    """Return a date as people write it; what is no date stays as it is."""
    try:
        return datetime.strptime(str(value), "%Y%m%d").strftime(phrases.moment.split()[0])  # noqa: DTZ007
    except ValueError:
        return str(value or "")


def _has_letters(text: str) -> bool:
    """Return whether the font has every letter of a text."""
    known = getFont("Vera").face.charToGlyph
    return all(ord(character) in known for character in text)
