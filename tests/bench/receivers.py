"""Everybody who takes images in: ours, the peers as shipped and tuned, and the floor."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.archive import Orthanc
from tests.node import Node
from tests.peers import ROOT, Process, eventually, require, start_on_free_ports

SINK_SOURCE: Final = Path(__file__).with_name("sink.c")
NODELAY: Final = {"TCP_NODELAY": "1"}
TUNED_PDU: Final = 131072

FLOOR: Final = "C floor (write, fsync file and folder)"
STORESCP: Final = "dcmtk storescp as shipped, not durable"
STORESCP_TUNED: Final = "dcmtk storescp tuned, not durable"
ORTHANC: Final = "Orthanc as shipped"
ORTHANC_TUNED: Final = "Orthanc tuned"
PYNETDICOM: Final = "pynetdicom storescp, not durable"
PYNETDICOM_DURABLE: Final = "stock pynetdicom made durable"


@dataclass
class Receiver:
    """Something that listens, and how to empty it between rounds."""

    port: int
    called: str
    empty: Callable[[], None]


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _wipe(folder: Path) -> Callable[[], None]:
    def empty() -> None:
        for item in folder.iterdir():
            if item.is_file() and not item.name.startswith("index.db"):
                item.unlink()

    return empty


@contextmanager
def _process(
    folder: Path, command: Callable[[int], list[str]], environment: Mapping[str, str]
) -> Iterator[Receiver]:
    def launch(port: int) -> tuple[Process, int]:
        process = Process(command(port), folder.with_suffix(".log"), env=environment)
        process.wait_listening(port)
        return process, port

    process, port = start_on_free_ports(launch, 1)
    try:
        yield Receiver(port, "ANY", _wipe(folder))
    finally:
        process.kill()


@contextmanager
def floor(folder: Path) -> Iterator[Receiver]:
    """Compile and run the C sink."""
    program = folder.with_suffix(".sink")
    compiler = require("cc", "gcc")
    subprocess.run([compiler, "-O2", "-o", str(program), str(SINK_SOURCE)], check=True)
    process = Process([program, folder], folder.with_suffix(".log"))
    try:
        eventually(lambda: process.output().strip(), what="the sink listens")
        yield Receiver(int(process.output()), "ANY", _wipe(folder))
    finally:
        process.kill()


@contextmanager
def storescp(folder: Path, *, tuned: bool = False) -> Iterator[Receiver]:
    """dcmtk's receiver; tuned: bytes kept as they come, large PDUs, no Nagle."""
    options = ["+B", "-pdu", str(TUNED_PDU)] if tuned else []
    program = require("storescp", "dcmtk")

    def command(port: int) -> list[str]:
        # +xa: any transfer syntax; --fork: more than one association at a time
        return [program, "--fork", "+xa", *options, "-od", str(folder), str(port)]

    with _process(folder, command, NODELAY if tuned else {}) as receiver:
        yield receiver


@contextmanager
def orthanc(folder: Path, *, tuned: bool = False) -> Iterator[Receiver]:
    """Orthanc without plug-ins; tuned: large PDUs, no Nagle. Both fsync the file, not the index."""
    options: dict[str, Any] = {"Plugins": [], "DicomCheckCalledAet": False, "StableAge": 60}
    if tuned:
        options["MaximumPduLength"] = TUNED_PDU
    archive = Orthanc(folder, **options)
    with _environment(NODELAY if tuned else {}):
        archive.start()
    try:
        yield Receiver(archive.dicom_port, archive.ae_title, archive.clear)
    finally:
        archive.kill()


@contextmanager
def pynetdicom(folder: Path) -> Iterator[Receiver]:
    """pynetdicom's own storescp application."""

    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "pynetdicom", "storescp", str(port), "-od", str(folder), "-q"]

    with _process(folder, command, {}) as receiver:
        yield receiver


@contextmanager
def pynetdicom_durable(folder: Path) -> Iterator[Receiver]:
    """Stock pynetdicom with the syncs and the row that we have."""

    def command(port: int) -> list[str]:
        module = "tests.bench.durable_pynetdicom"
        return [sys.executable, "-m", module, str(port), str(folder)]

    environment = {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    with _process(folder, command, environment) as receiver:
        yield receiver


@contextmanager
def hipnode(folder: Path) -> Iterator[Receiver]:
    """Our listener, as ``hipnode listen`` runs it."""
    node = Node(folder, log={"level": "warning"})
    node.start("listen")

    def empty() -> None:
        for name in ("images", "incoming", "quarantine"):
            for item in (node.data_dir / name).rglob("*"):
                if item.is_file():
                    item.unlink()

    try:
        yield Receiver(node.port, node.ae_title, empty)
    finally:
        node.stop()


ALL: Final[dict[str, Callable[[Path], Any]]] = {
    "hipnode": hipnode,
    FLOOR: floor,
    STORESCP: storescp,
    STORESCP_TUNED: lambda folder: storescp(folder, tuned=True),
    ORTHANC: orthanc,
    ORTHANC_TUNED: lambda folder: orthanc(folder, tuned=True),
    PYNETDICOM: pynetdicom,
    PYNETDICOM_DURABLE: pynetdicom_durable,
}


@contextmanager
def running(folder: Path, *names: str) -> Iterator[dict[str, Receiver]]:
    """Start these receivers (all, without names), each in a folder of its own; end them after."""
    with ExitStack() as stack:
        started = {}
        for index, name in enumerate(names or ALL):
            place = folder / f"receiver-{index}"
            place.mkdir(parents=True)
            started[name] = stack.enter_context(ALL[name](place))
        yield started
    shutil.rmtree(folder, ignore_errors=True)
