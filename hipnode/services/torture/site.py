"""A node that is there to be tortured: its settings, its services as processes, what it says."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from hipnode import settings
from hipnode.answers import status
from hipnode.domain import JobKind, JobState
from hipnode.domain.services import ALWAYS
from hipnode.errors import HipnodeError
from hipnode.services.life import look
from hipnode.services.torture.peers import HOST, Archive
from hipnode.storage import Store

T = TypeVar("T")

NAMES: Final = {service.command: service.name for service in ALWAYS}
SERVICES: Final = tuple(NAMES)
"""What each command's service is called."""
_OPEN: Final = (JobState.QUEUED, JobState.CLAIMED)
_START_S: Final = 120.0
_SETTINGS: Final = """
[node]
data_dir = "{data_dir}"
[database]
url = "{database}"
[listener]
port = {port}
accept_any_caller = true
acse_timeout_s = 10
[worker]
threads = 1
[queue]
lease_s = 5
max_attempts = 1000
backoff_first_s = 0.2
backoff_cap_s = 1.0
[report]
quiet_s = 0.5
report_on_release = true
[housekeeper]
sweep_s = 1.0
seal_s = 0.5
[retention]
disk_low_bytes = {disk_low_bytes}
[log]
level = "warning"
[[destinations]]
name = "archive"
host = "127.0.0.1"
port = {archive_port}
ae_title = "ARCHIVE"
timeout_s = 10
objects = ["sr"]
"""


class Site:
    """One node.

    Parameters
    ----------
    folder
        For its settings, data and logs.
    archive_port
        Where it delivers to.
    database
        PostgreSQL's URL; empty for SQLite.
    disk_low_bytes
        Below it, images are refused.
    """

    def __init__(
        self, folder: Path, archive_port: int, database: str = "", disk_low_bytes: int = 0
    ) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.config = folder / "hipnode.toml"
        self.port = _free_port()
        self.env: dict[str, dict[str, str]] = {}  # of single services
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        text = _SETTINGS.format(
            data_dir=self.data_dir.as_posix(),
            database=database,
            port=self.port,
            archive_port=archive_port,
            disk_low_bytes=disk_low_bytes,
        )
        self.config.write_text(text, encoding="utf-8")
        self.config.chmod(0o600)

    # --- services -----------------------------------------------------------------------------

    def start(self, *which: str) -> None:
        """Start services, the listener first: it makes the tables."""
        for service in which or SERVICES:
            self._processes[service] = self._launch(service)
            if service == "listen":
                until(self._listens, _START_S)

    def _launch(self, service: str, config: Path | None = None) -> subprocess.Popen[bytes]:
        plain = {k: v for k, v in os.environ.items() if not k.startswith("HIPNODE_")}
        with (self.folder / f"{service}.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "hipnode", service, "--config", str(config or self.config)],
                env={**plain, "OMP_NUM_THREADS": "1", **self.env.get(service, {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def refuses(self, config: Path, limit_s: float = 60.0) -> bool:
        """Tell whether a listener with other settings ends by itself, with an error."""
        process = self._launch("listen", config)
        try:
            return process.wait(limit_s) != 0
        except subprocess.TimeoutExpired:
            _end(process)
            return False

    def _listens(self) -> bool:
        self.tend()
        with suppress(OSError), socket.create_connection((HOST, self.port), 1):
            return True
        return False

    def pid(self, service: str) -> int:
        """Return the process ID of a service."""
        return self._processes[service].pid

    def tend(self) -> list[str]:
        """Start again what has died; return which."""
        dead = [name for name, process in self._processes.items() if process.poll() is not None]
        for service in dead:
            _end(self._processes[service])
            self._processes[service] = self._launch(service)
        return dead

    def kill(self, service: str) -> None:
        """``kill -9`` one service, and nothing that it has started."""
        with suppress(ProcessLookupError):
            os.kill(self.pid(service), signal.SIGKILL)

    def kill_reader(self) -> bool:
        """``kill -9`` one of the worker's reading processes; tell whether there was one."""
        with suppress(OSError):
            for children in Path(f"/proc/{self.pid('work')}/task").glob("*/children"):
                for pid in children.read_text("ascii").split():
                    if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(int(pid), signal.SIGKILL)
                        return True
        return False

    def stop(self, *which: str) -> None:
        """Stop services as systemd does; the housekeeper last."""
        for service in which or SERVICES:
            if process := self._processes.pop(service, None):
                process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(60)
                _end(process)

    # --- what it says ---------------------------------------------------------------------------

    @contextmanager
    def store(self, *, vouch: bool = True) -> Iterator[Store]:
        """Open the node's database and files."""
        opened = Store.open(settings.load(self.config, environment=False), vouch=vouch)
        try:
            yield opened
        finally:
            opened.close()

    def ready(self, *which: str) -> bool:
        """Tell whether services do their work, starting again what has died."""
        self.tend()
        names = {NAMES[service]: self.pid(service) for service in which}
        with suppress(HipnodeError), self.store() as store:
            alive = {(s.beat.name, s.beat.pid) for s in store.services.all() if s.beat.ready}
            return alive.issuperset(names.items())
        return False

    def faults(self) -> list[str]:
        """Return what `hipnode status` says is wrong, or why it cannot say anything."""
        try:
            with self.store() as store:
                effective = store.settings
                return [what for _, what in status.faults(look.seen(effective, store), effective)]
        except HipnodeError as error:
            return [str(error)]

    def named(self, words: str, limit_s: float = 90.0) -> float | None:
        """Return after how many seconds the node says some words; None: not in time."""
        began_s = time.monotonic()
        if until(lambda: any(words in what for what in self.faults()), limit_s, every_s=0.5):
            return time.monotonic() - began_s
        return None

    def settled(self, limit_s: float = 180.0) -> bool:
        """Wait until no job is open, starting again what has died."""
        with self.store() as store:

            def is_settled() -> bool:
                self.tend()
                with suppress(HipnodeError):
                    jobs = store.lookups.overview().jobs
                    return not any(jobs.get((k, s), 0) for k in JobKind for s in _OPEN)
                return False

            return bool(until(is_settled, limit_s, every_s=0.5))

    def lost(self, archive: Archive, studies: set[str], *, settled: bool) -> int:
        """Return how many studies are lost: not reported, or not even known while work is open."""
        if settled:
            return archive.lost(studies)
        with self.store() as store:
            return sum(not store.lookups.instances(study) for study in studies)

    def broken(self) -> str:
        """Return what is wrong with the audit log; "" where nothing is."""
        with self.store() as store:
            faults = store.audit.report(actor="torture").faults
            return str(faults[0]) if faults else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a service and whatever it has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], T], limit_s: float, every_s: float = 0.1) -> T:
    """Return the first true value of ``condition()``, or its last after ``limit_s`` seconds."""
    deadline_s = time.monotonic() + limit_s
    while not (value := condition()) and time.monotonic() < deadline_s:
        time.sleep(every_s)
    return value
