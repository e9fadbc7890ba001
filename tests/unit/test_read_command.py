"""`hipnode read`: what it writes, and under which names."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from pydicom import dcmread
from typer.testing import CliRunner

from hipnode.cli import app
from hipnode.phantom import read_manifest
from tests.senders import SAMPLES


@pytest.mark.slow
def test_no_result_takes_the_place_of_anothers(tmp_path: Path) -> None:
    """Files of two folders have one name, as on a disc; two UIDs differ in their last part."""
    names = ("a/IM1", "b/IM1", "1.2.3", "1.2.4")
    sources = dict(zip(names, [*SAMPLES, SAMPLES[0]], strict=True))
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / name)
    files = [str(tmp_path / name) for name in names]
    done = CliRunner().invoke(app, ["read", *files, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert f"{tmp_path / 'b/IM1'}: its results are called IM1-2" in done.output
    reports = {path.name: dcmread(path) for path in (tmp_path / "out").glob("*-sr.dcm")}
    for own, name in zip(names, ("IM1", "IM1-2", "1.2.3", "1.2.4"), strict=True):
        assert reports[f"{name}-sr.dcm"].PatientID == dcmread(sources[own]).PatientID
        assert (tmp_path / "out" / f"{name}-report.txt").is_file()


@pytest.mark.slow
def test_of_a_folder_of_phantoms_the_radiographs_are_read(tmp_path: Path) -> None:
    made = ["phantom", "--out", str(tmp_path), "--count", "3", "--seed", "4", "--recipe", "dxa"]
    assert CliRunner().invoke(app, made).exit_code == 0
    Image.new("L", (64, 64)).save(tmp_path / "mask.png")
    manifest = tmp_path / "manifest.csv"
    rows = read_manifest(manifest)
    rows[0]["implant_mask"] = "mask.png"
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    done = CliRunner().invoke(app, ["read", "--json", str(tmp_path)])
    assert done.exit_code == 0, done.output
    read = [Path(json.loads(line)["file"]).name for line in done.stdout.splitlines()]
    assert read == [row["file"] for row in rows]
    with manifest.open("a", newline="") as file:
        file.write("cut-short.dcm\n")
    done = CliRunner().invoke(app, ["read", "--json", str(tmp_path)])
    assert len(done.stdout.splitlines()) == len(rows), done.output
    manifest.write_bytes(b"\xff\xfe\0")
    done = CliRunner().invoke(app, ["read", "--json", str(tmp_path)])
    assert len(done.stdout.splitlines()) == len(rows) + 1, "the mask is nothing known now"
