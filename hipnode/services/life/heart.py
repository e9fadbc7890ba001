"""What tells that a service is alive: to the database, to its supervisor, and to systemd.

A thread beside the service's own, which beats only as long as none of those hangs: the row in the
database says which one does, while supervisor and systemd hear nothing more and end the process.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from typing import Final

from hipnode import __version__
from hipnode.errors import HipnodeError
from hipnode.log import Event, get_logger
from hipnode.pulse import BEAT_S, SUPERVISOR
from hipnode.services.life import systemd
from hipnode.settings import Settings
from hipnode.storage import Beat, Store

_HELD_S: Final = 2.0


class Heart:
    """Beats for one service.

    Parameters
    ----------
    name
        The service: listener, worker, courier or housekeeper.
    settings
        The node's settings.
    store
        Whose pulse it is, and where the beats are written.
    """

    def __init__(self, name: str, settings: Settings, store: Store) -> None:
        self._name = name
        self._store = store
        self._settings_digest = settings.digest()
        self._host = socket.gethostname()
        self._supervisor = int(os.environ.get(SUPERVISOR, "-1"))
        self._begun = False
        self._hung = False
        self._clock_is_off = False
        self._off_s = settings.health.clock_off_s
        self._log = get_logger(service=name)

    def beat(self) -> None:
        """Beat once."""
        hangs = self._store.pulse.hangs()
        if hangs and not self._hung:
            self._log.error(Event.THREAD_HUNG, reason=hangs[0])
        self._hung = bool(hangs)
        if not hangs:
            self._tell_who_started_us()
        beat = self._beat("; ".join(hangs))
        services = self._store.services
        with suppress(HipnodeError):  # the service says itself that its database is away
            off_s = services.beat(beat) if self._begun else services.begin(beat)
            self._begun = True
            self._look_at_clock(off_s)

    def _look_at_clock(self, off_s: float) -> None:
        """Say once that this machine's clock is wrong; everything goes by the database's."""
        was, self._clock_is_off = self._clock_is_off, abs(off_s) > self._off_s
        if self._clock_is_off and not was:
            self._log.warning(Event.CLOCK_IS_OFF, off_s=round(off_s, 1), limit=self._off_s)
        elif was and not self._clock_is_off:
            self._log.info(Event.CLOCK_IS_RIGHT)

    def end(self) -> None:
        """Take the row away: the service stops as it should."""
        with suppress(HipnodeError):
            self._store.services.leave(self._beat(""))

    def _beat(self, hangs: str) -> Beat:
        pulse = self._store.pulse
        return Beat(
            name=self._name,
            host=self._host,
            pid=os.getpid(),
            version=__version__,
            settings=self._settings_digest,
            models=tuple(pulse.models),
            doing=pulse.at(),
            hangs=hangs,
            ready=pulse.ready,
        )

    def _tell_who_started_us(self) -> None:
        systemd.notify("READY=1", "WATCHDOG=1")
        if self._supervisor >= 0:
            with suppress(OSError):
                os.write(self._supervisor, b".")


@contextmanager
def alive(name: str, settings: Settings, store: Store) -> Iterator[None]:
    """Beat while the service runs, answer probes where a port is set, and watch for troubles."""
    heart = Heart(name, settings, store)
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(BEAT_S):
            heart.beat()

    heart.beat()
    thread = threading.Thread(target=go_on, name="heart", daemon=True)
    thread.start()
    with ExitStack() as beside:
        if settings.health.port:
            web = import_module("hipnode.services.life.web")  # an option: it brings its libraries
            beside.enter_context(web.answering(name, settings, store))
        if settings.alerts:
            alerts = import_module("hipnode.services.life.alerts")
            beside.enter_context(alerts.watching(name, settings, store))
        try:
            yield
        finally:
            over.set()
            thread.join(_HELD_S)
    heart.end()
