"""A measurement that is ended halfway leaves nothing behind: no folder, no process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.peers import ROOT, end_with_the_tests


def begun(folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """Return a measurement that is under way, and the folder that it has made."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench", "start", "--rounds", "500", "--folder", str(folder)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=end_with_the_tests,  # noqa: PLW1509 - one system call, no lock
    )
    while not (made := list(folder.glob(f"run-{process.pid}-*"))):
        assert process.poll() is None
        time.sleep(0.02)
    return process, made[0]


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    task = Path("/proc", str(pid), "task", str(pid), "children")
    return [int(child) for child in task.read_text().split()]


def gone(pid: int) -> bool:
    """Tell whether a process has ended (one that nobody has asked for yet has, too)."""
    try:
        state = Path("/proc", str(pid), "stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def started(process: subprocess.Popen[bytes]) -> list[int]:
    """Wait until a measurement has started something; return what."""
    while not (found := children(process.pid)):
        assert process.poll() is None
        time.sleep(0.005)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_measurement_that_is_told_to_stop_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    process, made = begun(tmp_path)
    below = started(process)
    process.send_signal(number)
    assert process.wait(60) != 0
    assert not made.exists()
    while not all(map(gone, below)):
        time.sleep(0.02)
    assert not list(tmp_path.iterdir())


def test_the_next_one_sweeps_up_after_one_that_was_killed(tmp_path: Path) -> None:
    killed, left = begun(tmp_path)
    below = started(killed)
    killed.kill()
    killed.wait(60)
    while not all(map(gone, below)):  # the kernel ends them with it
        time.sleep(0.02)
    assert left.exists()
    beside = tmp_path / "start.json"
    beside.write_text("{}")
    process, made = begun(tmp_path)
    assert not left.exists()
    assert made.exists()
    process.terminate()
    process.wait(60)
    assert list(tmp_path.iterdir()) == [beside]
