"""A league in miniature: cells are played once, known again, and told in a table that holds."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("onnx")
pytest.importorskip("sklearn")
pytest.importorskip("statsmodels")

from typer.testing import CliRunner, Result

from hipnode.cli import app
from hipnode.errors import InputRefused
from hipnode.phantom import read_manifest
from hipnode.training.league import findings
from hipnode.training.league.cells import cells, key_of, known
from hipnode.training.league.compare import compare
from hipnode.training.league.images import MADE_OF, images
from hipnode.training.league.page import page
from hipnode.training.league.profiles import PROFILES, TASKS, UNTRAINED
from hipnode.training.stats.paired import Area
from tests.peers import ROOT

SMOKE = PROFILES["smoke"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many hips as the profile has people: the brighter, the denser; age tells a part."""
    at = tmp_path_factory.mktemp("league") / "data" / "hips"
    at.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for index in range(88):
        ill = index % 2
        pixels = rng.normal(60, 8, (48, 48))
        pixels[16:32, 8:40] += 30 + 90 * (1 - ill)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(at / f"{index:02d}.png")
        rows.append(
            {
                "file": f"{index:02d}.png", "patient_id": f"P{index:02d}",
                "split": "train" if index < 48 else "val" if index < 64 else "test",
                "view": "one_hip", "right_box": "4 4 44 44", "right_label": "no_fracture",
                "osteoporosis": ill, "age": 70 + 8 * ill + rng.normal(0, 6), "sex": "F",
                "bmi": 24.0 + rng.normal(), "hip_fracture_history": (index % 3 == 0 and 1) or 0,
                "cortex_t": -3.0 * ill + rng.normal(), "trabecular_t": -2.0 * ill, "singh": 3,
                "size": 1.0,
            }
        )  # fmt: skip
    with (at / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return at.parents[1]


@pytest.mark.slow
def test_a_league_is_played_known_again_and_told(folder: Path) -> None:
    command = [
        "league", "--profile", "smoke", "--only", "yamamoto2020-googlenet*", "--seeds", "1",
        "--out", str(folder),
    ]  # fmt: skip
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    assert first.output.count("learns") == 2
    again = CliRunner().invoke(app, command)
    assert again.output.count("learns") == 0, "a finished cell is not played again"
    document = json.loads((folder / "league.json").read_text())
    rows = {row["system"]: row for row in document["tasks"]["osteoporosis"]["rows"]}
    assert rows.keys() == {"yamamoto2020-googlenet", "yamamoto2020-googlenet-clinical"}
    for row in rows.values():
        value, low, high = row["value"]
        assert low <= value <= high
        assert row["served_ms"] > 0
        assert 0 <= row["elsewhere"] <= 1
    assert rows["yamamoto2020-googlenet"]["printed"] == {"AUC": "0.9064", "accuracy": "0.8407"}
    assert [one["claim"] for one in document["findings"]] == ["clinical covariates help googlenet"]
    yardsticks = {
        one["name"]: one["auc"][0] for one in document["tasks"]["osteoporosis"]["yardsticks"]
    }
    assert max(yardsticks.values()) > 0.9  # the latents tell all here
    text = (folder / "league.md").read_text()
    assert text == page(document)
    assert "NOT FOR CLINICAL USE" in text
    assert Image.open(folder / "league.png").width > 300
    elsewhere = read_manifest(folder / "data" / "hips-external" / "manifest.csv")
    assert len(elsewhere) == 24
    assert not any("-19-" in row["patient_id"] for row in elsewhere), "as people here are called"
    one, other = (
        next((folder / "osteoporosis" / name / "seed-0").glob("*/bundle")) for name in rows
    )
    manifest = folder / "data" / "hips" / "manifest.csv"
    found = compare(one, other, manifest, folder / "pair", views=("one_hip",))
    values = {figure.name: figure.value for figure in found}
    assert values["AUC, other less one"] == pytest.approx(values["AUC, other"] - values["AUC, one"])
    assert 0 <= values["p of the difference (DeLong)"] <= 1
    with pytest.raises(InputRefused, match="all samples are of one class"):
        compare(one, other, _of_one_class(manifest), folder / "pair", views=("one_hip",))


def _of_one_class(manifest: Path) -> Path:
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = manifest.with_name("healthy.csv")
    with found.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row["osteoporosis"] == "0")
    return found


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("murphy2022-cnn1", "murphy2022-cnn1", "a localiser names no class"),
        ("murphy2022-cnn2", "dxa2023-resnet18", "two roles, fracture and risk"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_an_image_is_read(
    tmp_path: Path, one: str, other: str, why: str
) -> None:
    models = ROOT / "hipnode" / "models"
    with pytest.raises(InputRefused, match=why):
        compare(models / one, models / other, tmp_path / "none.csv", tmp_path / "pair")
    assert not (tmp_path / "pair").exists()


CLINICAL = "dxa2023-clinical"


def league(folder: Path, *options: str) -> Result:
    command = ["league", "--out", str(folder), "--profile", "smoke", "--only", CLINICAL]
    return CliRunner().invoke(app, [*command, *options])


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A league of one row and two seeds."""
    at = tmp_path_factory.mktemp("played")
    done = league(at, "--seeds", "2")
    assert done.exit_code == 0, done.output
    return at


@pytest.fixture
def copy(played: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(played, tmp_path / "league"))


@pytest.mark.slow
def test_fewer_seeds_or_no_row_leave_the_tables_as_they_are(copy: Path) -> None:
    before = (copy / "league.json").read_text()
    assert json.loads(before)["tasks"]["risk"]["rows"][0]["seeds"] == 2
    done = league(copy, "--seeds", "1")
    assert (done.exit_code, done.output.count("learns")) == (0, 0)
    assert (copy / "league.json").read_text() == before
    refused = league(copy, "--only", "nothing*")
    assert str(refused.exception) == "no row or task is 'nothing*'"


@pytest.mark.slow
def test_a_folder_is_of_one_profile(copy: Path) -> None:
    """Also where no cell is finished, and where nothing says what the images were made of."""
    before = {path: path.read_bytes() for path in copy.rglob("*.json")}
    refused = league(copy, "--profile", "cpu")
    assert "is a league of profile smoke" in str(refused.exception)
    assert {path: path.read_bytes() for path in copy.rglob("*.json")} == before
    (copy / "data" / "falls" / MADE_OF).unlink()
    assert league(copy).output.count("learns") == 1, "the third seed, on the same images"
    shutil.rmtree(copy / "risk")
    refused = league(copy, "--profile", "cpu")
    assert "people {'train': 48, 'val': 16, 'test': 24}, not" in str(refused.exception)
    assert not (copy / "risk").exists()


@pytest.mark.slow
def test_a_row_whose_images_are_gone_is_named(copy: Path) -> None:
    """The tables hold what is there; it is there again, and not learned anew, with the images."""
    before = (copy / "league.json").read_text()
    shutil.move(copy / "data" / "falls", copy / "falls")
    done = league(copy, "--only", "yamamoto2020-resnet18", "--minutes", "0.00001")
    assert "there was no time" in str(done.exception)
    assert done.output.count("its images are gone") == 2
    assert (copy / "league.json").read_text() == before
    shutil.move(copy / "falls", copy / "data" / "falls")
    assert league(copy, "--seeds", "2").output.count("learns") == 0
    assert (copy / "league.json").read_text() == before


@pytest.mark.slow
def test_a_cell_that_cannot_be_played_is_left_out_and_named(copy: Path) -> None:
    """What else is played tonight is played, and the tables hold what there is."""
    before = (copy / "league.json").read_text()
    images = sorted((copy / "data" / "falls").glob("*.dcm"))
    for image in images:
        image.rename(image.with_suffix(".away"))
    done = league(copy, "--seeds", "4")
    assert done.exit_code == 1
    for seed in (2, 3):
        (line,) = [one for one in done.output.splitlines() if f"seed-{seed}: left out: " in one]
        assert ".dcm" in line
    assert (copy / "league.json").read_text() == before
    for image in images:
        image.with_suffix(".away").rename(image)
    assert league(copy, "--seeds", "3").exit_code == 0


def test_one_league_at_a_time_plays_in_a_folder(tmp_path: Path) -> None:
    held = "import fcntl; f = open('.lock', 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{held}; input()"], cwd=tmp_path, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        other.stdout.readline()
        refused = league(tmp_path)
        other.communicate("\n")
    assert "another league is being played there" in str(refused.exception)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.slow
def test_images_are_those_that_the_profile_asks_for(copy: Path) -> None:
    task = cells(SMOKE, 1, CLINICAL)[0].task
    other = replace(SMOKE, bodies={"train": 3, "val": 1, "test": 1})
    with pytest.raises(InputRefused, match=r"bodies {'train': 2, .*}, not {'train': 3, "):
        images(task, other, copy, print)
    (copy / "data" / "falls" / MADE_OF).write_text("{")  # then the people are all that is known
    assert images(task, other, copy, print) == copy / "data" / "falls" / "manifest.csv"


@pytest.mark.slow
@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"key": 1}'])
def test_a_damaged_result_counts_as_not_played(copy: Path, text: str) -> None:
    cell = cells(SMOKE, 1, CLINICAL)[0]
    (copy / cell.folder / "cell.json").write_text(text)
    said: list[str] = []
    assert known(cell, copy, said.append) is None
    assert known(replace(cell, seed=1), copy, said.append) is not None
    (line,) = said
    assert ("damaged" in line) == ("key" not in text), "another key is no damage"


@pytest.mark.slow
def test_what_is_no_number_is_null(copy: Path) -> None:
    """JSON knows no NaN: whoever reads a league with another tool could not."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    for path in (*copy.glob("*/*/*/cell.json"), copy / "league.json"):
        json.loads(path.read_text(), parse_constant=refuse)


@pytest.mark.slow
@pytest.mark.parametrize("lines", [0, 1, 9])
def test_a_result_without_its_predictions_counts_as_not_played(copy: Path, lines: int) -> None:
    cell = cells(SMOKE, 1, CLINICAL)[0]
    (report,) = (copy / cell.folder).glob("*/report/predictions.csv")
    whole = report.read_text().splitlines(keepends=True)
    report.unlink()
    if lines:
        report.write_text("".join(whole[:lines]))
    said: list[str] = []
    assert known(cell, copy, said.append) is None
    assert len(said) == 1


@pytest.mark.slow
def test_a_league_goes_on_after_its_files_were_damaged(copy: Path) -> None:
    before = json.loads((copy / "league.json").read_text())["tasks"]["risk"]["rows"][0]["value"]
    at = copy / cells(SMOKE, 1, CLINICAL)[0].folder
    (run,) = at.glob("*/bundle.run")
    assert not list(run.glob("*.pt")), "what has learned needs no checkpoint"
    checkpoint = run / "last.pt"
    (at / "cell.json").write_text("{")
    checkpoint.write_bytes(b"PK cut short")
    (run.with_name("bundle") / "MANIFEST.sha256").unlink()
    done = league(copy, "--seeds", "1")
    assert done.exit_code == 0, done.output
    assert f"{checkpoint} cannot be read" in done.output
    assert "begun anew" in done.output
    document = json.loads((copy / "league.json").read_text())
    assert document["tasks"]["risk"]["rows"][0]["value"] == before


def test_a_key_changes_with_what_a_result_depends_on(folder: Path) -> None:
    manifest = folder / "data" / "hips" / "manifest.csv"
    cell = cells(SMOKE, 1, "yamamoto2020-resnet18")[0]
    same = key_of(cell, manifest)
    assert same == key_of(replace(cell), manifest)
    assert same != key_of(replace(cell, seed=1), manifest)
    other = replace(SMOKE, changes=(*SMOKE.changes, "plan.batch=8"))
    assert same != key_of(replace(cell, profile=other), manifest)
    changed = manifest.with_name("changed.csv")
    changed.write_text(manifest.read_text() + "\n")
    assert same != key_of(cell, changed)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_row_of_every_profile_is_a_recipe_that_stands(profile: str) -> None:
    played = cells(PROFILES[profile], 2)
    assert [cell.seed for cell in played] == sorted(cell.seed for cell in played)
    assert len(played) == 2 * sum(len(task.systems) for task in TASKS)
    for cell in played:
        recipe, start = cell.recipe, cell.start
        assert recipe.plan.seed == cell.seed
        assert recipe.views == (cell.task.view,)
        bare = cell.row.start == UNTRAINED
        assert bool(start or bare) == recipe.needs_weights or cell.task.of == "boxes"
        if start:  # what goes on from it can take it
            ours = recipe.network.arguments | {"covariates": 0}
            assert recipe.preprocess.size_px == start.preprocess.size_px
            assert ours == start.network.arguments | {"covariates": 0}
    jang = {cell.system: cell.recipe.network.arguments for cell in cells(SMOKE, 1, "jang*")}
    assert {name: given["non_local"] for name, given in jang.items()} == {
        "jang2022-vgg16": True, "jang2022-vgg16-without-non-local": False,
    }  # fmt: skip


ALONE, CLINICAL_TOO = "yamamoto2020-resnet18", "yamamoto2020-resnet18-clinical"
RIGHT = np.arange(100) < 80


def outcome(seeds: list[float], others: list[float], deviation: float) -> findings.Outcome:
    """What becomes of the one finding of two rows, with such areas of their seeds."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, 100)
    noise *= deviation / np.sqrt((noise**2).sum())
    better = findings.Row([Area(value, noise) for value in seeds], np.arange(100) < 95)
    than = findings.Row([Area(value, np.zeros(100)) for value in others], RIGHT)
    (found,) = findings.outcomes({"osteoporosis": {ALONE: than, CLINICAL_TOO: better}})
    return found


def test_findings_are_reproduced_refuted_or_left_open() -> None:
    names = {name for one in findings.FINDINGS for name in one.better + one.than}
    rows = {name for task in TASKS for name in task.systems}
    assert names <= rows, "a finding asks for rows that no league has"
    same = [0.8] * 3
    assert outcome([0.83] * 3, same, 0.005).word == "reproduced"
    assert outcome([0.78] * 3, same, 0.005).word == "refuted"
    assert outcome([0.802] * 3, same, 0.02).word == "not enough power"


def test_a_finding_must_outlast_other_seeds() -> None:
    """Seeds that differ as much as the systems do show nothing, however many patients there are."""
    sure = outcome([0.83, 0.831, 0.829], [0.8, 0.801, 0.799], 0.001)
    luck = outcome([0.83, 0.88, 0.78], [0.8, 0.75, 0.85], 0.001)
    assert sure.difference.value == pytest.approx(luck.difference.value)
    assert (sure.word, luck.word) == ("reproduced", "not enough power")
    assert sure.p < 0.01 < 0.3 < luck.p
    for few in ([0.83], [0.83, 0.83]):
        found = outcome(few, [0.8] * 3, 0.001)
        assert found.few_seeds
        assert found.word == "not enough power"
        assert found.difference.low > 0


def test_a_finding_is_asked_of_the_answers_too() -> None:
    found = outcome([0.83] * 3, [0.8] * 3, 0.005)
    assert found.accuracy == pytest.approx(0.15)
    assert found.p_accuracy == pytest.approx(2 * 0.5**15)  # 15 hips named right by one of both
