"""Reading one image: decoded pixels to findings with heat maps.

The reference is what one would write first: the same networks and weights in eager PyTorch, with
`monai.visualize.GradCAM` for the heat maps. Everything else of the chain is the same code, so that
the difference is that of the engines; that both find the same is checked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO

import numpy as np
import pydicom
import torch
from monai.visualize.class_activation_maps import GradCAM
from numpy.typing import NDArray
from torch import nn

from hipnode import dicom, imaging, nets, reading
from hipnode.domain import Header, Radiograph, Reading, Role
from hipnode.nets.bundle.contents import WEIGHTS
from hipnode.nets.engines.onnx_engine import OnnxEngine
from hipnode.nets.engines.protocol import Arrays
from hipnode.nets.engines.torch_engine import assemble
from tests.bench import objects
from tests.bench.harness import Run, Table, Target

EAGER = "eager PyTorch with monai GradCAM"
OPENVINO = "hipnode through OpenVINO"
EAGER_CAM = "eager PyTorch, heat map from the forward pass"
_POLICY = reading.ReadPolicy()
_LAYERS = {"googlenet": "network.blocks.5b"}
"""Where a heat map is taken: the last block of the features."""


class _Logits(nn.Module):
    """A network as `GradCAM` wants it: one tensor out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.covariates: NDArray[np.float32] | None = None

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        more = [] if self.covariates is None else [torch.from_numpy(self.covariates)]
        logits: torch.Tensor = self.network(batch, *more)["logits"]
        return logits


class EagerEngine:
    """A bundle's network in eager PyTorch; heat maps by `GradCAM` where the bundle has any."""

    def __init__(self, model: nets.LoadedModel, *, gradcam: bool) -> None:
        spec = model.spec
        weights = (model.path / WEIGHTS).read_bytes()
        self._net = assemble(spec.network, spec.arguments, weights)
        self._outputs = spec.outputs
        self._positive = spec.positive_indices
        self._classes = len(spec.labels)
        self._cam = None
        if gradcam and "cam" in spec.outputs:
            self._logits = _Logits(self._net)
            self._cam = GradCAM(nn_module=self._logits, target_layers=_LAYERS[spec.network])

    def run(
        self,
        batch: NDArray[np.float32],
        covariates: NDArray[np.float32] | None = None,
    ) -> Arrays:
        """Run the network; see `hipnode.nets.Engine`."""
        given = [batch] if covariates is None else [batch, covariates]
        with torch.inference_mode():
            outputs = self._net(*map(torch.from_numpy, given))
        found = {name: outputs[name].numpy() for name in self._outputs}
        if self._cam is not None:
            heat = np.zeros((len(batch), self._classes, *batch.shape[2:]), dtype=np.float32)
            self._logits.covariates = covariates
            for label in self._positive:  # GradCAM normalises, upsamples and inverts: 1 - cam
                made = self._cam(x=torch.from_numpy(batch), class_idx=label)
                heat[:, label] = 1 - made.detach().numpy()[:, 0]
            found["cam"] = heat
        return found


def tables(run: Run) -> Iterator[Table]:
    """Yield the tables of this measurement."""
    threads = os.cpu_count() or 1
    torch.set_num_threads(threads)
    header, radiograph = sample()
    ours = nets.load_model_set(device="cpu", threads=threads)
    openvino = _openvino(threads)
    eager = _with_engines(ours, gradcam=True)
    plain = _with_engines(ours, gradcam=False)
    found = _read(header, radiograph, ours)[0]
    for others in (eager, *openvino.values()):
        _same(found, _read(header, radiograph, others)[0])
    table = Table(
        "Read: one image, decoded pixels to findings with heat maps",
        "ms",
        targets=(Target(EAGER, at_most=1 / 5),),
        notes=[
            f"{threads} threads each; default model set; the ratio is of times: lower is better"
        ],
    )
    compared = {"hipnode": ours, **openvino, EAGER: eager, EAGER_CAM: plain}
    contestants = {
        name: lambda models=models: _read(header, radiograph, models)[1]
        for name, models in compared.items()
    }
    yield table.run(contestants, 3 * run.rounds)
    yield _networks_alone(run, {"hipnode": ours, **openvino, EAGER: eager})
    yield _heat_map(run, ours, threads)


