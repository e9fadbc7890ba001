"""Memory: the services' resident size once a small and a large backlog have been worked off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from hipnode.domain import JobKind, JobState
from hipnode.settings import load
from hipnode.storage import Store
from tests.bench import objects
from tests.bench.harness import Run, Table, Target, say
from tests.bench.sending import Framed
from tests.node import Node

_FEW = 10
_SERVICES = ("listen", "work")


def tables(run: Run) -> Iterator[Table]:
    """Yield one table for each service: its size after the large backlog over that after ten."""
    many = run.size(5000, 50)
    node = Node(
        run.new_folder("memory"),
        report={"quiet_s": 0},
        log={"level": "error"},
        queue={"lease_s": 60},
    )
    node.start()
    store = Store.open(load(node.config))
    framed = Framed(objects.image(objects.SMALL))
    sizes: dict[str, list[float]] = {name: [] for name in _SERVICES}
    try:
        for count in (_FEW, many - _FEW):
            framed.send(node.port, node.ae_title, count, f"memory-{count}")
            _drain(store)
            for name in _SERVICES:
                sizes[name].append(_resident_mb(node, name))
    finally:
        store.close()
        node.stop()
    for name in _SERVICES:
        table = Table(
            f"Memory: hipnode {name} and its processes, after a backlog of {many:,} images",
            "MB resident",
            ours=f"after {many:,}",
            targets=(Target(f"after {_FEW}", at_most=1.1),),
        )
        table.values = {f"after {many:,}": [sizes[name][1]], f"after {_FEW}": [sizes[name][0]]}
        yield table


def _drain(store: Store) -> None:
    while True:
        jobs = store.lookups.overview().jobs
        open_states = (JobState.QUEUED, JobState.CLAIMED)
        left = {
            kind: sum(jobs.get((kind, state), 0) for state in open_states)
            for kind in (JobKind.READ, JobKind.REPORT)
        }
        if not any(left.values()):
            return
        say(f"  memory: {left[JobKind.READ]} readings, {left[JobKind.REPORT]} reports", end="\r")
        time.sleep(1)


def _resident_mb(node: Node, command: str) -> float:
    """Return what the service and its children hold, shared pages divided among their users."""
    first = node.service(command)
    assert node.process
    kilobytes = 0
    for pid in node.process.family():
        if pid == first or first in _ancestors(pid):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
            kilobytes += int(line.split()[1])
    return kilobytes / 1000


def _ancestors(pid: int) -> set[int]:
    found: set[int] = set()
    while pid > 1 and pid not in found:
        found.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found
