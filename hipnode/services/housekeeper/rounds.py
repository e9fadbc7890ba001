"""When the housekeeper does what: every so many seconds, or at an hour of the database's clock.

Seconds are counted, not read from a clock: one that is set changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Self

SUNDAY: Final = 6
_DAY: Final = timedelta(days=1)
_LOOK_S: Final = 20.0


class Rounds:
    """Tasks that are done again and again, each on a thread of its own, within a ``with``.

    Parameters
    ----------
    now
        The database's clock.
    stop
        Set it to begin nothing more; to leave the ``with`` waits for what is under way.
    """

    def __init__(self, now: Callable[[], datetime], stop: threading.Event) -> None:
        self._now = now
        self._stop = stop
        self._threads: list[threading.Thread] = []

    def every(self, seconds: float, task: Callable[[], None]) -> None:
        """Do a task so many seconds after it was done last."""

        def go_round() -> None:
            while not self._stop.wait(seconds):
                task()

        self._threads.append(threading.Thread(target=go_round, name="rounds"))

    def nightly(
        self, hour: int, minute: int, task: Callable[[], None], *, weekday: int | None = None
    ) -> None:
        """Do a task once a day at an hour (UTC), or once a week (Monday is 0)."""

        def go_round() -> None:
            due = next_time(self._now(), hour, minute, weekday)
            while not self._stop.wait(_LOOK_S):
                now = self._now()
                if now >= due:
                    task()
                due = next_time(now, hour, minute, weekday)

        self._threads.append(threading.Thread(target=go_round, name="rounds"))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def next_time(now: datetime, hour: int, minute: int, weekday: int | None = None) -> datetime:
    """Return when it is next that hour after ``now``, on that day of the week where one is given.

    Parameters
    ----------
    now
        From when on.
    hour, minute
        UTC.
    weekday
        0 is Monday; None: any day.
    """
    due = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    while due <= now or weekday not in (None, due.weekday()):
        due += _DAY
    return due
