"""Every system of the papers is served: it reads a phantom, and an SR says what it found.

The networks are as before training and small: what they say is nothing, how it is said is all. That
each becomes a bundle that loads is tested with the recipes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("onnx")

from pydicom import Dataset, dcmread

from hipnode import imaging
from hipnode.cli.conform import dciodvfy
from hipnode.domain import (
    COVARIATES,
    TASKS,
    CovariateSource,
    Finding,
    Header,
    Radiograph,
    Reading,
    ResultKind,
    Role,
    Told,
)
from hipnode.nets import LoadedModel, ModelSet, load_model_set
from hipnode.phantom import load_recipe
from hipnode.phantom.dicom import write_dicom
from hipnode.phantom.dxa import render_dxa
from hipnode.reading import ReadPolicy, read
from hipnode.reporting import SourceImage, build, read_back
from hipnode.reporting.terms import answer
from hipnode.training.recipe.recipe import Recipe, read_recipe
from tests import cases
from tests.factory import scene
from tests.peers import require
from tests.protocol.test_validators import clean
from tests.senders import SAMPLES
from tests.untrained import in_memory

pytestmark = pytest.mark.slow

_SMALL: Final = "preprocessing.size_px=64"
_NARROW: Final = "network.arguments.width=0.25"
SYSTEMS: Final[dict[str, list[str]]] = {
    "murphy2022-cnn2": [_SMALL, _NARROW],
    "murphy2022-cnn2-subtrochanteric": [_SMALL, _NARROW],
    "gale2017-densenet172": ["preprocessing.size_px=256"],
    "gale2017-fcn": [
        "preprocessing.size_px=32",
        "network.arguments={depth=4,width=8,head_px=2,outputs=2}",
    ],
    "jang2022-vgg16": [_SMALL],
    "yamamoto2020-googlenet": [_SMALL, _NARROW],
    "yamamoto2020-googlenet-clinical": [_SMALL, _NARROW],
    "yamamoto2020-resnet18-clinical": [_SMALL],
    "yamamoto2020-resnet34-clinical": [_SMALL],
    "yamamoto2020-efficientnet-b3-clinical": [_SMALL, 'network.arguments.size="b0"'],
    "dxa2023-resnet50": [_SMALL, "network.arguments.depth=18"],
    "dxa2023-vgg16": [_SMALL],
    "dxa2023-vit-s": [_SMALL, "network.arguments={classes=3,size_px=64,depth=1}"],
    "dxa2023-vit-s-clinical": [
        _SMALL,
        "network.arguments={classes=3,size_px=64,depth=1,covariates=4}",
    ],
    "dxa2023-clinical": ["preprocessing.size_px=32"],
}
"""By its recipe, each system that classifies; what is left of it is how large it is."""
_VALUES: Final = {"hip_fracture_history": 1, "bmi": 24, "height_m": 1.6, "vitamin_d_ng_ml": 24.1,
                  "calcium_mg_dl": 9.3, "alm_bmi": 0.62}  # fmt: skip


@pytest.fixture(scope="module")
def shipped() -> ModelSet:
    return load_model_set()


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated densitometer's scan."""
    path = tmp_path_factory.mktemp("scan") / "scan.dcm"
    return write_dicom(render_dxa(load_recipe("dxa"), 200, 0), path)


def told(header: Header) -> list[Told]:
    """Return all that can come from outside for an examination, of the day before it."""
    day = (date.fromisoformat(header.study_date) - timedelta(days=1)).isoformat()
    return [
        Told(header.accession_number, (header.patient_id,), name, value, day, CovariateSource.CSV,
             id=number)
        for number, (name, value) in enumerate(_VALUES.items(), 1)
    ]  # fmt: skip


def with_model(shipped: ModelSet, made: LoadedModel, plain: Callable[[], LoadedModel]) -> ModelSet:
    """Return a set in which a model answers its question; ``plain`` is its like without data."""
    role = made.spec.role
    clinical = {role: made} if made.spec.covariates else {}
    alone = plain() if clinical else made
    if role is Role.RISK:
        return ModelSet("served", "0" * 64, "A test.", {role: alone}, clinical)
    models = MappingProxyType({**shipped.models, role: alone})
    return replace(shipped, models=models, clinical=clinical)


