"""The report as Encapsulated PDF: a page of text, and a page for each capture.

The file is written here, in the few constructs of PDF 1.4 that it takes: built-in Helvetica, and
pictures as JPEG. Built-in fonts know Western European letters only; a name in another script is
left to the DICOM header and never transliterated.

References
----------
PS3.3 A.45.1 (Encapsulated PDF IOD), C.24.2 (Encapsulated Document); ISO 32000-1, 7.5 (file).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from hipnode import codes
from hipnode.dicom.charset import seal
from hipnode.domain import ResultKind
from hipnode.reporting.capture import jpeg
from hipnode.reporting.envelope import code, envelope, reference, titled
from hipnode.reporting.request import fingerprint
from hipnode.reporting.study import Study
from hipnode.reporting.words import phrases_of, report_lines

_PAGE = (595, 842)  # A4, points
_MARGIN = 56


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
    document = pdf([_text_page(study), *(_picture_page(c) for c in captures)])
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


Page = tuple[str, bytes | None, tuple[int, int]]
"""The drawing operators of a page; its JPEG, if any, with (width, height) in px."""


def pdf(pages: Sequence[Page]) -> bytes:
    """Return a PDF 1.4 file of the pages, the same bytes for the same pages."""
    objects: list[bytes] = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"",  # the page tree, once its kids are known
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
    ]
    kids = []
    for operators, drawn, size in pages:
        picture = b""
        if drawn is not None:
            head = (
                f"<< /Type /XObject /Subtype /Image /Width {size[0]} /Height {size[1]} "
                f"/ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode "
                f"/Length {len(drawn)} >>"
            )
            objects.append(head.encode() + b"\nstream\n" + drawn + b"\nendstream")
            picture = f"/XObject << /P {len(objects)} 0 R >>".encode()
        content = operators.encode("cp1252", "replace")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents %d 0 R "
            b"/Resources << /Font << /F 3 0 R /B 4 0 R >> %s >> >>"
            % (*_PAGE, len(objects), picture)
        )
        kids.append(len(objects))
    listed = b" ".join(b"%d 0 R" % kid for kid in kids)
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (listed, len(kids))
    return _file(objects)


def _file(objects: Sequence[bytes]) -> bytes:
    out = BytesIO()
    out.write(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    for offset in offsets:
        out.write(b"%010d 00000 n \n" % offset)
    size = len(objects) + 1
    out.write(b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, start))
    return out.getvalue()


def _text_page(study: Study) -> Page:
    first = study.newest
    name = str(first.PatientName).replace("^", " ").strip()
    known = name if name.encode("cp1252", "replace").decode("cp1252") == name else ""
    who = (
        f"Patient: {known or '(name: see the DICOM header)'}   ID: {first.PatientID}   "
        f"Born: {first.PatientBirthDate}   Study: {first.StudyDate}   "
        f"Accession: {first.AccessionNumber}"
    )
    phrases = phrases_of(study.request)
    lines = [("B", 15, phrases.title), ("B", 12, phrases.disclaimer), ("F", 9, who), ("F", 9, "")]
    for heading, sentence in report_lines(study.request):
        face, size = ("B", 12) if heading == "Impression" else ("F", 10)
        lines += [(face, size, part) for part in textwrap.wrap(sentence, 1000 // size)]
        lines.append(("F", 4, ""))
    y, operators = _PAGE[1] - _MARGIN, []
    for face, size, text in lines:
        y -= size + 4
        operators.append(f"BT /{face} {size} Tf {_MARGIN} {y} Td ({_escaped(text)}) Tj ET")
    return "\n".join(operators), None, (0, 0)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _picture_page(made: Dataset) -> Page:
    height, width = made.Rows, made.Columns
    scale = min((_PAGE[0] - 2 * _MARGIN) / width, (_PAGE[1] - 2 * _MARGIN) / height)
    w, h = width * scale, height * scale
    x, y = (_PAGE[0] - w) / 2, _PAGE[1] - _MARGIN - h
    return f"q {w:.2f} 0 0 {h:.2f} {x:.2f} {y:.2f} cm /P Do Q", jpeg(made), (width, height)
