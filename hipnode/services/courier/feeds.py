"""The hospital's own logs are told what is on the audit log: in order, and again after an absence.

Syslog has no answer. What was written is taken for told once the receiver has kept the connection
open for a moment afterwards; else the whole batch is written again.

References
----------
RFC 5425 (syslog over TLS), IHE ITI TF-2 3.20.4.1.2 (MSGID, severity, facility).
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Final, Protocol

from hipnode.answers import hospital
from hipnode.answers.hospital import Source, Told
from hipnode.errors import DestinationRefused, DestinationUnreachable, HipnodeError, SettingsInvalid
from hipnode.log import Event, get_logger
from hipnode.services import syslog
from hipnode.services.courier.ways.way import Answer
from hipnode.services.courier.ways.web import post, session
from hipnode.settings import AnyFeed, ATNASettings, AuditEventSettings, Settings
from hipnode.storage import Store

_LOOK_S: Final = 1.0
_AGAIN_S: Final = 10.0
_BATCH: Final = 200
_PRIORITY: Final = 10 * 8 + 5  # facility "authpriv", severity "notice"
_HELD_S: Final = 0.2


class Way(Protocol):
    """How events reach a log."""

    def tell(self, events: Sequence[Told]) -> None:
        """Tell them, in this order.

        Raises
        ------
        DestinationUnreachable, DestinationRefused
            If they may not have arrived.
        """

    def close(self) -> None:
        """Let go of what is held open."""


class Feed:
    """Tells one log.

    Parameters
    ----------
    feed
        Which.
    settings, store
        The node's.
    """

    def __init__(self, feed: AnyFeed, settings: Settings, store: Store) -> None:
        node = settings.node
        self._source = Source(node.ae_title, node.name, node.institution, socket.gethostname())
        self._way: Way = (
            Syslog(feed, self._source)
            if isinstance(feed, ATNASettings)
            else AuditEvents(feed, self._source)
        )
        self._name = feed.name
        self._store = store
        self._log = get_logger(service="courier")
        self._away = False

    def run(self, stop: threading.Event) -> None:
        """Tell what is new until ``stop`` is set."""
        while not stop.is_set():
            try:
                wait_s = 0.0 if self.go_on() else _LOOK_S
            except HipnodeError as error:
                self._is_away(error)
                wait_s = _AGAIN_S
            stop.wait(wait_s)
        self._way.close()

    def go_on(self) -> bool:
        """Tell the next batch; return whether there was anything."""
        due = self._store.feeds.due(self._name, _BATCH)
        if not due.entries:
            return False
        events = [
            event
            for entry in due.entries
            if (event := hospital.told(entry.row_hash, entry.at_utc, entry.record, self._source))
        ]
        if due.head is not None:
            last = due.entries[-1]
            identifier = f"sealed-{last.row_hash[:56]}"
            events.append(hospital.sealed(identifier, last.at_utc, due.head.line(), self._source))
        self._way.tell(events)
        self._store.feeds.told(self._name, due.until_id)
        if self._away:
            self._away = False
            self._log.info(Event.AUDIT_FEED_CAME_BACK, destination=self._name)
        return True

    def _is_away(self, error: HipnodeError) -> None:
        if not self._away:
            self._away = True
            self._log.error(Event.AUDIT_FEED_AWAY, destination=self._name, reason=str(error))
        try:
            self._store.feeds.away(self._name, f"it is not told: {error}")
        except HipnodeError:
            return  # the database is away, which others say


class Syslog:
    """RFC 5424 messages over TLS.

    Parameters
    ----------
    feed
        Whom to tell.
    source
        Who tells.
    """

    def __init__(self, feed: ATNASettings, source: Source) -> None:
        self._feed = feed
        self._source = source
        self._stream: ssl.SSLSocket | None = None
        try:
            self._context = ssl.create_default_context(cafile=feed.ca)
            if feed.certificate is not None:
                self._context.load_cert_chain(feed.certificate, feed.key)
        except (OSError, ssl.SSLError) as error:
            raise SettingsInvalid(f"feeds.{feed.name}: {error}") from error

    def tell(self, events: Sequence[Told]) -> None:
        """Write the events; see `Way.tell`."""
        try:
            stream = self._stream or self._connect()
            stream.sendall(b"".join(framed(event, self._source) for event in events))
            if select.select([stream], [], [], _HELD_S)[0] and not stream.recv(1):
                raise ConnectionError("it closed the connection")
        except OSError as error:
            self.close()
            said = error.strerror or str(error) or type(error).__name__
            raise DestinationUnreachable(f"{self._feed.host}:{self._feed.port}: {said}") from error

    def _connect(self) -> ssl.SSLSocket:
        address = (self._feed.host, self._feed.port)
        plain = socket.create_connection(address, timeout=self._feed.timeout_s)
        try:
            self._stream = self._context.wrap_socket(plain, server_hostname=self._feed.host)
        except OSError:
            plain.close()
            raise
        return self._stream

    def close(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def framed(event: Told, source: Source) -> bytes:
    """Return an event as syslog carries it over a stream."""
    text = b"\xef\xbb\xbf" + hospital.atna(event, source)
    return syslog.framed(syslog.message(_PRIORITY, event.at_utc, source.host, "IHE+RFC-3881", text))


class AuditEvents:
    """FHIR AuditEvents, each under an id of its own, so that none is there twice.

    Parameters
    ----------
    feed
        Whom to tell.
    source
        Who tells.
    """

    def __init__(self, feed: AuditEventSettings, source: Source) -> None:
        self._url, self._timeout_s = feed.url, feed.timeout_s
        self._source = source
        self._session = session(feed)

    def tell(self, events: Sequence[Told]) -> None:
        """Send the events in one batch; see `Way.tell`."""
        if not events:
            return
        entries = [
            {
                "resource": hospital.balp(event, self._source),
                "request": {"method": "PUT", "url": f"AuditEvent/{event.identifier}"},
            }
            for event in events
        ]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        headers = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
        body = json.dumps(bundle).encode()
        reply = post(self._session, self._url, body, headers, self._timeout_s)
        if reply.answer is not Answer.TAKEN:
            raise DestinationRefused(f"it answers {reply.status}")

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()
