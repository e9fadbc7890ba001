"""A backlog of studies: the worker with queue, rows, files and reports, next to bare computing."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from blake3 import blake3

from hipnode import reporting
from hipnode.domain import JobKind, JobState
from hipnode.services.worker import reader, reports
from hipnode.settings import Settings, load
from hipnode.storage import Store
from tests.bench import objects
from tests.bench.harness import Run, Table, Target
from tests.bench.sending import Framed
from tests.node import HIPNODE, Node
from tests.peers import Process

COMPUTING = "decode, networks and report objects alone"
NETWORKS = "decode and networks alone"


def tables(run: Run) -> Iterator[Table]:
    """Yield the table of this measurement."""
    cores = os.cpu_count() or 1
    studies = run.size(500, 2 * cores)
    node = Node(
        run.new_folder("backlog"),
        report={"quiet_s": 0},
        worker={"processes": cores, "threads": 1},
        log={"level": "error"},
        queue={"lease_s": 60},
        destinations=[],
    )
    framed = Framed(objects.image())
    table = Table(
        f"Throughput: a backlog of {studies} studies of one DX (10.7 MB), {cores} cores",
        "studies/s",
        targets=(Target(COMPUTING, at_least=0.8),),
        notes=["hipnode's rate from the first report to the last; models are loaded before"],
    )
    rounds = max(1, run.rounds // 3)
    settings = load(node.config)
    numbers = iter(range(1000))

    def ours() -> float:
        label = f"backlog-{next(numbers)}"
        node.start("listen")
        framed.send(node.port, node.ae_title, 2 * studies, label)  # two images a study
        node.stop()
        try:
            return _work_off(node, settings)
        finally:
            _make_room(node, 2 * studies)

    def alone(with_report: bool) -> float:
        return _bare(settings, _images(node), cores, with_report) / 2

    ours()  # gives the others their files, and warms the disk's cache
    contestants: dict[str, Callable[[], float]] = {
        "hipnode": ours,
        COMPUTING: partial(alone, True),
        NETWORKS: partial(alone, False),
    }
    table.title = table.title.replace("one DX", "two DX")
    yield table.run(contestants, rounds)


def _make_room(node: Node, keep: int) -> None:
    """Delete what a round has left but the images that the others read: 500 studies are 15 GB."""
    results = (node.data_dir / "results").rglob("*.dcm")
    for path in [*results, *_images(node)[keep:]]:
        path.unlink()


def _images(node: Node) -> list[Path]:
    """Return the images, the oldest first."""
    found = (node.data_dir / "images").rglob("*.dcm")
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def _work_off(node: Node, settings: Settings) -> float:
    """Run ``hipnode work`` until nothing is left; return the rate of reports in between."""
    store = Store.open(settings)
    before = _done(store)
    command = [*HIPNODE, "work", "--config", str(node.config)]
    process = Process(command, node.folder / "work.log")
    first: tuple[float, int] | None = None
    last = (0.0, 0)
    try:
        while True:
            time.sleep(0.05)
            now, done = time.perf_counter(), _done(store) - before
            if done and first is None:
                first = (now, done)
            if done > last[1]:
                last = (now, done)
            if not _left(store):
                break
            if not process.running:
                raise RuntimeError(process.output()[-2000:])
    finally:
        process.stop()
        store.close()
    if first is None or last[1] == first[1]:
        raise RuntimeError("the backlog was too small to measure")
    return (last[1] - first[1]) / (last[0] - first[0])


def _done(store: Store) -> int:
    return store.lookups.overview().jobs.get((JobKind.REPORT, JobState.DONE), 0)


def _left(store: Store) -> int:
    jobs = store.lookups.overview().jobs
    return sum(
        jobs.get((kind, state), 0)
        for kind in (JobKind.READ, JobKind.REPORT)
        for state in (JobState.QUEUED, JobState.CLAIMED)
    )


def _bare(settings: Settings, paths: list[Path], cores: int, with_report: bool) -> float:
    """Return images a second when nothing but the worker's own computing is done."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(cores) as pool:
        pool.map(partial(_warm, settings), range(cores), chunksize=1)
        start_s = time.perf_counter()
        pool.map(partial(_compute, settings, with_report), _pairs(paths), chunksize=1)
        return len(paths) / (time.perf_counter() - start_s)


def _pairs(paths: list[Path]) -> list[list[Path]]:
    return [paths[i : i + 2] for i in range(0, len(paths), 2)]


def _warm(settings: Settings, _: int) -> None:
    reader.prepare()
    reader.warm(reader.reader_spec(settings))
    time.sleep(0.5)  # so that each process of the pool gets one


def _compute(settings: Settings, with_report: bool, paths: list[Path]) -> None:
    spec = reader.reader_spec(settings)
    if not with_report:
        for path in paths:
            reader.read_image(spec, path)
        return
    request = partial(
        reporting.ReportRequest,
        node=reports.node_identity(settings),
        made_utc=datetime.now(UTC),
        version=1,
        objects=reports.objects_for(()),
        sr_classes=reports.sr_classes_for(()),
    )
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # to keep them is the node's part
    with TemporaryDirectory(dir=memory) as views, TemporaryDirectory(dir=memory) as folder:
        spec = replace(spec, views=Path(views))
        sources = tuple(
            reader.Source(p, blake3().update_mmap(p).hexdigest(), reader.read_image(spec, p))
            for p in paths
        )
        reader.build_report(spec, sources, request, Path(folder))
