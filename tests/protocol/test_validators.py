"""Every object of every case before the validators that hospitals and connectathons use.

dciodvfy and PixelMed: no error, and no warning but those with a reason in
`hipnode.cli.conform.KNOWN_WARNINGS` (pitfall 3); dsrdump and highdicom read every report.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
import typer
from pydicom import dcmread
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from hipnode.cli import conform as command
from hipnode.cli.conform import KNOWN_WARNINGS, PIXELMED_JAR, Verdict, dciodvfy, dsrdump, pixelmed
from hipnode.domain import ResultKind, Side
from hipnode.phantom import load_recipe
from hipnode.phantom.batch import Order, make_all
from hipnode.reporting import ReportRequest, build, read_back
from tests import cases, headers
from tests.archive import Orthanc
from tests.factory import as_cr, hip, radiograph, reading
from tests.peers import require, require_file


def _named(script: str) -> ReportRequest:
    read = reading([hip(Side.RIGHT, 0.97), hip(Side.LEFT, None)])
    return cases.request(cases.source("1", read, ds=headers.named(script)))


def _computed_radiograph() -> ReportRequest:
    ds = as_cr(radiograph("cr"))
    return cases.request(cases.source("cr", reading([hip(Side.LEFT, 0.3)], "cr"), ds=ds))


STUDIES: dict[str, Callable[[], ReportRequest]] = {
    **{f"case {n}": (lambda n=n: cases.CASES[n].request(n)) for n in cases.CASES},
    **{f"name {n}": (lambda n=n: _named(n)) for n in headers.NAMES},
    **{f"input {n}": (lambda n=n: headers.variant(n)) for n in headers.VARIANTS},
    "input cr": _computed_radiograph,
}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """The files of each study, in a folder of their own."""
    root = tmp_path_factory.mktemp("objects")
    files: dict[str, list[Path]] = {}
    for number, (name, make) in enumerate(STUDIES.items()):
        for order, built in enumerate(build(make())):
            path = root / f"{number:02d}-{order}-{built.kind.value}.dcm"
            path.write_bytes(built.to_bytes())
            files.setdefault(name, []).append(path)
    return files


def clean(verdicts: Iterator[Verdict]) -> int:
    """Assert that there is no error and no unknown warning; return how many files there were."""
    found = list(verdicts)
    complaints = [
        f"{v.validator} {Path(v.path).name}: {line}"
        for v in found
        for line in v.errors + v.warnings
    ]
    assert not complaints, "\n".join(complaints)
    return len(found)


def of_kind(files: Sequence[Path], *kinds: ResultKind) -> list[Path]:
    """Return the files of these kinds."""
    return [f for f in files if f.stem.rsplit("-", 1)[-1] in {k.value for k in kinds}]


@pytest.mark.parametrize("study", STUDIES)
def test_dciodvfy_passes_every_object(study: str, objects: dict[str, list[Path]]) -> None:
    require("dciodvfy", "dicom3tools")
    assert clean(dciodvfy(objects[study])) == len(objects[study])


def test_dsrdump_reads_every_report(objects: dict[str, list[Path]]) -> None:
    require("dsrdump", "dcmtk")
    for files in objects.values():
        clean(dsrdump(of_kind(files, ResultKind.SR, ResultKind.TEXT)))


def test_highdicom_reads_every_measurement_report(objects: dict[str, list[Path]]) -> None:
    for files in objects.values():
        for path in of_kind(files, ResultKind.SR):
            assert read_back(path)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measurement report of the SOP Class that older archives take."""
    wanted = cases.request(
        cases.source("1", reading([hip(Side.RIGHT, 0.97)])),
        sr_classes=("comprehensive",),
        objects=frozenset({ResultKind.SR}),
    )
    (built,) = build(wanted)
    path = tmp_path_factory.mktemp("older") / "older-sr.dcm"
    path.write_bytes(built.to_bytes())
    return path


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measurement report with a flag, a concept name and the regions missing."""
    request = cases.CASES["negative"].request("negative")
    built = next(b for b in build(request) if b.kind is ResultKind.SR)
    sr = dcmread_bytes(built.to_bytes())
    del sr.CompletionFlag
    first, second = sr.ContentSequence[-2].ContentSequence
    del first.ContentSequence[2].ConceptNameCodeSequence
    second.ContentSequence = second.ContentSequence[:2]
    path = tmp_path_factory.mktemp("broken") / "broken-sr.dcm"
    sr.save_as(path, enforce_file_format=True)
    return path


def test_pixelmed_passes_every_kind_of_report(
    objects: dict[str, list[Path]], older: Path, broken: Path
) -> None:
    """All in one Java process, which takes seconds to start; and it does complain."""
    require("java", "default-jdk-headless")
    require_file(str(PIXELMED_JAR), "libpixelmed-java")
    files = [f for of in objects.values() for f in of]
    chosen = [*of_kind(files, ResultKind.SR, ResultKind.TEXT), older]
    *verdicts, last = pixelmed([*chosen, broken])
    assert clean(iter(verdicts)) == len(chosen) > len(STUDIES)
    assert last.errors


def test_the_older_sop_class_passes_too(older: Path) -> None:
    require("dciodvfy", "dicom3tools")
    clean(dciodvfy([older]))
    assert read_back(older)


def test_the_validators_do_complain(broken: Path) -> None:
    """A broken report is an error of each: the tests above can fail."""
    for program, package in (("dciodvfy", "dicom3tools"), ("dsrdump", "dcmtk")):
        require(program, package)
    assert all(next(v([broken])).errors for v in (dciodvfy, dsrdump))
    with pytest.raises(ValueError, match="highdicom cannot read it"):
        read_back(broken)


def test_the_input_of_these_tests_is_valid_itself(tmp_path: Path) -> None:
    require("dciodvfy", "dicom3tools")
    for name, ds in {
        "dx": radiograph(),
        "monochrome1": radiograph(PhotometricInterpretation="MONOCHROME1"),
    }.items():
        path = tmp_path / f"{name}.dcm"
        ds.save_as(path, enforce_file_format=True)
        assert not next(dciodvfy([path])).errors


def test_every_known_warning_has_a_reason_and_still_occurs(objects: dict[str, list[Path]]) -> None:
    require("dciodvfy", "dicom3tools")
    assert all(reason for known in KNOWN_WARNINGS.values() for _, reason in known)
    said = "".join(
        subprocess.run(["dciodvfy", f], capture_output=True, check=False).stderr.decode()
        for f in objects["case positive-right"] + objects["input no type 2"] + objects["input bare"]
    )
    for pattern, _ in KNOWN_WARNINGS["dciodvfy"]:
        assert re.search(pattern, said), pattern


# --- the command ------------------------------------------------------------------------------


def test_conform_runs_what_is_installed_over_a_folder(tmp_path: Path) -> None:
    require("dciodvfy", "dicom3tools")
    for built in build(cases.CASES["positive-right"].request("p")):
        (tmp_path / f"{built.kind.value}.dcm").write_bytes(built.to_bytes())
    app = typer.Typer()
    app.command()(command.conform)
    done = CliRunner().invoke(app, [str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "5 files" in done.output
    assert ": 0 errors, 0 warnings" in done.output
    broken = dcmread(tmp_path / "capture.dcm")
    del broken.ConversionType
    broken.save_as(tmp_path / "broken.dcm")
    done = CliRunner().invoke(app, [str(tmp_path / "broken.dcm")])
    assert done.exit_code == 1
    assert "ERROR dciodvfy" in done.output


# --- the archive ------------------------------------------------------------------------------


def test_objects_come_back_from_an_archive_as_they_were(orthanc: Orthanc) -> None:
    """Stored, sent again (pitfall 8), fetched: one object, the same content."""
    built = build(cases.CASES["positive-both"].request("both"))
    for _ in range(2):
        for b in built:
            orthanc.store(b.to_bytes())
    assert orthanc.sop_instance_uids() == sorted(b.sop_instance_uid for b in built)
    for b in built:
        fetched = orthanc.fetch(b.sop_instance_uid)
        assert fetched.to_json() == dcmread_bytes(b.to_bytes()).to_json()


def dcmread_bytes(data: bytes) -> Dataset:
    """Return the data set of a file's bytes."""
    return dcmread(BytesIO(data))


