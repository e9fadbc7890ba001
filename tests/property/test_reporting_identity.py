"""Whatever bytes a header holds: a valid report or a refusal, never another exception."""

from __future__ import annotations

import re
from io import BytesIO

import pytest
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from hipnode.dicom.identity import MAX_CHARS
from hipnode.domain import ResultKind, Side
from hipnode.errors import ReportRefused
from hipnode.reporting import build
from tests import cases
from tests.examples import examples
from tests.factory import header, hip, reading, reread

KEYWORDS = (
    "SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "PatientAge",
    "StudyDescription", "PatientOrientation", "SeriesNumber", "InstanceNumber", "StationName",
    "BodyPartExamined", "Manufacturer", "SoftwareVersions", "LossyImageCompression",
)  # fmt: skip
_PLAIN = st.text("ABC^=\\ .:-0123456789", max_size=20).map(str.encode)
_KNOWN = st.sampled_from(
    [b"", b"M", b"FEMALE", b"20260101", b"2026-01-01", b"10:15", b"ISO_IR 100", b"ISO_IR 192",
     b"\\ISO 2022 IR 87", b"UTF8", b"nonsense", b"L\\F", b"L", b"01", b"\0\0", b"M\xc3\xbcller",
     b"M\xfcller", b"\x1b$B;3ED\x1b(B", b"x" * 100]
)  # fmt: skip
VALUES = st.dictionaries(
    st.sampled_from(KEYWORDS), st.one_of(_KNOWN, _PLAIN, st.binary(max_size=70)), max_size=6
)


def _tampered(values: dict[str, bytes]) -> Dataset:
    """Return a data set as read from disk, with these bytes in place of its values."""
    buffer = BytesIO()
    reread(header(SpecificCharacterSet="ISO_IR 100")).save_as(buffer)
    declared = values.get("SpecificCharacterSet", b"ISO_IR 100")
    declared += b" " * (len(declared) % 2)
    place = b"\x08\x00\x05\x00CS"
    content = buffer.getvalue().replace(
        place + b"\x0a\x00ISO_IR 100", place + len(declared).to_bytes(2, "little") + declared, 1
    )
    try:
        ds = dcmread(BytesIO(content))
    except ValueError:  # then the image is refused on arrival, as not readable as DICOM
        reject()
    for keyword, value in values.items():
        raw = ds.get_item(keyword)
        if keyword == "SpecificCharacterSet" or raw is None:
            continue
        ds._dict[raw.tag] = raw._replace(value=value, length=len(value))
    return ds


def _check(ds: Dataset) -> None:
    for element in ds:
        if element.VR in MAX_CHARS and element.value:
            for value in element.value if element.VM > 1 else [element.value]:
                groups = str(value).split("=") if element.VR == "PN" else [str(value)]
                assert max(map(len, groups)) <= MAX_CHARS[element.VR], element
                assert "\ufffd" not in str(value)
    assert re.fullmatch(r"(\d{8})?", ds.StudyDate or "")
    assert ds.PatientSex in ("", "M", "F", "O")


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=examples(250), deadline=None)
@given(VALUES)
@example({"SpecificCharacterSet": b"", "PatientName": b"M\xfcller"})
def test_any_header_gives_a_valid_report_or_a_refusal(values: dict[str, bytes]) -> None:
    source = cases.source("1", reading([hip(Side.RIGHT, 0.97)]), pixels=False, ds=None)
    tampered = type(source)(_tampered(values), source.reading)
    wanted = cases.request(tampered, objects=frozenset({ResultKind.TEXT}))
    try:
        built = build(wanted)
    except ReportRefused:
        return
    for one in built:
        _check(dcmread(BytesIO(one.to_bytes())))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("keyword", KEYWORDS)
def test_items_where_text_was_due_count_as_absent(keyword: str) -> None:
    """Found by fuzzing: an item whose own value has a length that no number has."""
    damaged = Dataset()
    damaged._dict[Tag("Rows")] = RawDataElement(Tag("Rows"), "US", 1, b"\1", 0, False, True)
    source = cases.source("1", reading([hip(Side.RIGHT, 0.97)]), pixels=False, ds=None)
    ds = reread(header())
    ds._dict[Tag(keyword)] = DataElement(Tag(keyword), "SQ", Sequence([damaged]))
    for one in build(cases.request(type(source)(ds, source.reading))):
        _check(dcmread(BytesIO(one.to_bytes())))
