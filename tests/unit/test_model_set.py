"""The shipped model set: whole, small, honest, and the same numbers in both engines."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from hipnode.domain import Role
from hipnode.errors import BundleRefused
from hipnode.nets import load_bundle, load_model_set
from hipnode.nets.bundle.contents import CARD, MANIFEST, METADATA
from hipnode.nets.bundle.setfile import SHIPPED, pins
from hipnode.nets.load.loaded import TOLERANCE

pytestmark = pytest.mark.slow

BUNDLES = sorted(path for path, _ in [*pins().values(), *pins("dxa").values()])


def test_default_set_has_every_role_that_a_reading_needs() -> None:
    models = load_model_set(device="cpu", threads=1)
    assert {Role.GATE, Role.LOCALISER, Role.METAL, Role.FRACTURE} <= set(models.models)
    fractures = ("trochanteric", "intracapsular", "subtrochanteric")
    assert models.fracture.spec.labels == ("no_fracture", *fractures)
    assert models.gate.spec.labels == ("pelvis_ap", "hip_ap", "hip_other", "other")
    assert models.gate.spec.positive_labels == ("pelvis_ap", "hip_ap", "hip_other")
    assert set(models.fracture.spec.outputs) >= {"logits", "cam", "embedding"}
    assert len(models.digest) == 64


def test_shipped_weights_stay_small() -> None:
    size = sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file())
    assert size < 60e6


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_card_says_what_it_is_not(bundle: Path) -> None:
    spec = load_bundle(bundle, threads=1).spec
    assert "NOT FOR CLINICAL USE" in spec.card
    assert "NOT FOR CLINICAL USE" in (bundle / CARD).read_text()


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_engines_agree(bundle: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("monai")
    onnx, torch = load_bundle(bundle, threads=1), load_bundle(bundle, device="torch-cpu")
    size = onnx.spec.size_px
    batch = np.random.default_rng(3).normal(size=(2, 1, size, size)).astype(np.float32)
    known = np.array([[71, 0, 24.5], [50, 1, 31]], np.float32)[:, : len(onnx.spec.covariates)]
    covariates = known if onnx.spec.covariates else None
    ours, theirs = onnx.engine.run(batch, covariates), torch.engine.run(batch, covariates)
    assert set(ours) == set(theirs) == set(onnx.spec.outputs)
    for name, values in ours.items():
        scale = max(1.0, float(np.abs(values).max()))
        assert np.abs(values - theirs[name]).max() / scale < TOLERANCE, name


def test_monai_loads_a_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """``ConfigParser`` of MONAI gives the network with its weights."""
    bundle = pytest.importorskip("monai.bundle")
    path = SHIPPED / "murphy2022-cnn1"
    monkeypatch.chdir(path)
    parser = bundle.ConfigParser()
    parser.read_config("configs/inference.json")
    parser.read_meta("configs/metadata.json")
    network = parser.get_parsed_content("network_def")
    assert sum(p.numel() for p in network.parameters()) == 495_905
    assert parser["_meta_"]["network_data_format"]["inputs"]["image"]["num_channels"] == 1


def test_set_with_another_pin_is_refused(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "models")
    path = tmp_path / "models" / "default.toml"
    text = path.read_text()
    gate = pins()[Role.GATE][1]
    path.write_text(text.replace(gate, "0" * 64))
    with pytest.raises(BundleRefused, match="not the pinned"):
        load_model_set(path, device="cpu", threads=1)


def test_set_that_asks_for_what_nobody_can_tell_is_refused(tmp_path: Path) -> None:
    """Its variant with clinical data would never read an image, and nothing would say so."""
    shutil.copytree(SHIPPED, tmp_path / "models")
    path = tmp_path / "models" / "default.toml"
    bundle, digest = pins(path)["osteoporosis/clinical"]
    before = (bundle / METADATA).read_bytes()
    after = before.replace(b'"bmi"', b'"shoe_size"')
    (bundle / METADATA).write_bytes(after)
    known, new = (hashlib.sha256(content).hexdigest() for content in (before, after))
    manifest = (bundle / MANIFEST).read_text().replace(known, new)
    (bundle / MANIFEST).write_text(manifest)
    pinned = hashlib.sha256(manifest.encode()).hexdigest()
    path.write_text(path.read_text().replace(digest, pinned))
    with pytest.raises(BundleRefused, match="asks for shoe_size, which nobody can tell"):
        load_model_set(path, device="cpu", threads=1)


def test_set_without_a_role_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.toml"
    path.write_text('name = "x"\ncard = "y"\n[models]\n')
    with pytest.raises(BundleRefused, match="names no model for"):
        load_model_set(path, device="cpu")
