"""Bundles: what is shipped loads and proves itself, and a hostile one is refused with a reason."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hipnode.cli import app
from hipnode.errors import BundleRefused
from hipnode.nets import load_bundle, registry
from hipnode.nets.bundle.contents import (
    GOLDEN,
    GRAPH,
    INFERENCE,
    MANIFEST,
    METADATA,
    SIGNATURE,
    WEIGHTS,
)
from hipnode.nets.bundle.setfile import SHIPPED
from hipnode.nets.bundle.signature import check, sign
from hipnode.nets.load.archive import export_bundle, import_bundle

GATE = SHIPPED / "gale2017-cnn-frontal"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of a shipped bundle, to be tampered with."""
    copy = tmp_path / "bundle"
    shutil.copytree(GATE, copy)
    return copy


def seal(bundle: Path) -> None:
    """Rewrite the manifest, as somebody who means harm would."""
    files = sorted(p for p in bundle.rglob("*") if p.is_file() and p.name != MANIFEST)
    lines = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(bundle).as_posix()}\n"
        for p in files
    ]
    (bundle / MANIFEST).write_text("".join(lines))


def put_signature(bundle: Path, key: Path) -> None:
    (bundle / SIGNATURE).write_bytes(sign((bundle / MANIFEST).read_bytes(), key))