def sample() -> tuple[Header, Radiograph]:
    """Return the full-size pelvis, decoded."""
    content = objects.filed(objects.image())
    dataset = pydicom.dcmread(BytesIO(content))
    return dicom.read_header(dataset), imaging.decode(dataset)


def _read(header: Header, radiograph: Radiograph, models: nets.ModelSet) -> tuple[Reading, float]:
    start_s = time.perf_counter()
    made = reading.read(header, radiograph, models, _POLICY)
    return made, (time.perf_counter() - start_s) * 1000


def _with_engines(models: nets.ModelSet, *, gradcam: bool) -> nets.ModelSet:
    def changed(
        loaded: Mapping[Role, nets.LoadedModel],
    ) -> Mapping[Role, nets.LoadedModel]:
        engines = {role: EagerEngine(model, gradcam=gradcam) for role, model in loaded.items()}
        return {role: replace(loaded[role], engine=engine) for role, engine in engines.items()}

    return replace(models, models=changed(models.models), clinical=changed(models.clinical))


def _same(ours: Reading, theirs: Reading) -> None:
    for mine, other in zip(ours.hips, theirs.hips, strict=True):
        pair = zip(mine.findings, other.findings, strict=True)
        if mine.roi != other.roi or any(abs(a.p_positive - b.p_positive) > 1e-3 for a, b in pair):
            raise RuntimeError("the engines do not find the same")
    if not ours.hips:
        raise RuntimeError("nothing was found to compare")


def _openvino(threads: int) -> dict[str, nets.ModelSet]:
    if find_spec("openvino") is None:
        return {}
    return {OPENVINO: nets.load_model_set(device="openvino", threads=threads)}


def _networks_alone(run: Run, compared: Mapping[str, nets.ModelSet]) -> Table:
    """The same without resampling, regions and findings: the engines' own part."""
    rng = np.random.default_rng(3)
    batches = {
        role: rng.normal(
            size=(
                1 if role in (Role.GATE, Role.LOCALISER) else 2,
                model.spec.channels,
                model.spec.size_px,
                model.spec.size_px,
            )
        ).astype(np.float32)
        for role, model in compared["hipnode"].models.items()
    }

    def networks(models: nets.ModelSet) -> float:
        start_s = time.perf_counter()
        for role, batch in batches.items():
            models.models[role].engine.run(batch)
        return (time.perf_counter() - start_s) * 1000

    table = Table("Read: the networks alone, two hips", "ms")
    contestants = {
        name: lambda models=models: networks(models) for name, models in compared.items()
    }
    return table.run(contestants, 3 * run.rounds)


def _heat_map(run: Run, models: nets.ModelSet, threads: int) -> Table:
    model = models.fracture
    graph = (model.path / "models" / "model.onnx").read_bytes()
    weights = (model.path / WEIGHTS).read_bytes()
    without = OnnxEngine(graph, weights, ("logits",), threads)
    shape = (2, model.spec.channels, model.spec.size_px, model.spec.size_px)
    batch = np.random.default_rng(3).normal(size=shape).astype(np.float32)

    def forward(engine: nets.Engine) -> float:
        start_s = time.perf_counter()
        engine.run(batch)
        return (time.perf_counter() - start_s) * 1000

    alone = "without heat map"
    table = Table(
        f"Read: {model.spec.network} with its heat map, two hips",
        "ms",
        targets=(Target(alone, at_most=1.05),),
    )
    contestants = {"hipnode": lambda: forward(model.engine), alone: lambda: forward(without)}
    return table.run(contestants, 10 * run.rounds)
