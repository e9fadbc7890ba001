"""The gate against images unlike those of training: fitted, kept in the bundle, and obeyed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from hipnode import imaging
from hipnode.answers.reading import document
from hipnode.domain import (
    Abstention,
    AbstentionReason,
    Box,
    Finding,
    HipROI,
    Reading,
    Role,
    Side,
    Task,
)
from hipnode.errors import BundleRefused
from hipnode.nets import LoadedModel, load_bundle, load_model_set
from hipnode.nets.bundle.contents import FILES, MANIFEST, TYPICAL
from hipnode.nets.bundle.setfile import SHIPPED
from hipnode.nets.load.archive import export_bundle, import_bundle
from hipnode.reading import ReadPolicy, classify, read
from hipnode.training.pack.fit_typical import FEWEST, fit
from tests.senders import SAMPLES

pytestmark = pytest.mark.slow

FRACTURE = SHIPPED / "murphy2022-cnn2"


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_bundle(FRACTURE, threads=1)


def clusters(seed: int, n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return embeddings of two classes, which lie in two directions."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 2, n)
    middle = np.where(classes[:, None] == 0, np.r_[5.0, np.zeros(7)], np.r_[np.zeros(7), 5.0])
    return (middle + rng.normal(0, 0.5, (n, 8))).astype(np.float32), classes


def test_the_limit_lets_the_share_of_the_validation_split_through_and_no_stranger() -> None:
    validation = clusters(1, 500)[0]
    typical = fit(*clusters(0, 500), validation, kept=0.95)
    assert typical is not None
    assert np.mean(typical.distance(validation) <= typical.limit) == pytest.approx(0.95, abs=0.01)
    between = np.full((3, 8), 1.0, np.float32)
    assert (typical.distance(between) > typical.limit).all()
    louder = typical.distance(validation * 7)  # length says nothing
    np.testing.assert_allclose(louder, typical.distance(validation), rtol=1e-3)


def test_images_that_hardly_differ_give_figures_that_a_bundle_can_keep() -> None:
    """Their factors are beyond 16 bits: an EfficientNet's bundle could not be loaded."""
    rng = np.random.default_rng(5)
    alike = np.ones((FEWEST, 64)) + rng.normal(0, 1e-7, (FEWEST, 64))
    strange = np.ones((3, 64)) + rng.normal(0, 1e-3, (3, 64))
    found = fit(alike, np.arange(FEWEST) % 2, alike)
    assert found
    assert all(np.isfinite(one).all() for one in found.arrays().values())
    assert (found.distance(strange) > found.limit).all()


def test_from_too_few_images_nothing_is_learned() -> None:
    assert fit(*clusters(0, FEWEST - 1), clusters(1, 50)[0]) is None


def test_a_hip_is_read_and_what_is_none_is_abstained_from(model: LoadedModel) -> None:
    _, radiograph = imaging.load(SAMPLES[-1])
    rows, columns = radiograph.pixels.shape
    noise = np.random.default_rng(0).random((rows, columns)).astype(np.float32)
    hip = HipROI(Side.RIGHT, Box(0, 0, columns // 2, rows // 2), 1.0)
    (odd,) = classify.findings(model, noise, [hip])
    assert isinstance(odd, Abstention)
    assert odd.reason is AbstentionReason.OUT_OF_DISTRIBUTION
    assert "murphy2022-cnn2: distance" in odd.detail
    (free,) = classify.findings(replace(model, typical=None), noise, [hip])
    assert isinstance(free, Finding)
    assert free.distance is None


def test_how_far_a_hip_is_from_the_training_images_goes_with_what_is_said_of_it(
    model: LoadedModel,
) -> None:
    made = read(*imaging.load(SAMPLES[-1]), load_model_set("default", threads=1), ReadPolicy())
    assert model.typical is not None
    far = [finding.distance for hip in made.hips for finding in hip.findings]
    assert far
    for distance in far:
        assert distance is not None
        assert 0 < distance < 3 * model.typical.limit
    assert [f["distance"] for hip in made.facts()["hips"] for f in hip["findings"]] == far
    shown = document(Path("x"), made)
    assert [f["distance"] for hip in shown["hips"] for f in hip["findings"]] == far
    assert Reading.from_json(made.to_json()) == made
    earlier = json.loads(made.to_json())  # as an earlier release wrote it
    for hip in earlier["hips"]:
        for finding in hip["findings"]:
            del finding["distance"]
    read_again = Reading.from_json(json.dumps(earlier))
    assert {f.distance for hip in read_again.hips for f in hip.findings} == {None}


def test_what_is_typical_travels_with_the_bundle(tmp_path: Path, model: LoadedModel) -> None:
    export_bundle(FRACTURE, tmp_path / "bundle.zip")
    for source, shelf in ((tmp_path / "bundle.zip", "a"), (FRACTURE, "b")):
        taken = import_bundle(source, tmp_path / shelf)
        assert taken.spec.digest == model.spec.digest
        assert taken.typical is not None
        assert model.typical is not None
        assert taken.typical.limit == model.typical.limit


@pytest.mark.parametrize("damage", ["shape", "nan", "name"])
def test_a_damaged_gate_is_refused(tmp_path: Path, damage: str) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(FRACTURE, bundle)
    arrays = load((bundle / TYPICAL).read_bytes())
    match damage:
        case "shape":
            arrays["means"] = arrays["means"][:, :3].copy()
        case "nan":
            arrays["limit"] = np.array([np.nan], np.float32)
        case _:
            arrays["more"] = arrays.pop("limit")
    (bundle / TYPICAL).write_bytes(save(arrays))
    lines = [
        f"{hashlib.sha256((bundle / name).read_bytes()).hexdigest()}  {name}\n"
        for name in sorted({*FILES, TYPICAL})
    ]
    (bundle / MANIFEST).write_text("".join(lines))
    with pytest.raises(BundleRefused, match="typical"):
        load_bundle(bundle, threads=1)


@pytest.mark.parametrize("role", [Role.FRACTURE, Role.OSTEOPOROSIS])
def test_what_the_fracture_model_does_not_know_is_not_assessed_at_all(role: Role) -> None:
    """What another model does not know leaves its own finding out, and that is said."""
    models = load_model_set(threads=1)

    def knows_nothing(known: Mapping[Role, LoadedModel]) -> dict[Role, LoadedModel]:
        return {
            key: replace(model, typical=replace(model.typical, limit=0.0))
            if key is role and model.typical
            else model
            for key, model in known.items()
        }

    models = replace(
        models, models=knows_nothing(models.models), clinical=knows_nothing(models.clinical)
    )
    made = read(*imaging.load(SAMPLES[-1]), models, ReadPolicy())
    assert made.hips
    for hip in made.hips:
        if role is Role.FRACTURE:
            assert hip.abstention is not None
            assert hip.abstention.reason is AbstentionReason.OUT_OF_DISTRIBUTION
        else:
            assert [finding.task for finding in hip.findings] == [Task.HIP_FRACTURE]
            told = f"Osteoporosis, {hip.roi.side.word} hip: not assessed; "
            assert any(note.startswith(told) for note in made.notes)
