"""One study from the first byte of its association until its report is in the archive."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from typing import Final

import pydicom
from pydicom import uid

from hipnode import imaging, nets, reading
from tests.archive import Orthanc
from tests.bench import objects, router_peer
from tests.bench.harness import Run, Table, Target
from tests.bench.sending import Framed
from tests.node import Node, destination

ALONE: Final = "decode and networks alone"
_OBJECTS: Final = ("sr", "capture", "text")
_SYNTAXES: Final = (uid.ExplicitVRLittleEndian, uid.JPEG2000Lossless)
_labels = itertools.count()


def tables(run: Run) -> Iterator[Table]:
    """Yield a table for each of two transfer syntaxes."""
    folder = run.new_folder("study")
    archive = Orthanc(folder / "orthanc", Plugins=[])
    archive.start()
    node = Node(
        folder / "node",
        report={"quiet_s": 0},
        log={"level": "error"},
        queue={"lease_s": 60},
        destinations=[destination(archive, objects=list(_OBJECTS))],
    )
    node.start()
    models = nets.load_model_set(device="cpu", threads=os.cpu_count() or 1)
    ours = partial(_through, archive, node.port, node.ae_title, len(_OBJECTS))
    try:
        ours(Framed(objects.image()))  # models are loaded by the time it is there
        with router_peer.running(folder / "router", archive) as port:
            for syntax in _SYNTAXES:
                image = objects.image(syntax=syntax)
                contestants = {
                    "hipnode": partial(ours, Framed(image)),
                    ALONE: partial(_alone, objects.filed(image), models),
                }
                if port and not syntax.is_encapsulated:  # it refuses compressed objects
                    contestants[router_peer.NAME] = partial(
                        _through,
                        archive,
                        port,
                        router_peer.AE_TITLE,
                        router_peer.RESULTS,
                        Framed(router_peer.image()),
                    )
                table = Table(
                    f"Study: one DX in {syntax.name}, association to report in Orthanc",
                    "ms",
                    targets=(
                        Target(ALONE, at_most=1.25),
                        Target(router_peer.NAME, at_most=1),
                    ),
                    notes=[
                        "quiet_s = 0; until SR, heat map and text report are in Orthanc's index",
                        "hipnode's time includes its models; dicom-ai-router's model does nothing",
                    ],
                )
                yield table.run(contestants, 3 * run.rounds)
    finally:
        node.stop()
        archive.stop()


def _through(archive: Orthanc, port: int, called: str, results: int, framed: Framed) -> float:
    before = _count(archive)
    start_s = time.perf_counter()
    framed.send(port, called, 1, f"study-{next(_labels)}")
    while _count(archive) < before + results:
        if time.perf_counter() - start_s > 120:
            raise RuntimeError("no report within two minutes")
        time.sleep(0.01)
    return (time.perf_counter() - start_s) * 1000


def _count(archive: Orthanc) -> int:
    return int(json.loads(archive.request("GET", "/statistics"))["CountInstances"])


def _alone(content: bytes, models: nets.ModelSet) -> float:
    start_s = time.perf_counter()
    dataset = pydicom.dcmread(BytesIO(content))
    header, radiograph = imaging.read_header(dataset), imaging.decode(dataset)
    reading.read(header, radiograph, models, reading.ReadPolicy())
    return (time.perf_counter() - start_s) * 1000
