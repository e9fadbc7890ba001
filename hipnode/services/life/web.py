"""Answers probes and Prometheus over HTTP, for one service.

``/healthz``: none of its threads hangs (it asks no database: a service whose database is away
lives, and to start it anew would not help). ``/readyz``: it can do its work now. ``/metrics``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from hipnode.domain.services import SERVICES
from hipnode.errors import HipnodeError, SettingsInvalid
from hipnode.services.life.figures import exposition
from hipnode.settings import Settings
from hipnode.storage import Store

_TEXT: Final = "text/plain; charset=utf-8"
_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
_PATIENCE_S: Final = 5.0


class Site:
    """What is answered.

    Parameters
    ----------
    name
        The service.
    settings
        The node's settings.
    store
        Whose pulse it is.
    """

    def __init__(self, name: str, settings: Settings, store: Store) -> None:
        self._name = name
        self._settings = settings
        self._store = store

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Return status, content type and body for a path."""
        try:
            match path:
                case "/healthz":
                    return _verdict(self._store.pulse.hangs())
                case "/readyz":
                    return _verdict(self._unready())
                case "/metrics":
                    figures = exposition(self._name, self._settings, self._store)
                    return 200, _METRICS, figures
                case _:
                    return 404, _TEXT, b"/healthz /readyz /metrics\n"
        except HipnodeError as error:
            return 503, _TEXT, f"{error}\n".encode()

    def _unready(self) -> list[str]:
        found = self._store.pulse.hangs()
        if not self._store.pulse.ready:
            found.append(f"the {self._name} is starting")
        self._store.services.all()  # raises where the database is away
        low_bytes = self._settings.retention.disk_low_bytes
        if self._name == "listener" and self._store.files.free_bytes() < low_bytes:
            found.append("images are refused: the disk is below its mark")
        return found


def _verdict(found: list[str]) -> tuple[int, str, bytes]:
    return 503 if found else 200, _TEXT, "\n".join([*(found or ["ok"]), ""]).encode()


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD, and nothing on the log."""

    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE_S
    server: _Server

    def do_GET(self) -> None:
        """Answer with a body."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without one."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        status, kind, body = self.server.site.answer(self.path.partition("?")[0])
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def version_string(self) -> str:
        """Tell nobody which Python this is."""
        return "hipnode"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Log nothing: what callers send is not ours to write down."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], site: Site) -> None:
        self.site = site
        super().__init__(address, _Handler)


@contextmanager
def answering(name: str, settings: Settings, store: Store) -> Iterator[None]:
    """Answer on the service's port meanwhile.

    Raises
    ------
    SettingsInvalid
        If the port cannot be bound.
    """
    health = settings.health
    address = (health.host, health.port + [one.name for one in SERVICES].index(name))
    try:
        server = _Server(address, Site(name, settings, store))
    except OSError as error:
        where = f"{address[0]}:{address[1]}"
        raise SettingsInvalid(f"health.port: {where} cannot be bound: {error.strerror}") from error
    thread = threading.Thread(target=server.serve_forever, name="web", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
