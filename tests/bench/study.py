"""One study from the first byte of its association until its report is in the archive."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Final

import pydicom
from pydicom import Dataset, uid

from hipnode import dicom, imaging, nets, reading
from tests import untrained
from tests.archive import Orthanc
from tests.bench import objects, router_peer
from tests.bench.harness import Run, Table, Target
from tests.bench.sending import Framed
from tests.node import Node, destination

ALONE: Final = "decode and networks alone"
FIRST: Final = "hipnode, until SR and capture are there"
_OBJECTS: Final = ("sr", "capture", "text")
_SYNTAXES: Final = (uid.ExplicitVRLittleEndian, uid.JPEG2000Lossless)
_labels = itertools.count()


def tables(run: Run) -> Iterator[Table]:
    """Yield a table for each of two transfer syntaxes, and one for networks of the papers' size."""
    folder = run.new_folder("study")
    archive = Orthanc(folder / "orthanc", Plugins=[])
    archive.start()
    try:
        with (
            router_peer.running(folder / "router", archive) as router,
            _reading(folder / "node", archive, "default") as ours,
        ):
            for syntax in _SYNTAXES:
                image = objects.image(syntax=syntax)
                contestants = ours(image)
                if router and not syntax.is_encapsulated:  # it refuses compressed objects
                    contestants[router_peer.NAME] = partial(
                        _through,
                        archive,
                        router,
                        router_peer.AE_TITLE,
                        router_peer.RESULTS,
                        Framed(router_peer.image()),
                    )
                table = Table(
                    f"Study: one DX in {syntax.name}, association to report in Orthanc",
                    "ms",
                    targets=(
                        Target(ALONE, at_most=1.25 if syntax.is_encapsulated else 2.2),
                        Target(router_peer.NAME, at_most=1),
                    ),
                    notes=[
                        "quiet_s = 0; until SR, heat map and text report are in Orthanc's index",
                        "hipnode's time includes its models; dicom-ai-router's model does nothing",
                    ],
                )
                yield table.run(contestants, 3 * run.rounds)
        large = untrained.large_set(folder / "models")
        with _reading(folder / "large", archive, str(large)) as ours:
            table = Table(
                f"Study: the same, raw, read by {' and '.join(untrained.LARGE)}",
                "ms",
                targets=(Target(ALONE, at_most=1.25),),
                notes=["the papers' largest networks, untrained: only their time counts here"],
            )
            yield table.run(ours(objects.image()), 3 * run.rounds)
    finally:
        archive.stop()


@contextmanager
def _reading(
    folder: Path, archive: Orthanc, model_set: str
) -> Iterator[Callable[[Dataset], dict[str, Callable[[], float]]]]:
    """Run a node with this model set; yield what makes contestants of an image."""
    node = Node(
        folder,
        report={"quiet_s": 0},
        log={"level": "error"},
        queue={"lease_s": 60},
        worker={"model_set": model_set},
        destinations=[destination(archive, objects=list(_OBJECTS))],
    )
    node.start()
    models = nets.load_model_set(model_set, device="cpu", threads=os.cpu_count() or 1)

    def contestants(image: Dataset) -> dict[str, Callable[[], float]]:
        through = partial(_through, archive, node.port, node.ae_title, len(_OBJECTS))
        return {
            "hipnode": partial(through, Framed(image)),
            FIRST: partial(through, Framed(image), timed=2),
            ALONE: partial(_alone, objects.filed(image), models),
        }

    try:
        contestants(objects.image())["hipnode"]()  # models are loaded by the time it is there
        yield contestants
    finally:
        node.stop()


def _through(
    archive: Orthanc, port: int, called: str, results: int, framed: Framed, timed: int = 0
) -> float:
    """Return the milliseconds until so many of the results are there; wait for all of them."""
    before, took_s = _count(archive), 0.0
    start_s = time.perf_counter()
    framed.send(port, called, 1, f"study-{next(_labels)}")
    while (there := _count(archive) - before) < results:
        if time.perf_counter() - start_s > 120:
            raise RuntimeError("no report within two minutes")
        if timed and there >= timed and not took_s:
            took_s = time.perf_counter() - start_s
        time.sleep(0.01)
    return (took_s or time.perf_counter() - start_s) * 1000


def _count(archive: Orthanc) -> int:
    return int(json.loads(archive.request("GET", "/statistics"))["CountInstances"])


def _alone(content: bytes, models: nets.ModelSet) -> float:
    start_s = time.perf_counter()
    dataset = pydicom.dcmread(BytesIO(content))
    header, radiograph = dicom.read_header(dataset), imaging.decode(dataset)
    reading.read(header, radiograph, models, reading.ReadPolicy())
    return (time.perf_counter() - start_s) * 1000
