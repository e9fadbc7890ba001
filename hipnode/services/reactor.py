"""pynetdicom's reactor, paused for certain before anything is sent.

An association's own thread, the reactor, takes messages from the queue at which `send_c_find` and
its like wait for answers. pynetdicom 3.0 pauses it first, but believes it paused before it is: on a
busy machine the reactor then takes an answer, and a match of a C-FIND or the status of a C-STORE is
lost (pynetdicom issue 875 shows the symptom).
"""

from __future__ import annotations

import threading
from typing import Final

from pynetdicom.association import Association

_LOOK_S: Final = 0.05


class _Checkpoint(threading.Event):
    """Where a reactor waits while it is to be paused: closing it waits until the reactor does."""

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._reactor = association
        self._change = threading.Condition()
        self._is_open, self._waits = True, False

    def set(self) -> None:
        with self._change:
            self._is_open = True
            self._change.notify_all()

    def is_set(self) -> bool:
        return self._is_open

    def clear(self) -> None:
        with self._change:
            self._is_open = False
            while not self._waits and self._may_come():
                self._change.wait(_LOOK_S)

    def _may_come(self) -> bool:
        return self._reactor.is_alive() and threading.current_thread() is not self._reactor

    def wait(self, timeout: float | None = None) -> bool:
        with self._change:
            self._waits = True
            self._change.notify_all()
            passed = self._change.wait_for(self.is_set, timeout)
            self._waits = False
            return passed


def steady(association: Association) -> Association:
    """Have an association that we asked for lose no answer to its own reactor; return it."""
    association._reactor_checkpoint = _Checkpoint(association)  # noqa: SLF001 - pinned below 3.1
    return association
