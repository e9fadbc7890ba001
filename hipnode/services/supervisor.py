"""All services as one: starts them, restarts what dies or hangs, stops them cleanly.

Each service is a process of its own, so that one that dies takes nothing else with it. A service
knows that its supervisor is gone when its standard input ends, and then stops by itself. The
supervisor hears the beats of each through a pipe, and ends the one that falls silent: it may be
stopped, or one of its threads hangs. systemd hears the supervisor.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

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


@dataclass
class _Service:
    """One service and when it may be started again."""

    command: str
    arguments: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    started_s: float = 0.0
    start_at_s: float = 0.0
    beats: int = -1
    """The pipe's end at which the service is heard."""
    silent_from_s: float = 0.0
    beaten: bool = False

    def start(self) -> None:
        self.beats, theirs = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        environment = {k: v for k, v in os.environ.items() if k != systemd.SOCKET}
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "hipnode", self.command, "--supervised", *self.arguments],
            stdin=subprocess.PIPE,
            pass_fds=(theirs,),
            env=environment | {SUPERVISOR: str(theirs)},
        )
        os.close(theirs)
        self.beaten = False
        self.started_s = time.monotonic()
        self.silent_from_s = self.started_s + FIRST_BEAT_S

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
        status = self.process.poll() if self.process else None
        if self.process is None or status is None:
            return None
        if time.monotonic() - self.started_s > RESTART_CAP_S:
            self.deaths = 0
        wait_s = min(RESTART_CAP_S, RESTART_FIRST_S * 2**self.deaths)
        self.start_at_s = time.monotonic() + wait_s
        self.deaths += 1
        self.process = None
        os.close(self.beats)
        return status


def serve(
    arguments: tuple[str, ...],
    stop: threading.Event,
    grace_s: float,
    commands: tuple[str, ...],
) -> int:
    """Run every service until ``stop`` is set.

    Parameters
    ----------
    arguments
        Command-line arguments that every service gets (``--config FILE``).
    stop
        Set it to stop: each service finishes or hands back its current job.
    grace_s
        How long a service may take for that before it is killed.
    commands
        Which services.

    Returns
    -------
    int
        The exit status: 0, or the status of a service that cannot run with these settings.
    """
    log = get_logger(service="supervisor")
    services = [_Service(command, arguments) for command in commands]
    hang_up = _HangUp()
    outcome = 0
    try:
        while not stop.is_set():
            for service in services:
                status = service.died()
                if status == USAGE_ERROR:
                    outcome = USAGE_ERROR
                    stop.set()
                elif status is not None:
                    log.error(Event.SERVICE_DIED, worker=service.command, exit_code=status)
                elif service.process is not None and service.hangs():
                    log.error(Event.SERVICE_HUNG, worker=service.command)
                    service.process.kill()  # also what is stopped; it is restarted as if it died
                if service.process is None and time.monotonic() >= service.start_at_s:
                    if stop.is_set():
                        break
                    service.start()
            if hang_up.came():
                _tell([s.process for s in services if s.process and s.beaten], signal.SIGHUP)
            systemd.notify("READY=1", "WATCHDOG=1")
            stop.wait(0.2)
    finally:
        last = [s.process for s in services if s.process and s.command == SEALS_LAST]
        _stop([s.process for s in services if s.process and s.process not in last], grace_s)
        _stop(last, min(grace_s, 10.0))
    return outcome


class _HangUp:
    """Notes SIGHUP, where that does not mean that a terminal is gone."""

    def __init__(self) -> None:
        self._came = False
        ours = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        if ours and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGHUP, self._note)

    def _note(self, *_: object) -> None:
        self._came = True

    def came(self) -> bool:
        """Tell whether it has come since it was asked last."""
        came, self._came = self._came, False
        return came


def _tell(processes: list[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in processes:
        process.send_signal(number)


def _stop(processes: list[subprocess.Popen[bytes]], grace_s: float) -> None:
    _tell(processes, signal.SIGTERM)
    deadline_s = time.monotonic() + grace_s
    for process in processes:
        try:
            process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
