"""The listener's process: start, run until told to stop, stop cleanly."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hipnode.log import Event, get_logger
from hipnode.services.listener.intake import Intake
from hipnode.services.listener.server import NodeServer
from hipnode.settings import Settings
from hipnode.storage import Store

if TYPE_CHECKING:
    from hipnode.services.opinions.mllp import FinalReports

GRACE_S: Final = 8.0
"""How long running associations may take to finish when the node stops."""


def serve(
    settings: Settings,
    store: Store,
    stop: threading.Event,
    on_ready: Callable[[int], None],
) -> None:
    """Take images in until ``stop`` is set.

    Parameters
    ----------
    settings
        The node's settings.
    store
        Where images, rows and the audit log go.
    stop
        Set it to stop: no new association is accepted, running ones get `GRACE_S` to finish.
    on_ready
        Called with the port once associations are accepted.

    Raises
    ------
    OSError
        If the address cannot be bound.
    SettingsInvalid
        If a caller's address or a certificate cannot be used.

    References
    ----------
    PS3.4 Annex A, Verification; Annex B, Storage. PS3.8 section 9, DICOM Upper Layer over TCP.
    """
    log = get_logger(service="listener")
    for library in ("pynetdicom", "pydicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # they quote what peers send
    warnings.simplefilter("ignore")
    intake = Intake(settings, store)
    server = NodeServer(settings, intake)
    reports = _final_reports(settings, store)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2})
    thread.start()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, lambda *_: server.reload())
    try:
        log.info(Event.LISTENING_STARTED, host=settings.listener.host, port=server.port)
        on_ready(server.port)
        store.pulse.ready = True
        stop.wait()
    finally:
        store.pulse.forget(loop="accept")
        if reports is not None:
            reports.stop()
        server.stop(GRACE_S)
        thread.join()


def _final_reports(settings: Settings, store: Store) -> FinalReports | None:
    """Listen for final reports too, where the settings say so."""
    if not settings.feedback.port:
        return None
    from hipnode.services.opinions.mllp import FinalReports  # noqa: PLC0415 - an option

    reports = FinalReports(settings, store)
    reports.start()
    host, port = settings.feedback.host, reports.port
    get_logger(service="listener").info(Event.LISTENING_STARTED, host=host, port=port)
    return reports
