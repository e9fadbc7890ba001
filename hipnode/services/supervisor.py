"""All services as one: starts them, restarts what dies or hangs, stops them cleanly.

Each service is a process of its own, so that one that dies takes nothing else with it. A service
knows that its supervisor is gone when its standard input ends, and then stops by itself. The
supervisor hears the beats of each through a pipe, and ends the one that falls silent: it may be
stopped, or one of its threads hangs. systemd hears the supervisor.

A service is forked: what nearly all of them need is imported once and shared, and one that is
restarted is there in a tenth of a second. A fork copies locks that nobody will release in the copy,
so the supervisor has no thread but one, and no signal handler: it looks for signals. Whatever might
start a thread, as a database's or a bucket's library does, is done in a process of its own.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from setproctitle import setproctitle

from hipnode.log import Event, get_logger
from hipnode.pulse import SUPERVISOR
from hipnode.services.life import systemd

SEALS_LAST: Final = "housekeep"
"""Stopped once the others are, so that their last words on the audit log are sealed."""
USAGE_ERROR: Final = 2
"""The exit status of a service that cannot run with these settings: starting it again is no use."""
RESTART_FIRST_S: Final = 1.0
RESTART_CAP_S: Final = 60.0
HUNG_S: Final = 60.0
"""A service is ended that was silent for so long."""
FIRST_BEAT_S: Final = 300.0
"""How long its first beat may take: it imports, and looks through what a crash has left."""


_ROUND_S: Final = 0.2
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_STOP: Final = {signal.SIGTERM, signal.SIGINT}
_SIGNALS: Final = {*_STOP, signal.SIGHUP}
_FORK: Final = multiprocessing.get_context("fork")
_SHARED: Final = ("hipnode.services.listener.service", "hipnode.services.courier.service")
"""What these import, nearly every service does."""


@dataclass
class _Service:
    """One service and when it may be started again."""

    command: str
    arguments: tuple[str, ...]
    main: Callable[[], None]
    process: BaseProcess | None = None
    deaths: int = 0
    started_s: float = 0.0
    start_at_s: float = 0.0
    beats: int = -1
    """The pipe's end at which the service is heard."""
    stdin: int = -1
    """The pipe's end that is the service's standard input as long as somebody holds it."""
    silent_from_s: float = 0.0
    beaten: bool = False

    def start(self, others: list[_Service]) -> None:
        """Start it; of the pipes of ``others`` it keeps nothing, or they would outlive us."""
        theirs, self.stdin = os.pipe()
        self.beats, beat = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        ours = [end for s in (self, *others) for end in (s.beats, s.stdin) if end >= 0]
        process = _FORK.Process(target=self._become, args=(theirs, beat, ours))
        try:
            process.start()
        finally:
            os.close(theirs)
            os.close(beat)
        self.process = process
        self.beaten = False
        self.started_s = time.monotonic()
        self.silent_from_s = self.started_s + FIRST_BEAT_S

    def _become(self, standard_input: int, beat: int, not_ours: list[int]) -> None:
        """Be this service, in the process that was forked for it."""
        for end in not_ours:
            os.close(end)
        os.dup2(standard_input, 0)
        os.close(standard_input)
        sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115 - as long as we live
        os.environ.pop(systemd.SOCKET, None)
        os.environ[SUPERVISOR] = str(beat)
        sys.argv = ["hipnode", self.command, "--supervised", *self.arguments]
        setproctitle(" ".join(sys.argv))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells all of us: we tell it
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        self.main()

    def hangs(self) -> bool:
        """Tell whether the service runs and has been silent for too long."""
        if self.process is None:
            return False
        with suppress(BlockingIOError):
            if os.read(self.beats, 4096):
                self.beaten = True
                self.silent_from_s = time.monotonic() + HUNG_S
        return time.monotonic() > self.silent_from_s

    def died(self) -> int | None:
        """Return the exit status if the service has just died, and plan its restart."""
        status = self.process.exitcode if self.process else None
        if self.process is None or status is None:
            return None
        if time.monotonic() - self.started_s > RESTART_CAP_S:
            self.deaths = 0
        wait_s = min(RESTART_CAP_S, RESTART_FIRST_S * 2**self.deaths)
        self.start_at_s = time.monotonic() + wait_s
        self.deaths += 1
        self.process = None
        os.close(self.beats)
        os.close(self.stdin)
        self.beats = self.stdin = -1
        return status


