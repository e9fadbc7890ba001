"""What a GPU does for hipnode: reading by batch, the largest network, parity, a training step.

    tests/bench/on-gpu               on a GPU machine, from a bare checkout: eight minutes at most
    make bench BENCH=gpu             the same beside the rest; without a GPU small, on the CPU

All sizes are the product's on a GPU, and small on a CPU: there it only shows that all of it runs.
What could not be measured is named with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hipnode.domain import Role
from hipnode.nets.architectures import build
from hipnode.nets.bundle.contents import GOLDEN, METADATA, WEIGHTS, arrays
from hipnode.nets.bundle.setfile import pins
from hipnode.nets.bundle.spec import BundleSpec, read_spec
from hipnode.nets.engines.torch_engine import TorchEngine
from hipnode.training.recipe.recipe import Recipe, read_recipe
from tests.bench.harness import Run, Table, Target, keep, machine, say

DEVICE: Final = "cuda" if torch.cuda.is_available() else "cpu"
SMALL: Final = DEVICE == "cpu"
LARGEST: Final = "gale2017-densenet172"
EAGER: Final = "eager, as hipnode runs it"
BATCHES: Final = (1, 2) if SMALL else (1, 4, 16, 64)
SETS: Final = ("default", "dxa")
STEPS: Final = (
    "murphy2022-cnn1", "murphy2022-cnn2", "gale2017-cnn-frontal", "gale2017-cnn-metal",
    "gale2017-cnn-bounding", LARGEST, "gale2017-fcn", "yamamoto2020-googlenet",
    "yamamoto2020-resnet18", "yamamoto2020-resnet34", "yamamoto2020-efficientnet-b3",
    "yamamoto2020-efficientnet-b4", "jang2022-vgg16", "dxa2023-vgg16", "dxa2023-resnet50",
    "dxa2023-vit-s", "dxa2023-clinical",
)  # fmt: skip
_HIPS: Final = 2  # of an image, as a batch of each classifier
_LONGEST_S: Final = 400.0
"""No table is begun after so long: a GPU is lent by the minute."""
_GALE_PX: Final = 256
"""Gale's networks shrink what they see so often that less is nothing at the end."""

Array = NDArray[np.float32]


def tables(run: Run) -> Iterator[Table]:
    """Yield the tables of this measurement."""
    since_s = time.monotonic()
    made: tuple[Callable[[], Table], ...] = (
        *(partial(by_batch, run, name) for name in SETS),
        parity,
        partial(largest, run),
        *(partial(training_step, run, name) for name in STEPS),
    )
    for number, table in enumerate(made):
        if time.monotonic() - since_s > _LONGEST_S:
            say(f"{len(made) - number} tables were not begun: {_LONGEST_S:.0f} s are over")
            return
        yield table()


def where() -> str:
    """Return what it runs on, in words."""
    name = "this CPU, small sizes" if SMALL else torch.cuda.get_device_name()
    return f"{name}; torch {torch.__version__}"


def _settled() -> None:
    if not SMALL:
        torch.cuda.synchronize()


def _ms(once: Callable[[], Any], times: int = 3) -> float:
    """Return the milliseconds of a call, all that it started on the device included."""
    once()
    _settled()
    start_s = time.perf_counter()
    for _ in range(times):
        once()
    _settled()
    return (time.perf_counter() - start_s) * 1000 / times


# --- reading --------------------------------------------------------------------------------------


def _networks(reference: str) -> dict[str, tuple[Path, BundleSpec, TorchEngine]]:
    """Return bundle, specification and engine of each network of a set that always runs."""
    found = {}
    for key, (folder, digest) in pins(reference).items():
        if "/" not in key:  # no variant with clinical data
            spec = read_spec((folder / METADATA).read_bytes(), digest)
            weights = (folder / WEIGHTS).read_bytes()
            engine = TorchEngine(spec.network, spec.arguments, weights, spec.outputs, device=DEVICE)
            found[key] = folder, spec, engine
    return found