def served(models: ModelSet, path: Path) -> tuple[Header, Radiograph, Reading]:
    """Return an image and what the models make of it."""
    opened = imaging.open_image(path, max_pixels=100_000_000)
    header, image = opened.header, opened.radiograph(0)
    if not header.study_date:
        header = replace(header, study_date="2026-11-20")
    return header, image, read(header, image, models, ReadPolicy(), told=told(header))


def report(path: Path, reading: Reading, at: Path) -> Dataset:
    """Write the SR of a reading; return it as it is read again."""
    source = SourceImage(dcmread(path), reading, pixels=scene())
    (sr,) = build(cases.request(source, objects=frozenset({ResultKind.SR})))
    at.write_bytes(sr.to_bytes())
    return dcmread(at)


def values_of(item: Dataset) -> set[str]:
    """Return every code and text of a content tree."""
    found = {str(item.get(keyword, "")) for keyword in ("TextValue", "CodeValue")}
    for element in item:
        if element.VR == "SQ":
            found = found.union(*(values_of(each) for each in element.value or ()))
    return found - {""}


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_is_served(system: str, shipped: ModelSet, scan: Path, tmp_path: Path) -> None:
    require("dciodvfy", "dicom3tools")
    recipe = read_recipe(system, SYSTEMS[system])
    assert isinstance(recipe, Recipe)
    made = in_memory(recipe)

    def plain() -> LoadedModel:
        if made.spec.role is not Role.RISK:
            return shipped.models[made.spec.role]
        return in_memory(_plain())

    path = scan if made.spec.role is Role.RISK else SAMPLES[-1]
    header, _, reading = served(with_model(shipped, made, plain), path)
    found = [f for hip in reading.hips for f in hip.findings if f.model == made.spec.ref]
    assert found, reading
    sr = report(path, reading, tmp_path / "sr.dcm")
    assert clean(dciodvfy([tmp_path / "sr.dcm"])) == 1
    assert read_back(tmp_path / "sr.dcm")
    said = values_of(sr)
    for one in found:
        row = TASKS[one.task]
        assert {answer(one).value, row.question.value} <= said
        assert any(row.words["en"].said[one.decision] in each for each in said)
        assert f"bundle sha256 {made.spec.digest}" in said
        _say_covariates(one, header, said)


def _plain() -> Recipe:
    recipe = read_recipe("dxa2023-vit-s", SYSTEMS["dxa2023-vit-s"])
    assert isinstance(recipe, Recipe)
    return recipe


def _say_covariates(one: Finding, header: Header, said: set[str]) -> None:
    """Assert that each value that was used stands there, with its date where it has one."""
    assert [each.name for each in one.covariates] == list(one.covariates_used)
    for each in one.covariates:
        assert f"covariate {each.in_words}, by {each.source}" in said
        outside = each.source is CovariateSource.CSV
        assert outside == (each.measured != "")
        assert outside or header.age_years is not None
        assert COVARIATES[each.name].words in each.in_words


def test_every_system_of_the_papers_is_there() -> None:
    """A recipe that classifies is a system above, one of another size, or differs in training."""
    recipes = Path(__file__).parents[2] / "hipnode" / "training" / "recipe" / "recipes"
    networks = set()
    for path in recipes.glob("*.toml"):
        recipe = read_recipe(path.stem)
        if isinstance(recipe, Recipe) and recipe.role in {row.role for row in TASKS.values()}:
            networks.add((recipe.role, recipe.network.name, bool(recipe.covariates)))
    known = [read_recipe(name) for name in SYSTEMS]
    served_ = {(r.role, r.network.name, bool(r.covariates)) for r in known if isinstance(r, Recipe)}
    without = {(role, name) for role, name, _ in served_}
    assert {(role, name) for role, name, _ in networks} <= without
    assert {each for each in networks if each[2]} <= served_