def edit(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads((bundle / METADATA).read_text())
    change(document)
    (bundle / METADATA).write_text(json.dumps(document))
    seal(bundle)


def operators(bundle: Path) -> set[str]:
    """Return what the nodes of a bundle's graph do."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(bundle / GRAPH, load_external_data=False).graph
    return {node.op_type for node in graph.node}


def test_gate_loads_and_answers() -> None:
    model = load_bundle(GATE)
    batch = np.random.default_rng(0).normal(size=(3, 1, 64, 64)).astype(np.float32)
    logits = model.engine.run(batch)["logits"]
    assert logits.shape == (3, len(model.spec.labels))
    upright = [model.spec.labels[i] for i in model.spec.positive_indices]
    assert upright == ["pelvis_ap", "hip_ap", "hip_other"]
    assert model.spec.ref.digest == hashlib.sha256((GATE / MANIFEST).read_bytes()).hexdigest()


def test_changed_byte_is_refused(bundle: Path) -> None:
    weights = bytearray((bundle / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (bundle / WEIGHTS).write_bytes(weights)
    with pytest.raises(BundleRefused, match="does not match its sha256"):
        load_bundle(bundle)


def test_other_weights_fail_the_golden_input(bundle: Path) -> None:
    weights = bytearray((bundle / WEIGHTS).read_bytes())
    weights[-2:] = b"\x00\x44"
    weights[-64:-62] = b"\x00\x44"
    (bundle / WEIGHTS).write_bytes(weights)
    seal(bundle)
    with pytest.raises(BundleRefused, match="differs from the golden output"):
        load_bundle(bundle)


def test_pickle_is_refused(bundle: Path) -> None:
    (bundle / "models" / "model.pt").write_bytes(b"\x80\x04cposix\nsystem\n.")
    with pytest.raises(BundleRefused, match="pickle"):
        load_bundle(bundle)
    seal(bundle)
    with pytest.raises(BundleRefused, match=r"does not belong|pickle"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    "hostile",
    [
        {"_target_": "os.system", "command": "touch owned"},
        "$__import__('os').system('touch owned')",
        {"nested": ["@network_def"]},
        "%../../etc/passwd::key",
        {"_requires_": "$import os"},
    ],
)
def test_code_in_metadata_is_refused(
    bundle: Path, hostile: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    edit(bundle, lambda document: document.update(extra=hostile))
    with pytest.raises(BundleRefused, match=r"run code|evaluate"):
        load_bundle(bundle)
    assert not (tmp_path / "owned").exists()


def test_code_in_inference_config_is_refused(bundle: Path) -> None:
    (bundle / INFERENCE).write_text('{"network_def": {"_target_": "os.system", "command": "id"}}')
    seal(bundle)
    with pytest.raises(BundleRefused, match="refused unread"):
        load_bundle(bundle)


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/passwd", "models/../../x", "extra.txt"])
def test_paths_in_the_manifest_are_refused(bundle: Path, name: str) -> None:
    with (bundle / MANIFEST).open("a") as manifest:
        manifest.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(BundleRefused, match=r"outside the bundle|does not belong"):
        load_bundle(bundle)


def test_link_is_refused(bundle: Path, tmp_path: Path) -> None:
    outside = tmp_path / "card.md"
    outside.write_text("x")
    (bundle / "docs" / "README.md").unlink()
    (bundle / "docs" / "README.md").symlink_to(outside)
    with pytest.raises(BundleRefused, match="link"):
        load_bundle(bundle)


def header(entry: dict[str, Any]) -> bytes:
    document = json.dumps({"features.0.weight": entry}).encode()
    return len(document).to_bytes(8, "little") + document


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            header({"dtype": "F16", "shape": [10**9, 10**9], "data_offsets": [0, 2]}),
            "has the shape",
        ),
        (header({"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}), "outside the file"),
        (header({"dtype": "F16", "shape": [-4], "data_offsets": [0, 8]}), "has the shape"),
        (header({"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}), "has type"),
        (header({"shape": "x"}), "malformed"),
        ((2**60).to_bytes(8, "little") + b"{}", "declares a header"),
        (b"\x80\x04", "no safetensors"),
    ],
)
def test_hostile_tensors_are_refused(bundle: Path, content: bytes, reason: str) -> None:
    (bundle / WEIGHTS).write_bytes(content)
    seal(bundle)
    with pytest.raises(BundleRefused, match=reason):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d["hipnode"]["network"].update(name="os.system"), "is none of"),
        (lambda d: d["hipnode"]["network"]["arguments"].update(width=10**9), "less than or equal"),
        (lambda d: d["hipnode"]["network"]["arguments"].update(hook="x"), "not permitted"),
        (lambda d: d["hipnode"].update(surprise=1), "not permitted"),
        (lambda d: d["hipnode"].update(temperature=-1), "greater than 0"),
        (lambda d: d["hipnode"].update(positive_labels=["cat"]), "none of the labels"),
        (lambda d: d["hipnode"]["preprocessing"].update(size_px=10**6), "size_px"),
        (lambda d: d["hipnode"]["operating_point"].update(doubtful_from=0.9), "not in order"),
        (lambda d: d.pop("hipnode"), "no block"),
    ],
)
def test_invalid_metadata_is_refused(
    bundle: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    edit(bundle, change)
    with pytest.raises(BundleRefused, match=reason):
        load_bundle(bundle)


def test_graph_that_is_none_is_refused(bundle: Path) -> None:
    (bundle / "models" / "model.onnx").write_bytes(b"not a graph")
    seal(bundle)
    with pytest.raises(BundleRefused, match="ONNX Runtime"):
        load_bundle(bundle)


def test_graph_that_cannot_be_run_is_refused(bundle: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = bundle / "models" / "model.onnx"
    graph = onnx.load_model_from_string(path.read_bytes())
    graph.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 63
    path.write_bytes(graph.SerializeToString())
    seal(bundle)
    with pytest.raises(BundleRefused, match=r"cannot be run|refuses the graph"):
        load_bundle(bundle)


def test_golden_of_another_shape_is_refused(bundle: Path) -> None:
    shutil.copy(bundle / WEIGHTS, bundle / GOLDEN)
    seal(bundle)
    with pytest.raises(BundleRefused, match="golden"):
        load_bundle(bundle)


def test_manifest_is_what_sha256sum_checks() -> None:
    found = subprocess.run(
        ["sha256sum", "--check", "--strict", MANIFEST], cwd=GATE, capture_output=True, check=False
    )
    assert found.returncode == 0, found.stderr


def test_serving_imports_neither_torch_nor_monai() -> None:
    code = (
        "import sys; from hipnode.nets import load_bundle; from pathlib import Path;"
        f"load_bundle(Path({str(GATE)!r}));"
        "print(sorted({'torch', 'monai', 'onnx'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert found.stdout.strip() == "[]"


def test_registry_refuses_unknown_names() -> None:
    with pytest.raises(ValueError, match="is none of"):
        registry.validate("subprocess.Popen", {})


def test_a_device_that_is_none_is_refused_where_it_is_named() -> None:
    done = CliRunner().invoke(app, ["models", "verify", "gate", "--device", "banana"])
    assert (done.exit_code, "'banana' is none of cpu, " in done.output) == (2, True)


@pytest.mark.parametrize("bundle", sorted(SHIPPED.glob("*/")), ids=lambda path: path.name)
def test_no_shipped_graph_makes_biases_of_zeros(bundle: Path) -> None:
    """Made anew in each run, they would keep ONNX Runtime from joining what belongs together."""
    assert "Expand" not in operators(bundle)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public key, as ``openssl`` makes them."""
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    for command in (
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)],
        ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return private, public