def _noise(spec: BundleSpec, count: int) -> tuple[Array, Array | None]:
    rng = np.random.default_rng(3)
    size = (count, spec.channels, spec.size_px, spec.size_px)
    known = rng.normal(size=(count, len(spec.covariates))) if spec.covariates else None
    image = rng.normal(size=size).astype(np.float32)
    return image, None if known is None else known.astype(np.float32)


def by_batch(run: Run, reference: str) -> Table:
    """All networks of a set, on so many images at once; memory to memory."""
    table = Table(
        f"GPU: the networks of the set {reference!r}, images of two hips, by batch",
        "images/s",
        ours=_named(BATCHES[0]),
        notes=[
            where(),
            "float32, from and to the machine's memory; one image is what a node reads",
        ],
    )
    networks = _networks(reference)

    def rate(batch: int) -> float:
        given = {
            key: _noise(spec, batch * (1 if key in (Role.GATE, Role.LOCALISER) else _HIPS))
            for key, (_, spec, _) in networks.items()
        }
        return 1000 * batch / _ms(lambda: [networks[key][2].run(*x) for key, x in given.items()])

    return table.run({_named(n): partial(rate, n) for n in BATCHES}, run.rounds)


def _named(batch: int) -> str:
    return f"batch of {batch}"


def parity() -> Table:
    """How far shipped networks' outputs are from those that came with them, in the worst place."""
    table = Table(
        "GPU: the largest difference from the CPU, by network",
        "of the output's largest value",
        ours="float32, as hipnode runs it",
        targets=(Target(at_most=1e-4),),
        notes=["one value a network of the shipped sets; " + where()],
    )
    for reference in SETS:
        for folder, _, engine in _networks(reference).values():
            golden = arrays((folder / GOLDEN).read_bytes(), GOLDEN)
            wanted = {name: one.astype(np.float32) for name, one in golden.items()}
            given, known = wanted.pop("input"), wanted.pop("covariates", None)
            for name, context in _arithmetics().items():
                with context():
                    far = _apart(engine.run(given, known), wanted)
                table.values.setdefault(name, []).append(far)
    return table


def _arithmetics() -> dict[str, Callable[[], contextlib.AbstractContextManager[Any]]]:
    return {
        "float32, as hipnode runs it": contextlib.nullcontext,
        "TensorFloat-32": _tensor_float,
        "bf16": lambda: torch.autocast(DEVICE, torch.bfloat16),
    }


@contextlib.contextmanager
def _tensor_float() -> Iterator[None]:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def _apart(got: dict[str, Any], wanted: dict[str, Any]) -> float:
    return max(
        float(np.abs(got[name] - wanted[name]).max() / max(1.0, np.abs(wanted[name]).max()))
        for name in got
    )


# --- the largest network --------------------------------------------------------------------------


def largest(run: Run) -> Table:
    """Gale's DenseNet-172 at its own size, eager and fused, against what moving its data takes."""
    recipe = _recipe(LARGEST)
    px, batch = (_GALE_PX, 1) if SMALL else (recipe.preprocess.size_px, 8)
    torch.manual_seed(0)
    net = build(recipe.network.name, dict(recipe.network.arguments)).eval().to(DEVICE)
    given = torch.randn(batch, 1, px, px, device=DEVICE)
    table = Table(
        f"GPU: DenseNet-172, {batch} hips of {px} px",
        "ms",
        ours=EAGER,
        notes=[where(), "float32, on the device; the network is untrained"],
    )
    ways = {EAGER: lambda: net(given)}
    for name, made in _faster(net, given).items():
        try:
            way = made()
            way()
        except Exception as error:  # noqa: BLE001 - a compiler that is not there, or refuses
            table.notes.append(f"{name}: not measured, {type(error).__name__}")
        else:
            ways[name] = way
    with torch.inference_mode():
        table.run({name: partial(_ms, way) for name, way in ways.items()}, run.rounds)
        bound_ms, said = _bound(net, given)
    fastest = min(table.median(name) for name in table.values)
    table.notes.append(f"{said}; the fastest reaches {bound_ms / fastest:.0%} of that")
    return table


