"""Headers as hospitals send them: names in every script, and faults of every kind."""

from __future__ import annotations

from typing import Any, Final

from pydicom.dataset import Dataset

from hipnode.reporting import NodeIdentity, ReportRequest
from tests.cases import NODE, L, R, request, source
from tests.factory import header, hip, reading, reread

NAMES: Final[dict[str, tuple[list[str], str]]] = {
    "latin": (["ISO_IR 100"], "Müller^Jürgen^^^"),
    "greek": (["ISO_IR 126"], "Διονυσιος^Αθηνα"),
    "cyrillic": (["ISO_IR 144"], "Люкceмбypг^Анна"),  # noqa: RUF001
    "arabic": (["ISO_IR 127"], "قباني^لنزار"),
    "hebrew": (["ISO_IR 138"], "שרון^דבורה"),
    "thai": (["ISO_IR 166"], "นามสกุล^ชื่อ"),
    "japanese": (["ISO 2022 IR 6", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "korean": (["ISO 2022 IR 6", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "chinese": (["GB18030"], "Wang^XiaoDong=王^小东"),
    "chinese-gbk": (["GBK"], "Wang^XiaoDong=王^小东"),
    "unicode": (["ISO_IR 192"], "Wang^XiaoDong=王^小東=Ώραία^Σ"),
}
"""Character set, and a name in it (PS3.5 Annexes H to K)."""


def named(script: str) -> Dataset:
    """Return a data set as it comes off the wire, with a name in this script."""
    terms, name = NAMES[script]
    ds = header(script, SpecificCharacterSet=terms if len(terms) > 1 else terms[0])
    ds.PatientName = name
    return reread(ds)


def undeclared(name: str, encoding: str, declared: str = "") -> Dataset:
    """Return a data set whose name is in an encoding that it does not (rightly) declare."""
    marker = "Xname" + "x" * (len(name.encode(encoding)) - 5)
    ds = header("undeclared", PatientName=marker, SpecificCharacterSet=declared or None)
    ds = reread(ds)
    raw = ds.get_item("PatientName")
    ds._dict[raw.tag] = raw._replace(value=name.encode(encoding), length=len(name.encode(encoding)))
    return ds


VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "empty type 2": dict.fromkeys(
        ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
         "ReferringPhysicianName", "StudyID", "AccessionNumber"), ""),
    "no type 2": dict.fromkeys(
        ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
         "ReferringPhysicianName", "StudyID", "AccessionNumber")),
    "no equipment": dict.fromkeys(
        ("Manufacturer", "ManufacturerModelName", "StationName", "InstitutionName",
         "DeviceSerialNumber", "SoftwareVersions")),
    "bare": dict.fromkeys(
        ("StudyDescription", "PatientAge", "BodyPartExamined", "IssuerOfPatientID", "Manufacturer",
         "InstitutionName", "RequestAttributesSequence", "LossyImageCompression", "SeriesNumber",
         "BurnedInAnnotation", "InstanceNumber", "PatientOrientation")),
    "sex in words": {"PatientSex": "FEMALE"},
    "sex unknown": {"PatientSex": "D"},
    "dates with dashes": {"StudyDate": "2026-11-20", "PatientBirthDate": "1940.02.29",
                          "StudyTime": "10:15:00"},
    "dates impossible": {"StudyDate": "20260231", "PatientBirthDate": "19400000",
                         "StudyTime": "256161", "PatientAge": "86"},
    "one-valued orientation": {"PatientOrientation": "L"},
    "no orientation": {"PatientOrientation": None},
    "time zone": {"TimezoneOffsetFromUTC": "+0100"},
    "accession too long": {"AccessionNumber": "A" * 20},
    "name too long": {"PatientName": "Wolfeschlegelsteinhausen" * 3 + "^Hubert"},
    "description too long": {"StudyDescription": "XR pelvis and both hips " * 5},
    "no request": {"RequestAttributesSequence": None},
    "no character set": {"SpecificCharacterSet": None},
}  # fmt: skip
"""What is changed in `header`: attribute to value, None to delete."""


def variant(name: str) -> ReportRequest:
    """Return a positive study whose header has one of the faults of `VARIANTS`."""
    ds = header(name.replace(" ", ""), **VARIANTS[name])
    node = NodeIdentity() if name == "bare" else NODE
    return request(source(name, reading([hip(R, 0.97), hip(L, 0.02)]), ds=ds), node=node)
