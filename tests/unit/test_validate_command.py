"""`hipnode validate` as a data scientist runs it: real phantoms, the shipped models, a page."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from typer.testing import CliRunner, Result

from hipnode import imaging
from hipnode.cli import app
from hipnode.domain import Header, OperatingPoint, Radiograph, Role, Side
from hipnode.nets import ModelSet, load_model_set, set_digest
from hipnode.nets.bundle.setfile import pins
from hipnode.reading import ReadPolicy, read
from hipnode.services.modelsets import ModelSets
from hipnode.services.worker import reader
from hipnode.settings import ModelSetRule, Settings
from hipnode.validation.apply import apply
from hipnode.validation.cases import Case, Gathered, read_folder
from hipnode.validation.labels import Label, Words, read_labels
from hipnode.validation.outcomes import SUSPECTED, Unit, count
from tests.peers import ROOT, run, shared_data

pytestmark = pytest.mark.slow

SAMPLES = ROOT / "hipnode" / "phantom" / "samples"
_HEAVY = ("torch", "monai", "sklearn", "statsmodels", "mapie", "matplotlib", "onnx")
_PLAIN = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {_HEAVY!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from hipnode.cli import main
main()
"""


def validate(*arguments: object, ok: bool = True) -> Result:
    """Run the command."""
    done = CliRunner().invoke(app, ["validate", *map(str, arguments)])
    assert (done.exit_code == 0) is ok, done.output
    return done


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged phantoms, and some more: a broken one twice, a changed header, no image."""
    folder = tmp_path_factory.mktemp("images")
    for file in SAMPLES.glob("*.dcm"):
        shutil.copy(file, folder)
    dataset = dcmread(SAMPLES / "fracture.dcm")
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.AccessionNumber, dataset.StationName = "ACC-7", "ROOM 7"
    dataset.save_as(folder / "again.dcm")
    dataset = dcmread(SAMPLES / "normal.dcm")
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.5"
    dataset.PixelData = encapsulate([b"no codestream."])
    dataset.save_as(folder / "damaged.dcm")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def labels(samples: Path) -> Path:
    file = samples.parent / "labels.csv"
    normal = dcmread(samples / "normal.dcm").SOPInstanceUID
    file.write_text(
        "file,sop_instance_uid,accession_number,label,right_label,left_label,sex\n"
        "fracture.dcm,,,,0,trochanteric,F\n"
        f",{normal},,no,,,\n"
        "implant.dcm,,,normal,,,\n"
        ",,ACC-7,yes,,,\n"
        ",,ACC-8,yes,,,\n"
        "gone.dcm,,,0,,,\n"
        "damaged.dcm,,,0,,,\n"
        "notes.txt,,,0,,,\n"
        "again.dcm,,,perhaps,,,\n"
    )
    return file


def test_the_page_says_what_was_said_and_what_could_not_be_used(
    samples: Path, labels: Path, tmp_path: Path
) -> None:
    """As the plain installation has it: without the libraries of training."""
    command = [sys.executable, "-c", _PLAIN, "validate", samples, "--labels", labels]
    done = run([*command, "--out", tmp_path / "report"], timeout_s=280)
    assert "2 images with a fracture: 2 fracture, definite" in done.stdout
    assert "3 images without: 2 refused, 1 none seen" in done.stdout
    for said in ("line 6: ACC-8: no image has it", "line 7: gone.dcm: there is no such file",
                 "line 9: notes.txt: ", "line 10: again.dcm: 'perhaps' is neither"):  # fmt: skip
        assert said in done.stderr, said
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "INVESTIGATIONAL - NOT FOR CLINICAL USE" in page
    assert "There are only 2 with a fracture: too few" in page
    assert re.findall(r"""(?:src|href)=["']?(?!data:)""", page) == []
    assert "<script" not in page
    assert "url(" not in page
    assert "ROOM 7" in page
    results = json.loads((tmp_path / "report" / "results.json").read_text(encoding="utf-8"))
    assert results["parts"]["images"]["auc"] is None
    assert results["parts"]["hips"]["broken"]["said"]["fracture, definite"] == 1
    assert len(results["unused"]) == 4
    with (tmp_path / "report" / "images.csv").open(encoding="utf-8") as file:
        why = {row["image"]: row["why"] for row in csv.DictReader(file)}
    assert (why["implant.dcm"], why["damaged.dcm"]) == ("implant", "undecodable")
    assert (tmp_path / "report" / "index.html").stat().st_mode & 0o077 == 0


