"""An identity is carried unchanged or not at all; the door and the reporter give one answer."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from hipnode import dicom
from hipnode.dicom import uids
from hipnode.dicom.identity import Mender
from hipnode.dicom.kinds import Kind, kind_of
from hipnode.domain import Header
from hipnode.errors import HeaderUnusable, ReportRefused
from hipnode.services.listener.rules import decide
from tests.factory import header, reread

IDENTIFYING = {
    "PatientID": "LO", "IssuerOfPatientID": "LO", "AccessionNumber": "SH", "PatientName": "PN",
    "StudyID": "SH", "ReferringPhysicianName": "PN",
}  # fmt: skip
FAULTS = {
    "two values": b"AB12\\CD34",
    "an empty second value": b"AB12\\",
    "a tab": b"12\t34",
    "a line break": b"12\r\n34",
    "a line break at its end": b"1234\r\n",
    "NUL within": b"12\x0034",
    "a C1 control": "12\x8534".encode(),
    "undeclared characters": b"M\xfcller",
    "too long": b"x" * 65,
}


def with_value(keyword: str, vr: str, value: bytes) -> Dataset:
    ds = reread(header(SpecificCharacterSet=None))
    tag = Tag(keyword)
    ds._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return ds


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("keyword", IDENTIFYING)
def test_what_cannot_be_carried_unchanged(keyword: str, fault: str) -> None:
    ds = with_value(keyword, IDENTIFYING[keyword], FAULTS[fault])
    if keyword == "PatientID":
        with pytest.raises(HeaderUnusable, match="PatientID") as refused:
            dicom.header_at_the_door(ds)
        assert len(str(refused.value)) <= 64  # as much as a sender can be told
        with pytest.raises(ReportRefused, match="PatientID"):
            Mender(ds)
        return
    found, mender = dicom.header_at_the_door(ds), Mender(ds)
    assert not mender.mended.get(keyword)
    assert any(note.startswith(f"{keyword} left out") for note in mender.notes)
    if keyword in ("AccessionNumber", "IssuerOfPatientID"):
        assert "" in (found.accession_number, found.issuer_of_patient_id)
        assert any(note.startswith(f"{keyword} left out") for note in found.notes)


TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=70)


@settings(deadline=None)
@given(st.sampled_from(sorted(IDENTIFYING)), TEXT)
@example("PatientName", "=")
@example("PatientName", "A^B==")
def test_a_report_says_what_came_or_nothing(keyword: str, text: str) -> None:
    ds = with_value(keyword, IDENTIFYING[keyword], text.encode())
    try:
        mender = Mender(ds)
    except ReportRefused:
        assert keyword == "PatientID"
        return
    said = str(mender.mended.get(keyword) or "")
    noted = any(note.startswith(keyword) for note in mender.notes)
    came = text.strip("\0 ")
    if IDENTIFYING[keyword] == "PN":  # trailing groups of nothing may go: PS3.5 6.2, PN
        came = came.rstrip("=")
    assert said == came or (said == "" and noted)


@pytest.mark.parametrize(
    ("name", "carried"),
    [
        ("A^B^C^D^E", True),
        ("A^B^C^D^E^F^G", False),
        ("A=B=C", True),
        ("A=B=C=D", False),
        ("x" * 64 + "=" + "y" * 64, True),
        ("x" * 65, False),
    ],
)
def test_a_name_is_carried_as_far_as_pn_goes(name: str, carried: bool) -> None:
    mender = Mender(with_value("PatientName", "PN", name.encode()))
    assert mender.mended.PatientName == (name if carried else "")
    assert any("PatientName" in note for note in mender.notes) is not carried


def twice(tmp_path: Path, keyword: str, vr: bytes, value: bytes) -> Path:
    """Return a file in which an attribute comes a second time, at once."""
    buffer = BytesIO()
    reread(header()).save_as(buffer, enforce_file_format=True)
    content = buffer.getvalue()
    tag = Tag(keyword)
    name = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little") + vr
    at = content.index(name)
    end = at + 8 + int.from_bytes(content[at + 6 : at + 8], "little")
    again = name + len(value).to_bytes(2, "little") + value
    path = tmp_path / "twice.dcm"
    path.write_bytes(content[:end] + again + content[end:])
    return path


def test_an_attribute_that_is_there_twice(tmp_path: Path) -> None:
    ds = dicom.open_dicom(twice(tmp_path, "PatientID", b"LO", b"CD34"), pixels=False)
    with pytest.raises(HeaderUnusable, match="PatientID is there twice"):
        dicom.header_at_the_door(ds)
    ds = dicom.open_dicom(twice(tmp_path, "AccessionNumber", b"SH", b"ACC2"), pixels=True)
    assert dicom.header_at_the_door(ds).accession_number == ""
    assert "AccessionNumber left out: it is there twice" in Mender(ds).notes
    path = twice(tmp_path, "StudyInstanceUID", b"UI", b"1.2.3\0")
    with pytest.raises(HeaderUnusable, match="StudyInstanceUID is there twice"):
        dicom.read_header(path)


@pytest.mark.parametrize(
    ("text", "usable", "right"),
    [
        ("1.2.840.10008", True, True),
        ("1.2.826.0.1.3680043.9.0123.4", True, False),
        ("1.2.3.", True, False),
        ("0", True, False),
        ("1." + "2" * 62, True, True),
        ("1." + "2" * 63, False, False),
        ("1.2.x", False, False),
        ("1.2 .3", False, False),
        ("...", False, False),
        ("", False, False),
    ],
)
def test_a_uid_is_usable_or_not(text: str, usable: bool, right: bool) -> None:
    assert (uids.usable(text), uids.is_right(text)) == (usable, right)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
@pytest.mark.parametrize("uid", ["1.2.826.0.1.3680043.9.0123.4", "1.2.826.7."])
def test_what_the_door_takes_the_reporter_carries(keyword: str, uid: str) -> None:
    ds = with_value(keyword, "UI", uid.encode() + b"\0" * (len(uid) % 2))
    dicom.header_at_the_door(ds)
    mender = Mender(ds)
    assert mender.mended[keyword].value == uid
    assert any(note.startswith(f"{keyword} carried as it is") for note in mender.notes)
    assert dcmread(BytesIO(_saved(mender.mended)), force=True)[keyword].value == uid


def _saved(ds: Dataset) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "sop_class", ["1", "1.1", "1.1.1", "7", "7.2", "7.3", "12.2", "2", "88.59"]
)
@pytest.mark.parametrize("modality", ["CR", "DX", "RG", "RF", "BMD", "OT", "CT", ""])
def test_the_door_reads_what_the_gate_does(sop_class: str, modality: str) -> None:
    uid = f"1.2.840.10008.5.1.4.1.1.{sop_class}"
    verdict = decide(Header(uid, "1.2.3", "1.2", modality=modality), "PACS", (), own=False)
    assert (verdict.action == "read") is (kind_of(uid, modality) is not Kind.OTHER)


def test_a_misread_transfer_syntax_is_named() -> None:
    with pytest.raises(HeaderUnusable, match="SOPClassUID") as refused:
        dicom.read_header(Dataset())
    assert "transfer syntax" in str(refused.value)[:64]
