"""How long it takes until the command line answers, a listener listens, an image has been read."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.bench import objects
from tests.bench.harness import Run, Table, Target
from tests.node import HIPNODE, Node
from tests.peers import end_with_the_tests

_BARE: Final = "python -c pass"
_LIBRARIES: Final = "python, importing what a listener cannot do without"
_NEEDED: Final = "import sqlalchemy, pynetdicom, pydantic, pydantic_settings"
_EAGER: Final = "python, importing torch and monai"


def tables(run: Run) -> Iterator[Table]:
    """Yield the tables of this measurement."""
    seconds = "seconds"
    table = Table("Start: hipnode --help", seconds, targets=(Target(at_most=0.3),))
    contestants = {
        "hipnode": lambda: _timed([*HIPNODE, "--help"]),
        _BARE: lambda: _timed([sys.executable, "-c", "pass"]),
    }
    yield table.run(contestants, run.rounds)

    node = Node(run.new_folder("listener"))
    Node.start(node, "listen")  # makes the database
    node.stop()
    table = Table("Start: listener ready", seconds, targets=(Target(at_most=1),))
    contestants = {
        "hipnode": lambda: _ready(node, "listen"),
        "hipnode serve (four services at once)": lambda: _ready(node, "serve"),
        _LIBRARIES: lambda: _timed([sys.executable, "-c", _NEEDED]),
    }
    yield table.run(contestants, run.rounds)

    table = Table("Start: first reading", seconds, targets=(Target(at_most=2),))
    contestants = {
        "hipnode": lambda: _timed([*HIPNODE, "read", "--json", str(objects.SAMPLE)]),
        _EAGER: lambda: _timed([sys.executable, "-c", "import torch, monai.visualize"]),
    }
    table.notes.append("hipnode read: start, load and prove four networks, decode, read, print")
    yield table.run(contestants, run.rounds)


def _timed(command: list[str]) -> float:
    start_s = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        cwd=Path.home(),
        preexec_fn=end_with_the_tests,
    )
    return time.perf_counter() - start_s


def _ready(node: Node, command: str) -> float:
    start_s = time.perf_counter()
    process = subprocess.Popen(
        [*HIPNODE, command, "--config", str(node.config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=end_with_the_tests,  # noqa: PLW1509 - one system call, no lock
    )
    assert process.stdout
    line = process.stdout.readline()
    took_s = time.perf_counter() - start_s
    process.terminate()
    process.wait(60)
    if "listening on" not in line:
        raise RuntimeError(f"the listener did not start: {line}")
    return took_s
