"""`hipnode relabel` takes an expert's answers back: all of them, or it says why not."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

pytest.importorskip("torch")

from hipnode.cli import app
from hipnode.errors import ManifestInvalid

MANIFEST = (
    "file,patient_id,right_label,left_label\n"
    "a.png,P1,fracture,no_fracture\n\n"
    'b.png,"P\n2",no_fracture,no_fracture\n'
)
HEAD = "line,file,patient_id,side,label,p_positive,kind,answer\n"
ONE = f"{HEAD}4,b.png,P2,left,no_fracture,0.9,false positive,trochanteric\n"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    file = tmp_path / "manifest.csv"
    file.write_text(MANIFEST)
    return file


def relabel(manifest: Path, *arguments: object) -> Result:
    command = ["relabel", "nothing", "--data", str(manifest), *map(str, arguments)]
    return CliRunner().invoke(app, command)


def answered(manifest: Path, text: str | bytes) -> Result:
    answers = manifest.with_name("work.csv")
    answers.write_bytes(text if isinstance(text, bytes) else text.encode())
    return relabel(manifest, "--answers", answers, "--out", manifest.with_name("new.csv"))


@pytest.mark.parametrize(
    "text",
    [ONE, ONE.replace(",", ";"), ONE.replace(",", "\t"), ONE.replace(",answer", ",Answer"),
     ONE.replace("left", "gauche").replace("no_fracture,0.9", "\xfc,0.9").encode("cp1252"),
     ONE + ONE.removeprefix(HEAD)],
)  # fmt: skip
def test_answers_are_taken_as_a_spreadsheet_saves_them(manifest: Path, text: str | bytes) -> None:
    done = answered(manifest, text)
    assert done.exit_code == 0, done.exception
    assert "1 labels changed, 0 confirmed" in done.output
    with manifest.with_name("new.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["left_label"] for row in rows] == ["no_fracture", "trochanteric"]
    assert [row["patient_id"] for row in rows] == ["P1", "P\n2"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (ONE.replace(",answer", ",said"), "no column answer"),
        (ONE + ONE.removeprefix(HEAD).replace("trochanteric", "fracture"), "another answer"),
        (ONE.replace("left", "lato destro"), "no column for the side 'lato destro'"),
        (ONE.replace("left", "?"), "no column for the side"),
        (ONE.replace("4,b", "3,b"), "another manifest"),
        (ONE.replace("trochanteric", "yes,2"), "line 2 has more cells"),
        (ONE.replace("left", '"left'), "line 2: "),
        (ONE.encode("utf-16"), "no text"),
    ],
)
def test_an_answer_that_would_be_lost_is_refused_and_nothing_written(
    manifest: Path, text: str | bytes, why: str
) -> None:
    done = answered(manifest, text)
    assert isinstance(done.exception, ManifestInvalid)
    assert why in str(done.exception)
    assert {file.name for file in manifest.parent.iterdir()} == {"manifest.csv", "work.csv"}


def test_a_manifest_with_a_row_too_long_leaves_the_new_one_as_it_was(manifest: Path) -> None:
    (new := manifest.with_name("new.csv")).write_text("before")
    manifest.write_text(MANIFEST + "c.png,P3,fracture,fracture,fracture\n")
    assert "line 6 has more cells" in str(answered(manifest, ONE).exception)
    assert new.read_text() == "before"


def test_files_that_are_not_there_are_refused(manifest: Path) -> None:
    gone, new = manifest.with_name("gone.csv"), manifest.with_name("new.csv")
    (work := manifest.with_name("work.csv")).write_text(ONE)
    for data, answers in ((manifest, gone), (gone, work)):
        done = relabel(data, "--answers", answers, "--out", new)
        assert isinstance(done.exception, ManifestInvalid)
        assert f"{gone} cannot be read" in str(done.exception)


def test_answers_are_never_written_over(manifest: Path) -> None:
    (work := manifest.with_name("work.csv")).write_text(ONE)
    done = relabel(manifest, "--out", work)
    assert "has answers" in str(done.exception)
    assert work.read_text() == ONE


def test_what_is_read_is_never_written_over(manifest: Path) -> None:
    (work := manifest.with_name("work.csv")).write_text(ONE)
    (link := manifest.with_name("link.csv")).symlink_to(manifest)
    for arguments in (["--out", manifest], ["--out", link], ["--answers", work, "--out", work],
                      ["--answers", work, "--out", link]):  # fmt: skip
        assert relabel(manifest, *arguments).exit_code == 2
    assert (manifest.read_text(), work.read_text()) == (MANIFEST, ONE)


@pytest.mark.parametrize(
    "arguments",
    [("--threshold", "nan"), ("--threshold", "-5"), ("--threshold", "1.5"), ("--simulate", "nan"),
     ("--simulate", "0"),
     ("--simulate", "0.1", "--answers", "work.csv")],
)  # fmt: skip
def test_an_option_that_would_do_nothing_is_refused(
    manifest: Path, arguments: tuple[str, ...]
) -> None:
    assert relabel(manifest, "--out", manifest.with_name("new.csv"), *arguments).exit_code == 2
