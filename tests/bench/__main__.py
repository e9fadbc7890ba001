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
from importlib import import_module
from pathlib import Path
from types import FrameType

from tests.bench.harness import Run, Table, keep, machine, say, sweep
from tests.peers import ROOT

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
        signal.signal(number, _stop)
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


def _stop(number: int, _frame: FrameType | None) -> None:
    """End as at an error, so that whatever was started is stopped and nothing stays on disk."""
    raise SystemExit(128 + number)


main()
