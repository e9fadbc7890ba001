"""Targets for what the node reads beside images: SRs, final reports, its own settings."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Any

import pydicom

from hipnode import dicom, reporting
from hipnode.dicom.assessment import assessment_of
from hipnode.domain import ResultKind
from hipnode.errors import InputRefused, SettingsInvalid
from hipnode.services.opinions import message
from hipnode.settings import load
from tests import assessments, cases
from tests.assessments import AGREES, DISAGREES
from tests.fuzz.files import written
from tests.fuzz.refusals import refusable
from tests.peers import ROOT

_AGREES, _DISAGREES = (f"{c.scheme_designator}:{c.value}" for c in (AGREES, DISAGREES))


def report(data: bytes) -> None:
    """A measurement report, read back with highdicom."""
    with refusable(ValueError):
        reporting.read_back(data)


def assessment(data: bytes) -> None:
    """An SR or a Key Object Selection that may say whether somebody agrees."""
    with refusable(InputRefused):
        found = dicom.open_dicom(written(data), pixels=False)
        assessment_of(found, {_AGREES}, {_DISAGREES})


def final_report(data: bytes) -> None:
    """An HL7 v2 message."""
    with refusable(message.MessageRefused):
        message.read(data, "UNICODE UTF-8", {"L:VITD": "vitamin_d"})


def settings(data: bytes) -> None:
    """A settings file."""
    with refusable(SettingsInvalid):
        load(written(data), environment=False)


@cache
def seeds() -> dict[str, list[bytes]]:
    """Return valid inputs to start from, by target."""
    name = "positive-right"
    built = {one.kind: one.to_bytes() for one in reporting.build(cases.CASES[name].request(name))}
    sr = built[ResultKind.SR]
    of = pydicom.dcmread(BytesIO(sr))
    message = (
        b"MSH|^~\\&|RIS|GENERAL|HIPNODE|GENERAL|20261128||ORU^R01|17|P|2.5.1\r"
        b"PID|1||P1^^^HOSPITAL^MR\rOBR|1||A1|XR PELVIS|||20261128\r"
        b"OBX|1|TX|GDT||No fracture of the right hip.||||||F\r"
        b"OBX|2|NM|VITD^Vitamin D^L||41.5|nmol/L|||||F|||20261101\r"
    )
    files = (ROOT / "config" / "hipnode.toml", ROOT / "config" / "reference.toml")
    return {
        "report": [_one_hip(sr)],
        "assessment": [
            _bytes(assessments.assessment(of, {"1.2.3": AGREES, "1.2.4": DISAGREES})),
            _bytes(assessments.key_objects(of, DISAGREES)),
        ],
        "final_report": [message],
        "settings": [path.read_bytes() for path in files],
    }


def _one_hip(document: bytes) -> bytes:
    """Return a report with one hip's measurements, which is read in half the time."""
    ds: Any = pydicom.dcmread(BytesIO(document))
    *heading, measurements, _ = ds.ContentSequence
    del measurements.ContentSequence[1:]
    (hip,) = measurements.ContentSequence
    total = next(item for item in hip.ContentSequence if item.ValueType == "NUM")
    total.ContentSequence = [i for i in total.ContentSequence if i.ValueType == "NUM"][:2]
    ds.ContentSequence = [*heading, measurements]
    return _bytes(ds)


def _bytes(ds: pydicom.Dataset) -> bytes:
    ds.save_as(made := BytesIO(), enforce_file_format=True)
    return made.getvalue()