def _faster(net: nn.Module, given: torch.Tensor) -> dict[str, Callable[[], Callable[[], Any]]]:
    def last() -> Callable[[], Any]:
        turned = copy.deepcopy(net).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        image = given.to(memory_format=torch.channels_last)
        return torch.inference_mode()(lambda: turned(image))

    ways: dict[str, Callable[[], Callable[[], Any]]] = {"eager, channels last": last}
    if not SMALL:
        fused = torch.inference_mode()(torch.compile(net))
        ways["eager, CUDA graph"] = lambda: _graph(net, given)
        ways["fused (torch.compile)"] = lambda: lambda: fused(given)
        ways["fused, CUDA graph"] = lambda: _graph(fused, given)
    return ways


def _graph(net: Callable[[torch.Tensor], Any], given: torch.Tensor) -> Callable[[], Any]:
    """Record a run of a network once; what is returned plays it again."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.inference_mode():
        for _ in range(3):
            net(given)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.inference_mode():
        net(given)
    return graph.replay


def _bound(net: nn.Module, given: torch.Tensor) -> tuple[float, str]:
    """Return the ms that it takes to move what convolutions read and write, all else fused."""
    moved = [0]

    def count(layer: nn.Module, came: tuple[torch.Tensor, ...], went: torch.Tensor) -> None:
        tensors = [*came, went, *layer.parameters()]
        moved[0] += sum(one.numel() * one.element_size() for one in tensors)

    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    net(given)
    for hook in hooks:
        hook.remove()
    large = torch.empty((64 if SMALL else 1024) * 2**20, dtype=torch.uint8, device=DEVICE)
    other = torch.empty_like(large)
    bytes_s = 2 * large.numel() / (_ms(lambda: other.copy_(large)) / 1000)
    bound_ms = moved[0] / bytes_s * 1000
    return bound_ms, (
        f"{moved[0] / 1e9:.2f} GB pass its convolutions, {bound_ms:.2f} ms at the "
        f"{bytes_s / 1e9:.0f} GB/s of a copy"
    )


# --- training -------------------------------------------------------------------------------------


def training_step(run: Run, name: str) -> Table:
    """Forward, backward and update of a paper's network, on images that lie on the device."""
    recipe = _recipe(name)
    batch = 2 if SMALL else min(recipe.plan.batch, 32)
    small_px = _GALE_PX if name.startswith("gale2017") else 64
    px = min(recipe.preprocess.size_px, small_px if SMALL else 1024)
    table = Table(
        f"GPU: a training step of {name}, {px} px",
        "ms an image",
        ours="float32",
        notes=[f"batches of {batch if SMALL else 'the recipe, 32 at most'}; AdamW; {where()}"],
    )
    arguments = dict(recipe.network.arguments)
    if SMALL and name == "gale2017-fcn":
        arguments |= {"depth": 7, "width": 64}  # of nine layers 256 pixels leave nothing
    if "size_px" in arguments:
        arguments["size_px"] = px
    net = build(recipe.network.name, arguments).to(DEVICE).train()
    given = [torch.randn(batch, 1, px, px, device=DEVICE)]
    if recipe.covariates:
        given.append(torch.randn(batch, len(recipe.covariates), device=DEVICE))
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4)

    def step(bf16: bool) -> None:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16):
            outputs = net(*given)
            loss = sum(out.float().square().mean() for out in outputs.values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    times = 1 if SMALL else 5
    return table.run(
        {
            "float32": lambda: _ms(lambda: step(False), times) / batch,
            "bf16": lambda: _ms(lambda: step(True), times) / batch,
        },
        run.rounds,
    )


def _recipe(name: str) -> Recipe:
    found = read_recipe(name)
    if not isinstance(found, Recipe):
        raise TypeError(f"{name} learns without labels")
    return found


def main() -> None:
    """Measure, print and keep; with as little around it as a borrowed machine has."""
    parser = argparse.ArgumentParser(prog="tests/bench/on-gpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("artefacts") / "bench")
    chosen = parser.parse_args()
    done: list[Table] = []
    say(where())
    with tempfile.TemporaryDirectory() as folder:
        for table in tables(Run(chosen.rounds, 1.0, Path(folder))):
            say("\n".join(table.lines()))
            done.append(table)
            keep(done, machine() | {"device": where()}, chosen.folder / "gpu.json")


if __name__ == "__main__":
    main()
