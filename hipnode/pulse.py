"""Signs of life of one process: which of its threads go round, and what each of them is at.

A timer that beats beside a thread that hangs says nothing of that thread. So each loop says when it
goes round and within what time it will again, and each piece of work how long it may take; whoever
is late hangs. `hipnode.services.life` tells the database, the supervisor and systemd.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

BEAT_S: Final = 5.0
"""How often a service tells that it is alive."""
SILENT_S: Final = 30.0
"""A service that has told nothing for so long is not alive."""
ROUND_S: Final = 60.0
"""Within what time a loop goes round, where it says nothing else."""
SUPERVISOR: Final = "HIPNODE_SUPERVISOR_FD"
"""The variable with the number of the pipe that a supervisor listens at."""


@dataclass(frozen=True, slots=True)
class _Sign:
    since_s: float
    until_s: float
    doing: str = ""


class Pulse:
    """What the threads of one process last said. Safe for all of them.

    Parameters
    ----------
    clock_s
        A clock that never goes back, in seconds.

    Attributes
    ----------
    ready
        Whether the service does its work by now (it listens, its models are loaded).
    models
        What a worker has loaded, as plain values.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._signs: dict[tuple[str, int], _Sign] = {}
        self.ready = False
        self.models: list[dict[str, Any]] = []

    def went_round(self, within_s: float = ROUND_S, *, loop: str = "") -> None:
        """Say that a loop is alive, and will say so again ``within_s`` seconds.

        Parameters
        ----------
        within_s
            How long until it hangs.
        loop
            Its name; that of the calling thread where none is given.
        """
        now_s = self._clock_s()
        with self._lock:
            self._signs[_key(loop)] = _Sign(now_s, now_s + within_s)

    def forget(self, *, loop: str = "") -> None:
        """Expect nothing more of a loop: it has ended as it should."""
        with self._lock:
            self._signs.pop(_key(loop), None)

    @contextmanager
    def doing(self, what: str, limit_s: float, *, loop: str = "") -> Iterator[None]:
        """Say what the thread is at, and how long that may take.

        Parameters
        ----------
        what
            In a few words, with nothing of a patient in them.
        limit_s
            After how long it hangs.
        loop
            The loop's name; that of the calling thread where none is given.
        """
        key = _key(loop)
        now_s = self._clock_s()
        with self._lock:
            before = self._signs.get(key)
            self._signs[key] = _Sign(now_s, now_s + limit_s, what)
        try:
            yield
        finally:
            if before is None:
                self.forget(loop=loop)
            else:
                self.went_round(before.until_s - before.since_s, loop=loop)

    def hangs(self) -> list[str]:
        """Return in words who is late; none in a process that is well."""
        now_s = self._clock_s()
        with self._lock:
            late = [(name, s) for (name, _), s in self._signs.items() if now_s > s.until_s]
        return [
            f"{name} hangs for {now_s - sign.since_s:.0f} s" + (sign.doing and f", {sign.doing}")
            for name, sign in sorted(late, key=lambda pair: pair[1].since_s)
        ]

    def at(self) -> str:
        """Return in words what the process is at; "" where it waits for work."""
        with self._lock:
            return ", ".join(dict.fromkeys(s.doing for s in self._signs.values() if s.doing))


def _key(loop: str) -> tuple[str, int]:
    """Return what a loop is known by: its name, or its thread, whose name may be another's too."""
    if loop:
        return loop, 0
    thread = threading.current_thread()
    return thread.name, thread.ident or 0
