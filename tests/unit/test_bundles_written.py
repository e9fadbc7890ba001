"""Networks that are written as bundles answer as they did before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hipnode.errors import BundleRefused
from hipnode.nets import load_bundle
from hipnode.nets.bundle.contents import METADATA
from tests.unit.test_bundles import GATE, edit, operators

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
from hipnode.nets.architectures import build  # noqa: E402
from hipnode.training.pack.export import write_bundle  # noqa: E402


def test_covariates_travel_in_the_bundle(tmp_path: Path) -> None:
    """A network with a clinical branch: the same numbers from ONNX Runtime and from torch."""
    torch.manual_seed(0)
    net = build("resnet", {"depth": 18, "covariates": 2}).eval()
    net.score.clinical.learn_scale(torch.tensor([[60.0, 20.0], [80.0, 30.0]]))
    document = json.loads((GATE / METADATA).read_text())["hipnode"]
    document |= {
        "role": "osteoporosis",
        "network": {"name": "resnet", "arguments": {"depth": 18, "covariates": 2}},
        "outputs": ["logits", "cam"],
        "covariates": ["age", "bmi"],
        "preprocessing": {"size_px": 32},
    }
    golden = np.random.default_rng(0).normal(size=(1, 1, 32, 32)).astype(np.float32)
    patient = np.array([[71.0, 24.5]], np.float32)
    model = write_bundle(tmp_path / "bone", document, net, golden, "card", patient)
    assert model.spec.covariates == ("age", "bmi")
    assert "Expand" not in operators(tmp_path / "bone")
    younger = model.engine.run(golden, np.array([[40.0, 24.5]], np.float32))["logits"]
    older = model.engine.run(golden, np.array([[90.0, 24.5]], np.float32))["logits"]
    assert np.abs(younger - older).max() > 1e-4
    torch_engine = load_bundle(tmp_path / "bone", device="torch-cpu").engine
    other = torch_engine.run(golden, np.array([[40.0, 24.5]], np.float32))["logits"]
    assert np.abs(younger - other).max() < 1e-4
    edit(tmp_path / "bone", lambda d: d["hipnode"].update(covariates=["age"]))
    with pytest.raises(BundleRefused, match="takes 2 covariates, not 1"):
        load_bundle(tmp_path / "bone")


def test_weights_beyond_sixteen_bits_stay_what_they_are(tmp_path: Path) -> None:
    """As over the embeddings of a VGG16 that has learned nothing, which differ by 1e-5."""
    network = {"name": "resnet", "arguments": {"depth": 18, "width": 0.25, "hidden": 16}}
    torch.manual_seed(0)
    net = build(network["name"], network["arguments"]).eval()
    with torch.no_grad():
        net.score.hidden[0].weight[0, 0] = 1e6
    document = json.loads((GATE / METADATA).read_text())["hipnode"]
    document |= {"network": network, "outputs": ["logits"], "preprocessing": {"size_px": 32}}
    golden = np.random.default_rng(0).normal(size=(1, 1, 32, 32)).astype(np.float32)
    model = write_bundle(tmp_path / "wide", document, net, golden, "card")
    with torch.inference_mode():
        wanted = net(torch.from_numpy(golden))["logits"].numpy()
    np.testing.assert_allclose(model.engine.run(golden)["logits"], wanted, rtol=0.01)
