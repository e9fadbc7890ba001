"""What systemd is told: that a service has started, and that it is alive (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Final

SOCKET: Final = "NOTIFY_SOCKET"
"""The variable that names systemd's socket. A supervisor does not hand it on."""


def notify(*states: str) -> None:
    """Send ``states`` (``READY=1``, ``WATCHDOG=1``) to systemd, where it asked for them.

    References
    ----------
    sd_notify(3): an AF_UNIX datagram to ``$NOTIFY_SOCKET``; a leading @ is an abstract socket.
    """
    path = os.environ.get(SOCKET, "")
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.sendto("\n".join(states).encode(), address)
