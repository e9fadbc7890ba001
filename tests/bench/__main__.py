"""Every figure of docs/performance.md, from one command.

    make bench                       all of it
    make bench BENCH="ingest start"  a part
    python -m tests.bench --help     rounds, size, where the figures go

Peers that are not installed end the run with the name of their package.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType

from tests.bench.harness import Run, Table, keep, machine, say, sweep
from tests.peers import ROOT

_PATIENCE_S = 5
"""How long what was started may take to end."""
PARTS = (
    "start", "ingest", "read", "report", "study", "decode", "throughput", "queue", "dispatch",
    "audit", "desk",
    "memory", "gpu",
)  # fmt: skip


def main() -> None:
    """Run the chosen parts, print each table as it is done, keep all as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0, help="0.1 for a quick look")
    parser.add_argument("--full", action="store_true", help="the largest sizes, hours of it")
    parser.add_argument("--folder", type=Path, default=ROOT / "artefacts" / "bench")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    chosen.folder = chosen.folder.resolve()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    # Threads of libgomp that spin while they wait make torch look many times slower than it is
    # on a machine that does anything else.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, partial(_stop, chosen.folder))
    sweep(chosen.folder)
    about = machine()
    for part in chosen.parts or PARTS:
        folder = Path(tempfile.mkdtemp(prefix=f"run-{os.getpid()}-", dir=chosen.folder))
        done: list[Table] = []
        began_s = time.monotonic()
        try:
            module = import_module(f"tests.bench.{part}")
            for table in module.tables(Run(chosen.rounds, chosen.scale, folder, chosen.full)):
                say("\n".join(table.lines()))
                done.append(table)
                keep(done, about, chosen.folder / f"{part}.json")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        say(f"{part}: {time.monotonic() - began_s:.0f} s\n")


def _stop(parent: Path, number: int, _frame: FrameType | None) -> None:
    """End what was started, leave nothing on disk, and end.

    Nothing is raised: there are places where Python swallows what a signal's handler raises.
    """
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    tasks = [task / "children" for task in Path("/proc/self/task").iterdir()]
    children = {int(pid) for task in tasks for pid in task.read_text().split()}
    for how in (signal.SIGTERM, signal.SIGKILL):
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, how)
        until_s = time.monotonic() + _PATIENCE_S
        while children and time.monotonic() < until_s:
            children = {pid for pid in children if _lives(pid)}
            time.sleep(0.02)
    for folder in parent.glob(f"run-{os.getpid()}-*"):
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(128 + number)


def _lives(pid: int) -> bool:
    """Tell whether a child still runs."""
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:  # somebody has waited for it
        return False


main()
