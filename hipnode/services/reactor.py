"""pynetdicom's reactor, paused for certain before anything is sent.

An association's own thread, the reactor, takes messages from the queue at which `send_c_find` and
its like wait for answers. pynetdicom 3.0 pauses it first and learns from a flag that it is paused,
but the flag may lie: the reactor lowers it late, so that on a busy machine it still takes an answer
(a match of a C-FIND or the status of a C-STORE is lost; pynetdicom issue 875 shows the symptom);
and the thread that serves an N-EVENT-REPORT lowers it while the reactor is paused, so that whoever
waits for the pause waits for ever.
"""

from __future__ import annotations

import threading

from pynetdicom.association import Association


class _Checkpoint(threading.Event):
    """Where a reactor waits while it is to be paused; it knows whether the reactor does.

    Whether it is open changes under one lock with that: a reactor that is held when it is closed
    stays held until it is opened.
    """

    def __init__(self) -> None:
        super().__init__()
        self._change = threading.Condition()
        self._is_open = True
        self.holds = False

    def set(self) -> None:
        with self._change:
            self._is_open = True
            self._change.notify_all()

    def is_set(self) -> bool:
        return self._is_open

    def clear(self) -> None:
        with self._change:
            self._is_open = False

    def wait(self, timeout: float | None = None) -> bool:
        with self._change:
            self.holds = True
            passed = self._change.wait_for(self.is_set, timeout)
            self.holds = False
            return passed


class _Steady(Association):
    """An association that is paused if its reactor is held, is over, or is who asks."""

    _reactor_checkpoint: _Checkpoint

    @property
    def _is_paused(self) -> bool:
        if self._kill or not self.is_alive() or threading.current_thread() is self:
            return True
        return self._reactor_checkpoint.holds

    @_is_paused.setter
    def _is_paused(self, value: bool) -> None:
        """What pynetdicom believes is not kept."""


def steady(association: Association) -> Association:
    """Have an association that we asked for lose no answer to its own reactor; return it."""
    association._reactor_checkpoint = _Checkpoint()  # noqa: SLF001 - pinned below 3.1
    association.__class__ = _Steady
    return association
