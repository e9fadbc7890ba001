"""Real peers for the tests: Debian's dcmtk, Orthanc and PostgreSQL, started here and ended here.

A peer that is not installed skips the test at home and fails it where ``CI=true``, so that a green
run in CI means that everything was tried. Only processes started here are ever signalled.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
_SBIN = ("/usr/sbin", "/usr/local/sbin")
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def missing(what: str) -> NoReturn:
    """Skip the test at home; fail it in CI, where nothing may be missing."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def require(program: str, package: str) -> str:
    """Return the path of ``program``, or skip (CI: fail) naming the Debian package it is in.

    Our own virtual environment is not searched: pynetdicom puts its ``storescu`` there.
    """
    versions = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    ours = Path(sys.prefix) / "bin"
    path = [p for p in os.environ.get("PATH", "").split(os.pathsep) if Path(p) != ours]
    search = os.pathsep.join([*path, *_SBIN, *versions])
    found = shutil.which(program, path=search)
    if found is None:
        missing(f"{program} is not installed (Debian: apt-get install {package})")
    return found


def require_file(path: str, package: str) -> Path:
    """Return ``path`` (a plug-in, a jar), or skip (CI: fail) naming the Debian package."""
    if not Path(path).is_file():
        missing(f"{path} is not installed (Debian: apt-get install {package})")
    return Path(path)


def other_clock(seconds: int, folder: Path) -> dict[str, str]:
    """Return the environment in which a process's clock is so many seconds ahead.

    Its count of seconds since the machine was started stays right, as it does where a clock is set.
    """
    library = folder / "other_clock.so"
    if not library.exists():
        source = Path(__file__).with_name("other_clock.c")
        compiler = require("cc", "gcc")
        run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"])
    return {"LD_PRELOAD": str(library), "OTHER_CLOCK_S": str(seconds)}


def shared_data(*parts: str) -> Path:
    """Return a folder or file of the real images in ``../shared/data``, outside the repository.

    ``$HIPNODE_SHARED_DATA`` names another place. Absent: skip (CI: fail).
    """
    root = Path(os.environ.get("HIPNODE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    path = root.joinpath(*parts)
    if not path.exists():
        missing(f"{path} is absent: the real images are not part of the repository")
    return path


# --- ports ------------------------------------------------------------------------------------


class PortTaken(Exception):
    """Another process was faster; try again with another port."""


def free_port() -> int:
    """Return a loopback port that nobody listens on, for peers that cannot bind port 0.

    It lies below the kernel's ephemeral range, so that no outgoing connection can take it in the
    meantime; two test runs could still collide, which `Process.wait_listening` notices.
    """
    lowest = int(_EPHEMERAL_RANGE.read_text().split()[0]) if _EPHEMERAL_RANGE.exists() else 32768
    for _ in range(200):
        port = random.randint(min(15000, lowest - 2000), lowest - 1)  # noqa: S311
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port found in 200 tries")


def listening_ports(pid: int) -> set[int]:
    """Return the TCP ports that the process itself listens on, as the kernel knows them."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    ports = set()
    for table in ("tcp", "tcp6"):
        lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        for fields in (line.split() for line in lines):
            if fields[3] == "0A" and fields[9] in inodes:  # 0A: LISTEN
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def eventually(
    condition: Callable[[], T], timeout_s: float = 90, poll_s: float = 0.05, what: str = ""
) -> T:
    """Return the first true value of ``condition()``; fail the test after ``timeout_s``.

    What is asked for a long time is asked seldom: else asking takes what the answer waits for.
    """
    begun_s = asked_s = time.monotonic()
    while not (value := condition()):
        now_s = time.monotonic()
        if now_s > begun_s + timeout_s:
            pytest.fail(f"not within {timeout_s:g} s: {what or condition}; last value: {value!r}")
        time.sleep(max(poll_s, min(3 * (now_s - asked_s), 1.0)))
        asked_s = time.monotonic()
    return value


# --- processes --------------------------------------------------------------------------------


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def end_with_the_tests() -> None:
    """Have the kernel end this process when the tests' own is gone, even by ``kill -9``."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A program of ours in a process group of its own; its output goes to a file.

    Parameters
    ----------
    command
        Program and arguments.
    log
        The file that standard output and error are appended to.
    user
        The account to run as (needs root); None for the present one.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        privileges = {"user": user, "group": user, "extra_groups": []} if user else {}
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONFAULTHANDLER": "1", **(env or {})},
                cwd=cwd,
                start_new_session=True,
                preexec_fn=end_with_the_tests,  # noqa: PLW1509 - one system call, no lock
                **privileges,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def output(self) -> str:
        """Return what the process has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_listening(self, *ports: int, timeout_s: float = 60) -> None:
        """Wait until the process itself listens on all ``ports``.

        Raises
        ------
        PortTaken
            If the process ended before that: most likely somebody else has the port.
        """
        deadline = time.monotonic() + timeout_s
        while self.running:
            if set(ports) <= listening_ports(self.pid):
                return
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"{self.command[0]} does not listen:\n{self.output()[-4000:]}")
            time.sleep(0.02)
        raise PortTaken(f"{self.command[0]} ended with {self.popen.returncode}:\n{self.output()}")

    def send(self, number: int) -> None:
        """Send ``number`` to the process, if it is still there."""
        if self.running:
            self.popen.send_signal(number)

    def stop(self, timeout_s: float = 60, number: int = signal.SIGTERM) -> int:
        """Ask the process to end; kill its group if it has not after ``timeout_s``.

        Its log then says where each of its threads was, if it is Python.
        """
        self.send(number)
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGABRT)  # `faulthandler` answers it
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(20)
            sys.stdout.write(self.output()[-10_000:])  # shown with the test that fails for it
            return self.kill()

    def family(self) -> list[int]:
        """Return the processes of this one's session that are alive: itself and its descendants."""
        alive = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.pid and state != "Z":
                    alive.append(int(stat.parent.name))
        return alive

    def kill(self) -> int:
        """``kill -9`` the process and whatever it started; return the exit status."""
        for pid in self.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return self.popen.wait(20)


def start_on_free_ports(start: Callable[..., T], count: int, tries: int = 8) -> T:
    """Call ``start(port, …)`` with ``count`` free ports; again with others if they were taken."""
    for attempt in range(tries):
        try:
            return start(*(free_port() for _ in range(count)))
        except PortTaken:
            if attempt == tries - 1:
                raise
    raise AssertionError("unreachable")


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    timeout_s: float = 120,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; with ``check``, a non-zero exit fails the test with its output."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        check=False,
    )
    if check and done.returncode:
        pytest.fail(
            f"{' '.join(map(str, command))} ended with {done.returncode}\n"
            f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}",
            pytrace=False,
        )
    return done
