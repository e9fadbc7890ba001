"""A service forked from a process that has imported what it needs, as `hipnode serve` forks its.

A service that is called imports for most of a second. Tests that kill services hundreds of times
would spend more on that than on what they are about.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hipnode.cli import main
from tests.peers import Process, end_with_the_tests

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        __name__,
        *(f"hipnode.services.{name}.service" for name in ("listener", "worker", "courier")),
        "hipnode.services.housekeeper.service",
    ]
)


class _Popen:
    """What `Process` asks of a `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self._process = _SERVER.Process(target=_become, args=(list(arguments), log, dict(env)))
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired("hipnode", timeout or 0)
        return status


class Forked(Process):
    """``hipnode ARGUMENTS`` in a process group of its own; its output goes to a file.

    Parameters
    ----------
    arguments
        What would stand on the command line after ``hipnode``.
    log
        The file that standard output and error are appended to.
    env
        Variables of its environment, beside the tests' own.
    """

    def __init__(self, arguments: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.command = ["hipnode", *arguments]
        self.log = log
        self.popen = _Popen(arguments, log, env)  # type: ignore[assignment]


def _become(arguments: list[str], log: Path, env: dict[str, str]) -> None:
    os.setsid()
    end_with_the_tests()
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faulthandler.enable()
    os.environ.update(env)
    sys.argv = ["hipnode", *arguments]
    main()
