"""The four services as processes of their own, for tests that kill them one by one.

`hipnode serve` waits longer from death to death before it starts a service again; here that is done
at once, as an impatient systemd would.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, Final

from pynetdicom import AE
from pynetdicom.presentation import build_context

from hipnode.domain.services import ALWAYS
from hipnode.faults import Point
from hipnode.services.reactor import steady
from tests.forked import Forked
from tests.node import HIPNODE, Node
from tests.peers import Process, eventually, free_port, other_clock
from tests.senders import SAMPLES, Sendable, copies, sendable

SERVICES: Final = tuple(service.command for service in ALWAYS)


class Crew:
    """A node's services, each started again when it has died.

    Parameters
    ----------
    folder
        For settings, data, logs and the points that are armed.
    database_url
        PostgreSQL; empty for the embedded SQLite.
    **tables
        Tables of the settings file.
    """

    def __init__(self, folder: Path, database_url: str = "", **tables: Any) -> None:
        tables["listener"] = {"port": free_port(), "accept_any_caller": True}
        self.node = Node(folder, database_url, **tables)
        self.node.port = tables["listener"]["port"]
        self.faults = folder / "faults"
        self.faults.mkdir()
        self.deaths = dict.fromkeys(SERVICES, 0)
        self.clocks: dict[str, int] = {}  # of services whose clock is so many seconds ahead
        self._processes: dict[str, Process] = {}

    def start(self) -> None:
        """Start what does not run; the first one alone, for it makes the tables."""
        for service in SERVICES:
            if service not in self._processes:
                self._processes[service] = self._start(service)
            if service == SERVICES[0]:
                self._wait_for_the_listener()

    def _start(self, service: str) -> Process:
        environment = {"OMP_NUM_THREADS": "1", "HIPNODE_FAULTS": str(self.faults)}
        arguments = [service, "--config", str(self.node.config)]
        log = self.node.folder / f"{service}.log"
        if service in self.clocks:  # a library that is there from the first moment
            environment |= other_clock(self.clocks[service], self.node.folder)
            return Process([*HIPNODE, *arguments], log, env=environment)
        return Forked(arguments, log, environment)

    def _wait_for_the_listener(self) -> None:
        eventually(self._listens, timeout_s=180, what="the listener listens")

    def _listens(self) -> bool:
        self.tend()
        return f'"port": {self.node.port}' in self.log("listen")

    def tend(self) -> None:
        """Start again whoever has been killed; anybody who ended otherwise is a finding."""
        for service, process in list(self._processes.items()):
            if not process.running:
                status = process.popen.returncode
                assert status == -signal.SIGKILL, (
                    f"{service}: {status}\n{self.log(service)[-3000:]}"
                )
                process.kill()  # what it has left behind
                self.deaths[service] += 1
                self._processes[service] = self._start(service)

    def kill(self, service: str) -> None:
        """``kill -9`` one service, and nothing that it has started."""
        os.kill(self._processes[service].pid, signal.SIGKILL)

    def kill_reader(self) -> bool:
        """``kill -9`` the worker's oldest reading process, busy or not; tell if there was one."""
        for pid in sorted(self._processes["work"].family()):
            with contextlib.suppress(OSError):
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
                    return True
        return False

    def stop(self) -> None:
        """Stop all with SIGTERM; anybody who does not end well, or in time, is a finding.

        Who was started again a moment ago is waited for: while Python imports, a signal just kills.
        """
        eventually(self._all_have_started, what="who was started again has started")
        for process in self._processes.values():
            process.send(signal.SIGTERM)
        for service, process in self._processes.items():
            status = process.stop(timeout_s=90)
            assert status == 0, f"{service}: {status}\n{self.log(service)[-8000:]}"

    def _all_have_started(self) -> bool:
        return all(
            f'"pid": {process.pid},' in self.log(service)
            for service, process in self._processes.items()
        )

    def end(self) -> None:
        """``kill -9`` whatever still runs."""
        for process in self._processes.values():
            process.kill()

    def log(self, service: str) -> str:
        """Return what a service has written in all of its lives."""
        path = self.node.folder / f"{service}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    # --- points -------------------------------------------------------------------------------

    def arm(self, *points: Point) -> None:
        """Have whoever comes to one of these points first die there."""
        for point in points:
            (self.faults / point).touch()

    def armed(self) -> set[Point]:
        """Return the points that nobody has come to."""
        return {Point(path.name) for path in self.faults.iterdir()}


class Modality:
    """A sender that knows which of its images were acknowledged."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.acknowledged: list[str] = []
        self.tries = 0
        self._ae = AE("MODALITY")
        self._ae.acse_timeout = self._ae.dimse_timeout = self._ae.network_timeout = 30

    def send(self, image: Sendable) -> bool:
        """Send one image once; return whether it was acknowledged."""
        self.tries += 1
        if self._status(image) != 0:
            return False
        self.acknowledged.append(image.dataset.SOPInstanceUID)
        return True

    def _status(self, image: Sendable) -> int | None:
        meta = image.dataset.file_meta
        context = build_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
        association: Any = steady(
            self._ae.associate(
                self._node.host, self._node.port, [context], ae_title=self._node.ae_title
            )
        )
        if not association.is_established:
            return None
        try:
            return association.send_c_store(image.path).get("Status")
        except RuntimeError:  # it died in the middle
            return None
        finally:
            association.release()


class Load(threading.Thread):
    """A modality that sends an image now and then, until told to stop."""

    def __init__(self, crew: Crew, folder: Path, every_s: float = 3.0) -> None:
        super().__init__()
        self.modality = Modality(crew.node)
        self.stopping = threading.Event()
        self.sent = 0
        self._folder = folder
        self._every_s = every_s

    def run(self) -> None:
        """Send each image until it is acknowledged, the last one even after the end."""
        while not self.stopping.is_set():
            folder = self._folder / str(self.sent)
            folder.mkdir()
            source = SAMPLES[self.sent % len(SAMPLES)]
            (path,) = copies(source, 1, folder, salt=str(self.sent))
            (image,) = sendable([path], folder)
            while not self.modality.send(image):
                time.sleep(0.1)
            path.unlink()
            self.sent += 1
            self.stopping.wait(self._every_s)
