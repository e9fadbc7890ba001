"""The desk's process: uvicorn in a thread of its own, until it is told to stop."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Final

import uvicorn

from hipnode.errors import SettingsInvalid
from hipnode.log import Event, get_logger
from hipnode.services.desk.app import Door
from hipnode.services.tls import server_context
from hipnode.settings import Settings
from hipnode.storage import Store

USUAL_PORT: Final = 8043
"""Where it answers if it is started by itself and the settings say nothing."""
_GRACE_S: Final = 10


def bound(settings: Settings) -> socket.socket:
    """Return the socket that the desk answers at.

    Raises
    ------
    SettingsInvalid
        If it cannot be bound.
    """
    host, port = settings.desk.host, settings.desk.port or USUAL_PORT
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsInvalid(f"desk.port: {host}:{port} cannot be bound: {error.strerror}") from (
            error
        )


def server(settings: Settings, store: Store) -> uvicorn.Server:
    """Return the server, ready to be run."""
    tls = settings.desk.tls
    config = uvicorn.Config(
        Door(settings, store).app(),
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        date_header=True,
        limit_concurrency=200,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=32 * 1024,
        ssl_context_factory=(lambda *_: server_context(tls)) if tls else None,
    )
    return uvicorn.Server(config)


def run(settings: Settings, store: Store, stop: threading.Event) -> None:
    """Answer until ``stop`` is set; answers that are on their way are finished first.

    Parameters
    ----------
    settings
        The node's settings.
    store
        The node's memory.
    stop
        Set it to stop.

    Raises
    ------
    SettingsInvalid
        If the port cannot be bound, or the certificate cannot be used.
    """
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they quote what callers send
    if settings.desk.tls:
        server_context(settings.desk.tls)
    door, desk = bound(settings), server(settings, store)
    thread = threading.Thread(target=desk.run, kwargs={"sockets": [door]}, name="desk")
    thread.start()
    log = get_logger(service="desk")
    log.info(Event.DESK_ANSWERS, host=settings.desk.host, port=door.getsockname()[1])
    try:
        while not stop.wait(0.5):
            store.pulse.went_round()
            store.pulse.ready = desk.started
            if not thread.is_alive():
                raise SettingsInvalid("The desk's server has ended by itself.")
    finally:
        store.pulse.forget()
        desk.should_exit = True
        thread.join(_GRACE_S + 5)