def test_a_phantoms_manifest_is_a_file_of_labels(tmp_path: Path) -> None:
    done = validate(SAMPLES, "--labels", SAMPLES / "manifest.csv", "--out", tmp_path)
    assert "1 images with a fracture: 1 fracture, definite" in done.stdout
    assert "no thresholds proposed" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [(), (".",), (".", "--labels", "x", "--broken", "y"), ("--broken", "y"),
     (".", "--labels", "x.csv", "--from-node"), ("--from-node",),
     (".", "--labels", "x.csv", "--false-alarms", "0.01", "--definite-false-alarms", "0.4"),
     (".", "--labels", "x.csv", "--false-alarms", "nan")],
    ids=" ".join,
)  # fmt: skip
def test_what_does_not_go_together_is_said(arguments: Sequence[str], tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("file,label\na,1\n")
    given = [str(tmp_path / a) if a == "x.csv" else a for a in arguments]
    assert validate(*given, ok=False).exit_code == 2


def test_one_image_that_is_called_broken_and_intact_is_left_out_and_named(tmp_path: Path) -> None:
    broken, intact = tmp_path / "broken", tmp_path / "intact"
    for folder in (broken, intact):
        folder.mkdir()
        shutil.copy(SAMPLES / "fracture.dcm", folder / f"{folder.name}.dcm")
    shutil.copy(SAMPLES / "normal.dcm", intact)
    Image.new("L", (64, 64)).save(broken / "x.jpg")
    (intact / "y.jpg").symlink_to(broken / "x.jpg")
    out = tmp_path / "report"
    done = validate("--broken", broken, "--intact", intact, "--out", out, "--gallery", "0")
    assert "0 images with a fracture" in done.stdout
    assert "1 images without" in done.stdout
    for pair in ("broken/broken.dcm, intact/intact.dcm", "broken/x.jpg, intact/y.jpg"):
        assert done.stderr.count(f"{pair} are one image, and contradict each other") == 2


# --- thresholds, and what they do -------------------------------------------------------------


def _spec(model_set: object) -> reader.ReaderSpec:
    settings = Settings().model_copy(
        update={"worker": Settings().worker.model_copy(update={"model_set": str(model_set)})}
    )
    return replace(reader.reader_spec(settings), threads=1)


def _apply(tmp_path: Path, doubtful: float, present: float) -> Path:
    digest = pins()["fracture"][1]
    made = apply("default", digest, tmp_path / f"set-{doubtful}", doubtful_from=doubtful,
                 present_from=present, chosen_on="a test")  # fmt: skip
    return made.path


def _images() -> list[Path]:
    """Phantoms; and radiographs in which unusual, cut off and single hips are."""
    folder = shared_data("fracatlas", "hip")
    names = [
        f"IMG000{n}.jpg" for n in ("0097", "0098", "0395", "0680", "0798", "0814", "1826", "1878")
    ]
    real = [folder / name for name in names if (folder / name).is_file()]
    assert real
    return [*sorted(SAMPLES.glob("*.dcm")), *real]


def test_at_any_threshold_the_node_suspects_what_the_scores_say(tmp_path: Path) -> None:
    """The proposal counts on it: a score is the highest threshold at which a hip is suspected."""
    loaded = {file: _load(file) for file in _images()}
    models = load_model_set("default", device="cpu", threads=1)

    def counted(models: ModelSet) -> dict[Path, Unit]:
        label = Label("", "file", "", False)
        cases = tuple(
            Case(str(file), label, read(*image, models, ReadPolicy()))
            for file, image in loaded.items()
        )
        return dict(zip(loaded, count(Gathered(cases, ())).images, strict=True))

    units = counted(models)
    unsaid = [
        hip.abstention.p_judged
        for unit in units.values()
        if unit.case and unit.case.reading
        for hip in unit.case.reading.hips
        if hip.abstention
    ]
    assert any(p is not None for p in unsaid), "no hip to look at is among them"
    scores = sorted({u.scores.suspected for u in units.values() if u.scores.suspected is not None})
    for threshold in (scores[1] + 1e-4, min(0.999, scores[-2] + 1e-4)):
        for file, now in counted(_with_threshold(models, threshold)).items():
            suspected = units[file].scores.suspected
            assert (now.said in SUSPECTED) == ((suspected or 0) >= threshold), file.name


def _load(file: Path) -> tuple[Header, Radiograph]:
    picture = file.suffix in imaging.PICTURE_SUFFIXES
    return (imaging.load_picture if picture else imaging.load)(file)


def _with_threshold(models: ModelSet, doubtful: float) -> ModelSet:
    fracture = models.models[Role.FRACTURE]
    point = OperatingPoint("test", doubtful, max(0.99, doubtful))
    changed = replace(fracture, spec=replace(fracture.spec, operating_point=point))
    return replace(models, models={**models.models, Role.FRACTURE: changed})


def test_a_set_with_other_thresholds_is_another_set_and_nothing_else_in_it_is(
    tmp_path: Path,
) -> None:
    path = _apply(tmp_path, 0.6, 0.95)
    made, shipped = load_model_set(path, device="cpu", threads=1), pins()
    assert made.digest != set_digest()
    for role, (_, digest) in pins(path).items():
        assert (digest == shipped[role][1]) == (role != "fracture"), role
    spec = next(m.spec for r, m in made.models.items() if r == "fracture")
    assert (spec.operating_point.doubtful_from, spec.operating_point.present_from) == (0.6, 0.95)
    folder = path.parent / "murphy2022-cnn2"
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    assert metadata["hipnode"]["operating_point"]["chosen_on"] == "a test"
    assert metadata["hipnode"]["version"] == metadata["version"] == spec.version
    assert int(spec.version.rpartition(".")[2]) >= 1000
    assert not (folder / "MANIFEST.ed25519").exists()
    assert "Chosen on: a test" in (folder / "docs" / "README.md").read_text()


def test_it_can_be_shadowed_by_the_nodes_settings(tmp_path: Path) -> None:
    path = _apply(tmp_path, 0.6, 0.95)
    rule = ModelSetRule(set=str(path), shadow=True)
    worker = Settings().worker.model_copy(update={"model_sets": (rule,)})
    assert ModelSets(worker).choose({}).shadows == (set_digest(path),)


def test_a_set_is_never_written_over(tmp_path: Path) -> None:
    _apply(tmp_path, 0.6, 0.95)
    with pytest.raises(Exception, match="never replaced"):
        _apply(tmp_path, 0.6, 0.95)


def test_what_cannot_be_written_is_said_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels.csv").write_text("file,label\na.dcm,1\n", encoding="utf-8")
    given = ["validate", str(tmp_path / "images"), "--labels", str(tmp_path / "labels.csv")]
    for more, why in (
        (["--out", str(tmp_path / "labels.csv")], "is no folder"),
        (["--out", str(tmp_path / "r"), "--apply", str(tmp_path / "images")], "never replaced"),
    ):
        done = CliRunner().invoke(app, [*given, *more], env={"COLUMNS": "300"})
        assert done.exit_code == 2
        assert why in done.output
    assert not (tmp_path / "r").exists()


# --- real radiographs -------------------------------------------------------------------------


def test_two_folders_of_real_radiographs_to_a_set_with_thresholds(tmp_path: Path) -> None:
    """The halves of FracAtlas (Abedeen 2023, CC BY 4.0); a few of them are labelled wrongly."""
    real = shared_data("fracatlas")
    folders = {}
    for name, few in (("broken_hip", 11), ("hip", 24)):
        folders[name] = tmp_path / name
        folders[name].mkdir()
        for file in sorted((real / name).glob("*.jpg"))[:: 8 if name == "hip" else 1][:few]:
            shutil.copy(file, folders[name])
    done = validate(
        "--broken", folders["broken_hip"], "--intact", folders["hip"], "--out", tmp_path / "report",
        "--false-alarms", "0.2", "--apply", tmp_path / "site", "--gallery", "3",
    )  # fmt: skip
    written = tmp_path / "site" / "default-site.toml"
    assert f"sha256 = {set_digest(written)}" in done.stdout
    results = json.loads((tmp_path / "report" / "results.json").read_text(encoding="utf-8"))
    images: dict[str, Any] = results["parts"]["images"]
    assert (images["broken"]["total"], images["intact"]["total"]) == (11, 24)
    assert sum(images["broken"]["said"].values()) == 11
    proposal = results["proposal"]
    assert proposal["false_alarms"]["count"] <= 0.2 * 24
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") >= 3
    assert len(page) < 3_000_000
    spec = load_model_set(written, device="cpu", threads=1).models
    point = next(m.spec.operating_point for r, m in spec.items() if r == "fracture")
    assert point.doubtful_from == proposal["doubtful_from"]


def test_a_set_is_evaluated_on_one_split_of_a_manifest(samples: Path, tmp_path: Path) -> None:
    manifest = samples / "manifest.csv"
    manifest.write_text(
        "file,patient_id,split,view,right_label,left_label\n"
        "fracture.dcm,P1,test,frontal,no_fracture,trochanteric\n"
        "normal.dcm,P2,test,frontal,no_fracture,no_fracture\n"
        "again.dcm,P3,train,frontal,no_fracture,trochanteric\n"
    )
    command = ["evaluate", "--data", str(manifest), "--out", str(tmp_path / "report")]
    done = CliRunner().invoke(app, [*command, "--model-set", "default"])
    assert done.exit_code == 0, done.output
    assert "1 images with a fracture: 1 fracture, definite" in done.output
    assert "1 images without: 1 none seen" in done.output
    other = CliRunner().invoke(app, [*command, "--model-set", "default", "--split", "val"])
    assert "no row of the split 'val'" in str(other.exception)
    for wrong in ([], ["fracture", "--model-set", "default"], ["--model-set", "x", "--maps", "1"]):
        assert CliRunner().invoke(app, [*command, *wrong]).exit_code == 2


def test_the_reading_is_the_workers_own(samples: Path, labels: Path) -> None:
    given, _ = read_labels(labels, Words())
    spec = _spec("default")
    gathered = read_folder(samples, given, spec, ModelSets(Settings().worker))
    case = next(c for c in gathered.cases if c.name == "fracture.dcm")
    direct = reader.read_image(spec, samples / "fracture.dcm")
    assert case.reading is not None
    assert replace(case.reading, timings_ms={}) == replace(direct, timings_ms={})
    assert case.label.sides == {Side.RIGHT: False, Side.LEFT: True}
