"""Whatever a header says of its characters: what leaves says what it holds, and is right or absent.

The product of how characters are declared, of scripts, and of attributes; each report goes before
dciodvfy and is read back by dcmtk. A sample runs always, all of it with ``-m slow``.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import product
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from hipnode.cli.conform import dciodvfy
from hipnode.dicom.charset import seal
from hipnode.dicom.values import Reader
from hipnode.domain import ResultKind, Side
from hipnode.errors import CharacterSetUndeclared
from hipnode.reporting import build
from hipnode.reporting.request import encoded
from tests import cases
from tests.factory import header, hip, reading, reread
from tests.peers import require


@dataclass(frozen=True)
class Script:
    """A name, and a set that holds it: Python's encoding, its term, the term misspelt."""

    name: str
    encoding: str
    term: str
    misspelt: str


SCRIPTS = {
    "latin-1": Script("Müller^Jürgen", "latin-1", "ISO_IR 100", "ISO-IR 100"),
    "latin-9": Script("Žiška^Lœtitia", "iso8859-15", "ISO_IR 203", "ISO 8859-15"),
    "utf-8": Script("Åström^Zoë", "utf-8", "ISO_IR 192", "UTF-8"),
    "cyrillic": Script("Люксембург^Анна", "iso8859-5", "ISO_IR 144", "ISO IR 144"),
    "greek": Script("Διονύσιος^Αθηνά", "iso8859-7", "ISO_IR 126", "iso_ir_126"),
    "chinese": Script("Zhang^X=张乗^小东", "gb18030", "GB18030", "gb18030"),
    "japanese": Script("Honda^T=本田^太郎", "iso2022_jp", "\\ISO 2022 IR 87", "\\ISO-2022-IR 87"),
    "korean": Script("Hong^G=홍^길동", "euc_kr", "ISO 2022 IR 149", "ISO_IR 149"),
    "arabic": Script("قباني^لنزار", "iso8859-6", "ISO_IR 127", "ISO_IR-127"),
    "hebrew": Script("שרון^דבורה", "iso8859-8", "ISO_IR 138", "ISO IR-138"),
}
FIELDS = {
    "name": "PatientName",
    "institution": "InstitutionName",
    "description": "StudyDescription",
}
DECLARATIONS = ("declared", "misspelt", "absent", "assumed")
EVERY = list(product(DECLARATIONS, SCRIPTS, FIELDS))
SAMPLE = EVERY[::7]


def with_bytes(ds: Dataset, values: dict[str, bytes]) -> Dataset:
    """Return a data set as it comes from disk, with these bytes as values."""
    for keyword, value in values.items():
        tag = Tag(tag_for_keyword(keyword) or 0)
        vr = dictionary_VR(keyword)
        ds._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return ds


def received(declaration: str, script: Script, keyword: str) -> tuple[Dataset, str]:
    """Return a data set with a text in a script, and what the site says of undeclared text."""
    text = script.name if keyword == "PatientName" else script.name.split("=")[-1].replace("^", " ")
    values = {keyword: text.encode(script.encoding)}
    assumed = script.term.strip("\\") if declaration == "assumed" else ""
    term = {"declared": script.term, "misspelt": script.misspelt}.get(declaration)
    if term:
        values["SpecificCharacterSet"] = term.encode()
    ds = reread(header("charset", SpecificCharacterSet=None))
    return with_bytes(ds, values), assumed


def written(ds: Dataset, assumed: str = "", institution: str = "General Hospital") -> list[bytes]:
    """Return the text and the capture of a study with this header."""
    node = replace(cases.NODE, assumed_character_set=assumed, institution=institution)
    source = cases.source("charset", reading([hip(Side.RIGHT, 0.97)], "charset"), ds=None)
    wanted = frozenset({ResultKind.TEXT, ResultKind.GSPS})
    made = build(cases.request(replace(source, dataset=ds), node=node, objects=wanted))
    return [one.to_bytes() for one in made]


def values_by_dcmtk(path: Path) -> dict[str, str]:
    """Return what dcmtk reads: the attribute's text by keyword, ``""`` where empty."""
    tool = require("dcm2json", "dcmtk")
    done = subprocess.run([tool, str(path)], capture_output=True, check=True)
    document = json.loads(done.stdout)
    scanner = document["0018A001"]["Value"][0]

    def text(place: dict[str, dict[str, list[object]]], tag: str) -> str:
        value = place.get(tag, {}).get("Value", [""])[0]
        if isinstance(value, dict):
            parts = ("Alphabetic", "Ideographic", "Phonetic")
            return "=".join(value[part] for part in parts if part in value)
        return str(value)

    return {
        "PatientName": text(document, "00100010"),
        "InstitutionName": text(scanner, "00080080"),
        "StudyDescription": text(document, "00081030"),
    }


