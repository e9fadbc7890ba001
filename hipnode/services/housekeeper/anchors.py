"""Heads of the audit log go where whoever owns the database cannot write.

Always to the node's own log lines, which the journal (or the container's engine) keeps under
another account; and, where the settings say so, to further files, to a syslog receiver, and to a
URL. `hipnode audit verify --against` compares the log with any of these later.

References
----------
RFC 5424 6 (facility 13, "log audit"), RFC 5425 (over TLS).
"""

from __future__ import annotations

import os
import socket
import ssl
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hipnode.log import Event, get_logger
from hipnode.services import syslog
from hipnode.settings import AuditSettings
from hipnode.storage import Head

_TIMEOUT_S: Final = 10.0
_PRIORITY: Final = 13 * 8 + 5  # facility "log audit", severity "notice"


class Anchors:
    """Those who keep heads.

    Parameters
    ----------
    settings
        Who they are.
    """

    def __init__(self, settings: AuditSettings) -> None:
        self._log = get_logger(service="housekeeper")
        self._waiting: dict[str, bool] = {}
        self._newest: Head | None = None
        self._tasks: dict[str, Callable[[Head], None]] = {
            f"file {path}": _appender(path) for path in settings.head_files
        }
        if settings.head_syslog:
            self._tasks[f"syslog {settings.head_syslog}"] = _syslog(settings.head_syslog)
        if settings.head_url:
            self._tasks["url"] = _poster(settings.head_url)

    def keep(self, head: Head) -> None:
        """Send a head to all of them, unless they have it; who fails is tried again next time."""
        if self._newest is None or (head.epoch, head.size) != (
            self._newest.epoch,
            self._newest.size,
        ):
            self._newest = head
            self._waiting = dict.fromkeys(self._tasks, False)
            self._log.info(Event.AUDIT_HEAD, head=head.line())
        for name, failed in list(self._waiting.items()):
            try:
                self._tasks[name](head)
            except OSError as error:
                if not failed:
                    reason = f"{name}: {error.strerror or type(error).__name__}"
                    self._log.error(Event.AUDIT_HEAD_NOT_KEPT, reason=reason)
                self._waiting[name] = True
            else:
                del self._waiting[name]


def _appender(path: Path) -> Callable[[Head], None]:
    def append(head: Head) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            os.write(descriptor, f"{head.note()}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    return append


def _syslog(where: str) -> Callable[[Head], None]:
    def send(head: Head) -> None:
        if where.startswith("/"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
                local.connect(where)
                local.send(f"<{_PRIORITY}>hipnode: {head.line()}".encode())
            return
        now, host = datetime.now(UTC), socket.gethostname()
        _send_to(where, syslog.message(_PRIORITY, now, host, "audit-head", head.line().encode()))

    return send


def _send_to(where: str, message: bytes) -> None:
    target = urlsplit(where)
    address = (target.hostname or "", target.port or 514)
    if target.scheme == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.sendto(message, address)
        return
    framed = syslog.framed(message)
    with socket.create_connection(address, timeout=_TIMEOUT_S) as stream:
        if target.scheme == "tls":
            context = ssl.create_default_context()
            with context.wrap_socket(stream, server_hostname=address[0]) as secure:
                secure.sendall(framed)
        else:
            stream.sendall(framed)


def _poster(url: str) -> Callable[[Head], None]:
    def post(head: Head) -> None:
        request = urllib.request.Request(  # noqa: S310 - the settings allow http and https only
            url,
            data=head.note().encode(),
            headers={"Content-Type": "text/plain; charset=utf-8"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            answer.read(1024)

    return post
