"""OpenVINO behind the same Protocol: the same numbers, nothing sent anywhere, refused if absent."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from hipnode import imaging, reading
from hipnode.errors import BundleRefused
from hipnode.nets import LoadedModel, load_bundle, load_model_set
from hipnode.nets.bundle.contents import GRAPH, WEIGHTS
from hipnode.nets.bundle.setfile import SHIPPED, pins
from hipnode.nets.load.loaded import TOLERANCE
from hipnode.settings import Settings
from tests.peers import missing
from tests.senders import SAMPLES
from tests.unit.test_bundles import seal

pytestmark = pytest.mark.slow

BUNDLES = sorted(path for path, _ in [*pins().values(), *pins("dxa").values()])
CLASSIFIER = SHIPPED / "murphy2022-cnn2"


@pytest.fixture(autouse=True)
def _installed() -> None:
    if find_spec("openvino") is None:
        missing("openvino is not installed: pip install 'hipnode[openvino]'")


def _given(model: LoadedModel, seed: int = 3) -> tuple[np.ndarray, np.ndarray | None]:
    size = model.spec.size_px
    batch = np.random.default_rng(seed).normal(size=(2, 1, size, size)).astype(np.float32)
    known = np.array([[71, 0, 24.5], [50, 1, 31]], np.float32)[:, : len(model.spec.covariates)]
    return batch, known if model.spec.covariates else None


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_engines_agree(bundle: Path) -> None:
    onnx = load_bundle(bundle, threads=1)
    openvino = load_bundle(bundle, device="openvino", threads=1)
    ours, theirs = (one.engine.run(*_given(onnx)) for one in (onnx, openvino))
    assert set(ours) == set(theirs) == set(onnx.spec.outputs)
    for name, values in ours.items():
        scale = max(1.0, float(np.abs(values).max()))
        assert np.abs(values - theirs[name]).max() / scale < TOLERANCE, name


def test_a_radiograph_is_read_to_the_same_findings() -> None:
    header, radiograph = imaging.load(SAMPLES[0])
    policy = reading.ReadPolicy()
    ours, theirs = (
        reading.read(header, radiograph, load_model_set(device=device, threads=1), policy)
        for device in ("cpu", "openvino")
    )
    assert ours.hips
    assert ours.model_set_digest == theirs.model_set_digest
    for mine, other in zip(ours.hips, theirs.hips, strict=True):
        assert (mine.roi, mine.abstention) == (other.roi, other.abstention)
        for a, b in zip(mine.findings, other.findings, strict=True):
            assert (a.task, a.decision, a.label) == (b.task, b.decision, b.label)
            assert a.p_positive == pytest.approx(b.p_positive, abs=TOLERANCE)


def test_threads_that_share_an_engine_get_their_own_answers() -> None:
    model = load_bundle(CLASSIFIER, device="openvino", threads=1)
    batches = [_given(model, seed)[0] for seed in range(6)]
    alone = [model.engine.run(batch)["logits"] for batch in batches]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda batch: model.engine.run(batch)["logits"], batches))
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    copy = tmp_path / "bundle"
    shutil.copytree(CLASSIFIER, copy)
    return copy


def test_other_weights_fail_the_golden_input(bundle: Path) -> None:
    weights = bytearray((bundle / WEIGHTS).read_bytes())
    weights[-6000:] = bytes(6000)
    (bundle / WEIGHTS).write_bytes(weights)
    seal(bundle)
    with pytest.raises(BundleRefused, match="differs from the golden output"):
        load_bundle(bundle, device="openvino", threads=1)


def test_damaged_graph_is_refused(bundle: Path) -> None:
    (bundle / GRAPH).write_bytes((bundle / GRAPH).read_bytes()[:5000])
    seal(bundle)
    with pytest.raises(BundleRefused, match="OpenVINO refuses the graph"):
        load_bundle(bundle, device="openvino", threads=1)


def test_weights_outside_the_bundle_are_not_read(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights, but one folder up: a graph may name only what the manifest lists."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    inside, outside = b"model.safetensors", b"../the.safetensor"
    assert len(inside) == len(outside), "else the graph would have to be written anew"
    graph = (bundle / GRAPH).read_bytes()
    assert inside in graph
    (bundle / GRAPH).write_bytes(graph.replace(inside, outside))
    shutil.copyfile(bundle / WEIGHTS, tmp_path / "the.safetensor")
    seal(bundle)
    with pytest.raises(BundleRefused, match="OpenVINO refuses the graph"):
        load_bundle(bundle, device="openvino", threads=1)


def test_without_the_extra_a_bundle_is_refused_with_a_reason() -> None:
    code = """
import sys
import tempfile
sys.modules["openvino"] = None  # as if it were not installed
from hipnode.errors import BundleRefused
from hipnode.nets import load_model_set
try:
    load_model_set(device="openvino")
except BundleRefused as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'hipnode[openvino]'" in done.stdout


def test_it_is_chosen_by_a_setting_and_never_the_default() -> None:
    assert Settings().worker.device == "auto"
    assert Settings(worker={"device": "openvino"}).worker.device == "openvino"
    sets = {name: load_model_set(device=name, threads=1) for name in ("auto", "openvino")}
    kinds = {name: type(found.gate.engine).__name__ for name, found in sets.items()}
    assert kinds["openvino"] == "OpenVinoEngine"
    assert kinds["auto"] != "OpenVinoEngine"