def check(tmp_path: Path, declaration: str, script: str, field: str) -> None:
    """Assert that every object is valid, and that dcmtk reads what came, or nothing."""
    require("dciodvfy", "dicom3tools")
    keyword, wanted = FIELDS[field], SCRIPTS[script]
    ds, assumed = received(declaration, wanted, keyword)
    text = wanted.name if field == "name" else wanted.name.split("=")[-1].replace("^", " ")
    for number, content in enumerate(written(ds, assumed)):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(content)
        (verdict,) = dciodvfy([path])
        assert not verdict.errors, verdict.errors
        found = values_by_dcmtk(path)[keyword]
        known = declaration != "absent" or script == "utf-8"
        assert found == text or (not known and found == ""), found


@pytest.mark.parametrize(("declaration", "script", "field"), SAMPLE)
def test_a_sample(tmp_path: Path, declaration: str, script: str, field: str) -> None:
    check(tmp_path, declaration, script, field)


@pytest.mark.slow
@pytest.mark.parametrize(("declaration", "script", "field"), EVERY)
def test_all_of_it(tmp_path: Path, declaration: str, script: str, field: str) -> None:
    check(tmp_path, declaration, script, field)


def test_the_site_s_own_name_is_declared_too(tmp_path: Path) -> None:
    """Plain ASCII images that declare nothing, and an institution that is not."""
    require("dciodvfy", "dicom3tools")
    ds = reread(header("charset", SpecificCharacterSet=None))
    for number, content in enumerate(written(ds, institution="Universitätsklinik")):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(content)
        assert dcmread(BytesIO(content)).SpecificCharacterSet == "ISO_IR 192"
        (verdict,) = dciodvfy([path])
        assert not verdict.errors


@pytest.mark.parametrize(
    ("term", "encoding", "name", "kept"),
    [
        ("GB18030", "gb18030", "Wang^X=王^小东", "GB18030"),
        ("GB18030", "gb18030", "Zhang^X=张乗^小东", "ISO_IR 192"),  # 乗 holds 5C
        ("GB18030", "gb18030", "Bi^X=昞^小", "ISO_IR 192"),  # 昞 holds 5E
        ("\\ISO 2022 IR 87", "iso2022_jp", "Honda^X=本田", "ISO_IR 192"),  # 本 holds 5C
    ],
)
def test_a_character_that_holds_a_delimiter_s_byte_leaves_in_unicode(
    term: str, encoding: str, name: str, kept: str
) -> None:
    values = {"SpecificCharacterSet": term.encode(), "PatientName": name.encode(encoding)}
    for content in written(with_bytes(reread(header("charset")), values)):
        out = dcmread(BytesIO(content))
        assert out.SpecificCharacterSet == kept
        assert str(out.PatientName) == name


@pytest.mark.parametrize(
    ("declared", "raw", "text"),
    [
        ("ISO_IR 100", "MÜLLER".encode(), "MÜLLER"),  # its bytes are no Latin-1 that anybody writes
        ("ISO_IR 100", "Müller".encode(), "MÃ¼ller"),  # these are: as every PACS shows the image
        ("ISO_IR 192", "Müller".encode("latin-1"), None),
        ("", b"\x1b$B\x4b\x5c\x1b(B", None),  # escapes to a set that is not declared
        ("", "王".encode("gb18030"), None),
        ("nonsense", "Müller".encode("latin-1"), None),
        ("\\ISO 2022 IR 149", "홍".encode("euc_kr"), None),  # without the escape
    ],
)
def test_characters_are_read_as_they_were_meant_or_not_at_all(
    declared: str, raw: bytes, text: str | None
) -> None:
    ds = with_bytes(Dataset(), {"SpecificCharacterSet": declared.encode(), "PatientName": raw})
    value = Reader(ds).one("PatientName")
    assert value.text == (text or "")
    assert bool(value.fault) is (text is None)


def test_bytes_that_could_be_either_are_neither() -> None:
    """A set of several bytes a character can be right by chance; one of one byte always is."""
    name = "张三"
    ds = with_bytes(Dataset(), {"PatientName": name.encode()})
    assert Reader(ds, "GB18030").one("PatientName").fault
    assert Reader(ds, "ISO_IR 100").one("PatientName").text == name
    ds = with_bytes(Dataset(), {"PatientName": name.encode("gb18030")})
    assert Reader(ds, "GB18030").one("PatientName").text == name


def test_no_byte_outside_ascii_leaves_undeclared() -> None:
    out = reread(header("charset"))
    out.StudyDescription = "Hüfte"
    seal(out, ())
    encoded(out)
    del out.SpecificCharacterSet
    with pytest.raises(CharacterSetUndeclared):
        encoded(out)
    item = Dataset()
    item.InstitutionName = "Universitätsklinik"
    out.StudyDescription, out.ContributingEquipmentSequence = "hip", [item]
    with pytest.raises(CharacterSetUndeclared):
        encoded(out)