def share() -> None:
    """Import what nearly every service needs, before any process is forked."""
    for module in _SHARED:
        with suppress(Exception):  # whose it is says so, and the others run
            import_module(module)
    gc.freeze()  # what is shared stays shared: a search for garbage would copy it
    gc.enable()


def alone(function: Callable[[], None]) -> int:
    """Run a function in a process of its own, to its end, and return its exit status.

    The process ends with this one, however that ends.
    """
    _wait_for_children()
    process = _FORK.Process(target=_with_its_parent, args=(os.getpid(), function))
    process.start()
    try:
        process.join()
    except KeyboardInterrupt:
        process.terminate()
        raise
    status = process.exitcode
    return 1 if status is None or status < 0 else status


def _wait_for_children() -> None:
    """Learn how a child ended, even where whoever started us wanted to know of none."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _with_its_parent(parent: int, function: Callable[[], None]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:
        function()


def serve(
    commands: tuple[str, ...], arguments: tuple[str, ...], main: Callable[[], None], grace_s: float
) -> int:
    """Run every service until SIGTERM or SIGINT.

    Parameters
    ----------
    commands
        Which services.
    arguments
        Command-line arguments that every service gets (``--config FILE``).
    main
        The command line: runs what stands in ``sys.argv``.
    grace_s
        How long a service may take to finish or hand back its current job before it is killed.

    Returns
    -------
    int
        The exit status: 0, or the status of a service that cannot run with these settings.
    """
    _wait_for_children()
    if sys.stdin is None:  # `serve <&-`: else the first pipe would take its number
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - as long as we live
    awaited = _STOP if sys.stdin.isatty() else _SIGNALS  # there SIGHUP means: the terminal is gone
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    log = get_logger(service="supervisor")
    services = [_Service(command, arguments, main) for command in commands]
    outcome: int | None = None
    try:
        while outcome is None:
            for service in services:
                status = service.died()
                if status == USAGE_ERROR:
                    outcome = USAGE_ERROR
                elif status is not None:
                    log.error(Event.SERVICE_DIED, worker=service.command, exit_code=status)
                elif service.process is not None and service.hangs():
                    log.error(Event.SERVICE_HUNG, worker=service.command)
                    service.process.kill()  # also what is stopped; it is restarted as if it died
                if service.process is None and time.monotonic() >= service.start_at_s:
                    if outcome is not None:
                        break
                    service.start([other for other in services if other is not service])
            systemd.notify("READY=1", "WATCHDOG=1")
            time.sleep(_ROUND_S)  # `sigtimedwait` invents a signal where it is stopped meanwhile
            if not (told := signal.sigpending() & awaited):
                continue
            if signal.sigwait(told) == signal.SIGHUP:
                _tell([s.process for s in services if s.process and s.beaten], signal.SIGHUP)
            else:
                outcome = outcome or 0
    finally:
        last = [s.process for s in services if s.process and s.command == SEALS_LAST]
        try:
            _stop([s.process for s in services if s.process and s.process not in last], grace_s)
        finally:
            _stop(last, min(grace_s, 10.0))
    return outcome


def _tell(processes: list[BaseProcess], number: signal.Signals) -> None:
    for process in processes:
        if process.pid and process.is_alive():
            os.kill(process.pid, number)


def _stop(processes: list[BaseProcess], grace_s: float) -> None:
    _tell(processes, signal.SIGTERM)
    deadline_s = time.monotonic() + grace_s
    for process in processes:
        process.join(max(0.0, deadline_s - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
