"""What the operating system was asked to sync before 0x0000, and what is held in memory."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.node import write_settings
from tests.peers import Process, eventually, require
from tests.protocol.objects import DX, encoded, radiograph
from tests.protocol.wire import Wire, p_data, pdv, store_rq

_READY = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
Start = Callable[..., tuple[Process, int]]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Start]:
    """A function that starts ``hipnode listen`` as a process, behind a wrapper if need be."""
    started: list[Process] = []

    def start(*wrapper: str) -> tuple[Process, int]:
        config = write_settings(
            tmp_path / "hipnode.toml",
            {
                "node": {"data_dir": tmp_path / "data"},
                "listener": {"port": 0, "accept_any_caller": True},
                "retention": {"disk_low_bytes": 0},
            },
        )
        command = [*wrapper, sys.executable, "-m", "hipnode", "listen", "--config", str(config)]
        started.append(Process(command, tmp_path / "log", env={"PYTHONUNBUFFERED": "1"}))

        def port() -> int:
            assert started[-1].running, started[-1].output()
            found = _READY.search(started[-1].output())
            return int(found[1]) if found else 0

        return started[-1], eventually(port, timeout_s=60)

    yield start
    for process in started:
        process.kill()


def test_file_folder_and_row_are_synced_before_the_answer(listener: Start, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = "trace=fsync,fdatasync,sendto,link,linkat,rename"
    strace = require("strace", "strace")
    _, port = listener(strace, "-f", "-y", "-e", calls, "-o", str(trace))
    ds = radiograph(600, 600)
    with Wire(port) as wire:
        wire.associate()
        trace.write_text("")  # what came before is of no interest
        wire.send(p_data(pdv(1, 3, store_rq(DX, ds.SOPInstanceUID)), pdv(1, 2, encoded(ds))))
        assert wire.status() == 0
        wire.release()

    def lines() -> list[str]:
        return trace.read_text(errors="replace").replace("\0", "").splitlines()

    def answers() -> list[int]:
        # a P-DATA-TF PDU: type 4, reserved 0
        return [n for n, line in enumerate(lines()) if re.search(r'sendto\(.*"\\4\\0', line)]

    (answer,) = eventually(answers)
    before = [line for line in lines()[:answer] if "sync(" in line or "resumed" in line]
    for what in (r"data/incoming/\d+-\w+>", r"data/images/\w\w>", r"hipnode\.db-wal>"):
        assert any(re.search(what, line) for line in before), f"{what} not in {before}"
    assert all("= 0" in line or "unfinished" in line for line in before if "sync(" in line)


def test_memory_does_not_grow_with_the_size_of_an_object(listener: Start, tmp_path: Path) -> None:
    process, port = listener()

    def peak_bytes() -> int:
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    def send(wire: Wire, megabytes: int) -> None:
        ds = radiograph(8, 8)
        head = encoded(ds)[: -(8 * 8 * 2 + 4)]
        wire.send(p_data(pdv(1, 3, store_rq(DX, ds.SOPInstanceUID))))
        wire.send(p_data(pdv(1, 0, head + (megabytes << 20).to_bytes(4, "little"))))
        noise = os.urandom(1 << 17)
        for part in range(megabytes * 8):
            last = 2 if part == megabytes * 8 - 1 else 0
            wire.send(p_data(pdv(1, last, noise)))
        assert wire.status() == 0

    with Wire(port, timeout_s=120) as wire:
        wire.associate()
        send(wire, 8)
        before = peak_bytes()
        send(wire, 300)
        wire.release()
    assert peak_bytes() - before < 16 << 20