def test_signature_is_checked_on_import(
    bundle: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    with pytest.raises(BundleRefused, match="is not signed"):
        import_bundle(bundle, tmp_path / "shelf", public)
    put_signature(bundle, private)
    found = subprocess.run(
        [
            "openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin",
            "-in", str(bundle / MANIFEST), "-sigfile", str(bundle / SIGNATURE),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Verified Successfully" in found.stdout, found.stderr
    digest = export_bundle(bundle, tmp_path / "signed.zip")
    model = import_bundle(tmp_path / "signed.zip", tmp_path / "shelf", public)
    assert model.spec.digest == digest
    check(model.path, public)


def test_export_signs_the_copy_and_leaves_the_bundle_alone(
    bundle: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    command = [sys.executable, "-m", "hipnode", "models", "export", bundle, tmp_path / "new.zip"]
    subprocess.run([*command, "--sign", private], check=True, capture_output=True)
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before
    check(import_bundle(tmp_path / "new.zip", tmp_path / "shelf", public).path, public)


def test_signature_of_another_or_of_something_else_is_refused(
    bundle: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    put_signature(bundle, private)
    other = tmp_path / "other.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(other)],
        check=True, capture_output=True,
    )  # fmt: skip
    stolen = (bundle / SIGNATURE).read_bytes()
    put_signature(bundle, other)
    with pytest.raises(BundleRefused, match=r"not by key\.pub\.pem"):
        check(bundle, public)
    (bundle / SIGNATURE).write_bytes(stolen)
    edit(bundle, lambda document: document["hipnode"].update(temperature=2.0))
    with pytest.raises(BundleRefused, match="not by"):
        check(bundle, public)
    with pytest.raises(BundleRefused, match="no public key"):
        check(bundle, private)


def test_monai_itself_can_load_ours() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("monai")
    import torch
    from monai.bundle.config_parser import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(GATE / INFERENCE))
    parser.read_meta(str(GATE / METADATA))
    parser["bundle_root"] = str(GATE)
    net = parser.get_parsed_content("network_def")
    batch = np.random.default_rng(0).normal(size=(2, 1, 64, 64)).astype(np.float32)
    with torch.inference_mode():
        theirs = net(torch.from_numpy(batch))["logits"].numpy()
    assert np.abs(theirs - load_bundle(GATE).engine.run(batch)["logits"]).max() < 1e-4
    meta = parser["_meta_"]
    for key in ("version", "monai_version", "pytorch_version", "numpy_version"):
        assert meta[key]
    assert meta["network_data_format"]["inputs"]["image"]["spatial_shape"] == [64, 64]