@pytest.mark.parametrize("script", headers.NAMES)
def test_names_are_found_in_an_archive(script: str, orthanc: Orthanc) -> None:
    """Orthanc reads a report's name at least as well as it reads the source's.

    Debian's knows no code extensions (ISO 2022), in the image or in the report of it.
    """
    orthanc.store(file_of(headers.named(script)))
    (of_source,) = orthanc.get("/patients?expand")
    orthanc.clear()
    for built in build(_named(script)):
        orthanc.store(built.to_bytes())
    (of_report,) = orthanc.get("/patients?expand")
    shown = of_report["MainDicomTags"]["PatientName"].rstrip("^")
    assert shown in (
        headers.NAMES[script][1].rstrip("^"),
        of_source["MainDicomTags"]["PatientName"],
    )


def file_of(ds: Dataset) -> bytes:
    """Return a data set as a DICOM file."""
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("recipe", ["training", "dxa"])
def test_simulated_images_are_valid(recipe: str, tmp_path: Path) -> None:
    """No error and no warning, whatever the view and the photometric interpretation."""
    program = require("dciodvfy", "dicom3tools")
    chosen = replace(
        load_recipe(recipe), anatomies={"train": 1, "val": 1, "test": 1}, cache_dir=tmp_path / "c"
    )
    for made in make_all(Order(chosen, 4, tmp_path, size_px=200), 8, jobs=1):
        done = subprocess.run(
            [program, str(tmp_path / made.file)], capture_output=True, text=True, check=False
        )
        assert not re.findall(r"^(?:Error|Warning).*", done.stderr + done.stdout, re.MULTILINE)
