"""The listening socket and its associations.

References
----------
PS3.8 7.1, A-ASSOCIATE; 7.2, A-RELEASE; 9.1.5, ARTIM timer. PS3.15 B.12, TLS.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from contextlib import suppress
from socketserver import BaseServer
from typing import Any, Final, cast

import pynetdicom
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from hipnode.codes import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from hipnode.services.listener.admission import Admission, Refusal, Rejection, Request, of_address
from hipnode.services.listener.contexts import supported
from hipnode.services.listener.dimse import StoreDIMSE
from hipnode.services.listener.intake import Intake
from hipnode.services.listener.peer import Peer
from hipnode.services.listener.stream import StreamingDUL
from hipnode.services.rates import Rates
from hipnode.services.tls import ServerTLS
from hipnode.settings import Settings

_STREAMING_FITS: Final = pynetdicom.__version__.startswith("3.0.")
"""The fast receive path leans on internals of this version; others get pynetdicom's own, which
knows time-outs but no slowest pace (`listener.min_bytes_per_s`)."""
_STRANGERS: Final = 4
"""Connections at a time from addresses that no caller has: enough to tell them why, no more."""
_ABORT_S: Final = 5.0
"""How long associations may take to abort when the node stops; what still hangs ends with it."""
_STRANGER: Final = "stranger"
"""The one key under which all those addresses are counted."""


class _RingingQueue(queue.Queue[Any]):
    """A queue that rings a bell, so that one thread can wait for several of them."""

    def __init__(self, bell: threading.Event) -> None:
        super().__init__()
        self._bell = bell

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._bell.set()


class NodeAssociation(Association):
    """An association as acceptor whose images take the fast path."""

    def __init__(self, server: NodeServer) -> None:
        super().__init__(server.ae, "acceptor")
        self._server = server
        self._forget = server.forget
        self.admitted = False
        bell = threading.Event()
        self.dimse = self.storage = StoreDIMSE(self, server.intake, bell)
        if server.streaming:
            self.dul = StreamingDUL(self, self.storage)
        self.dul.to_user_queue = _RingingQueue(bell)
        self.dimse.msg_queue = _RingingQueue(bell)
        self.acse_timeout = server.ae.acse_timeout  # both live in timers of the `dul`
        self.network_timeout = server.ae.network_timeout

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        return self.storage.peer

    def run_reactor(self) -> None:
        """Serve the association; then let the server forget it."""
        try:
            super().run_reactor()
        finally:
            self._forget(self)

    def _serve_request(self, msg: Any, context_id: int) -> None:
        """Serve a request in the association's own thread.

        pynetdicom gives a report of an event a thread of its own, which answers nothing where this
        one has not yet noted that the association is established, as on a busy machine.
        """
        if threading.current_thread() is self:
            super()._serve_request(msg, context_id)
        else:
            self.dimse.msg_queue.put((context_id, msg))


class _Socket(AssociationSocket):
    """A peer's socket, to which all is sent in the numbers that the peer has given."""

    def send(self, bytestream: bytes) -> None:
        """Send a PDU."""
        asked = cast("NodeAssociation", self.assoc).storage.asked
        super().send(bytestream if asked is None else asked.outward(bytestream))


class _Handler(RequestHandler):
    """Makes an association of a connection (what pynetdicom's does, without its deep copies)."""

    server: NodeServer

    def _create_association(self) -> NodeAssociation:
        assoc = NodeAssociation(self.server)
        assoc.name = f"AcceptorThread@{self.client_address[1]}"
        assoc.set_socket(_Socket(assoc, client_socket=self.request))
        acceptor = assoc.acceptor
        acceptor.maximum_length = self.ae.maximum_pdu_size
        acceptor.ae_title = self.server.ae_title
        acceptor.address_info = self.local
        acceptor.implementation_class_uid = self.ae.implementation_class_uid
        acceptor.implementation_version_name = self.ae.implementation_version_name
        assoc.requestor.address_info = self.remote
        for event, handler in self.server.events:
            assoc.bind(event, handler)
        self.server.remember(assoc)
        return assoc


class NodeServer(ThreadedAssociationServer):
    """Accepts connections, decides about associations, and hands images to the intake.

    Parameters
    ----------
    settings
        The node's settings.
    intake
        Where objects go, and what writes about associations to the audit log.
    streaming
        Whether to use the fast receive path; without it, pynetdicom's own is used.

    Raises
    ------
    OSError
        If the address cannot be bound.
    SettingsInvalid
        If a caller's address or a certificate cannot be used.
    """

    request_queue_size = 128
    daemon_threads = True

    def __init__(
        self, settings: Settings, intake: Intake, *, streaming: bool = _STREAMING_FITS
    ) -> None:
        listener = settings.listener
        self.intake = intake
        self.streaming = streaming
        self.stopping = False
        self.admission = Admission(listener, settings.node.ae_title)
        self._limit = 2 * listener.max_associations + 8
        self._share = of_address(self._limit, listener)
        self._live: set[NodeAssociation] = set()
        self._coming: dict[Any, str] = {}  # addresses of connections that are not associations yet
        self._lock = threading.Lock()
        self._connections = Rates(listener.max_connections_per_minute)
        self._handshake_s = listener.acse_timeout_s
        self._tls = ServerTLS(listener.tls) if listener.tls else None
        self.events = (
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_RELEASED, self._released),
            (evt.EVT_ABORTED, self._aborted),
            (evt.EVT_C_ECHO, self._echoed),
            (evt.EVT_N_EVENT_REPORT, self._reported),
        )
        self._commitment = any(place.commits for place in settings.destinations)
        ae = ApplicationEntity(settings.node.ae_title)
        ae.maximum_associations = 1_000_000  # `Admission` has the limit
        ae.maximum_pdu_size = listener.max_pdu_bytes
        ae.acse_timeout = listener.acse_timeout_s
        ae.dimse_timeout = listener.dimse_timeout_s
        ae.network_timeout = listener.network_timeout_s
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        super().__init__(
            ae,
            (listener.host, listener.port),
            settings.node.ae_title,
            [],
            request_handler=_Handler,
        )

    # --- connections --------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port that is bound, also where the settings asked for any."""
        return int(self.server_address[1])

    @property
    def admitted(self) -> int:
        """How many associations are accepted and not yet over."""
        with self._lock:
            return self._count_admitted()

    def _count_admitted(self) -> int:
        return sum(assoc.admitted for assoc in self._live)

    def admit(self, assoc: NodeAssociation, request: Request) -> Refusal | None:
        """Return why the association is refused, or None and count it as accepted.

        Deciding and counting are one step: of two that ask at once, both get the last place
        otherwise.
        """
        with self._lock:
            others = [other for other in self._live if other.admitted]
            refusal = self.admission.decide(
                request,
                len(others),
                of_caller=sum(o.peer.calling_ae == request.calling_ae for o in others),
                of_address=sum(o.requestor.address == request.address for o in others),
                stopping=self.stopping,
            )
            assoc.admitted = refusal is None
        return refusal

    def remember(self, assoc: NodeAssociation) -> None:
        """Count an association from the connection on."""
        with self._lock:
            self._live.add(assoc)

    def forget(self, assoc: NodeAssociation) -> None:
        """Count it no longer."""
        with self._lock:
            self._live.discard(assoc)

    def service_actions(self) -> None:
        """Say, at each turn of the loop that accepts connections, that it goes round."""
        super().service_actions()
        if not self.stopping:
            self.intake.pulse.went_round(loop="accept")
        if self._tls:
            self._tls.look()

    def reload(self) -> None:
        """Take certificates from their files at once; safe in a signal's handler."""
        if self._tls:
            self._tls.wanted = True

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Tell whether a connection may stay open long enough to say what it wants.

        A flood of connections that never ask for anything must not keep out those that do.
        """
        address = client_address[0]
        with self._lock:
            live = [assoc.requestor.address for assoc in self._live] + [*self._coming.values()]
            if len(live) >= self._limit:
                return False
            if self.admission.knows_address(address):
                is_fair = live.count(address) < self._share
            else:
                others = [other for other in live if not self.admission.knows_address(other)]
                is_fair = len(others) < _STRANGERS
            if is_fair:
                self._coming[client_address] = address
        return is_fair

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shake hands where TLS is asked for, on a thread of its own, then associate."""
        try:
            self._associate(request, client_address)
        finally:
            with self._lock:
                self._coming.pop(client_address, None)

    def _associate(self, request: Any, client_address: Any) -> None:
        if not self._is_within_rate(client_address[0]):
            request.close()
            return
        try:
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tls:
                request.settimeout(self._handshake_s)
                request = self._tls.context.wrap_socket(request, server_side=True)
                request.settimeout(None)
        except (OSError, ssl.SSLError) as error:
            self.intake.notes.refused(
                Peer(address=client_address[0]), "tls_handshake", type(error).__name__
            )
            with suppress(OSError):
                request.close()
            return
        super().process_request_thread(request, client_address)

    def _is_within_rate(self, address: str) -> bool:
        """Tell whether the address may connect once more in this minute; note the first excess."""
        key = address if self.admission.knows_address(address) else _STRANGER
        if not self._connections.take(key):
            return True
        if self._connections.is_news(key):
            self.intake.notes.refused(
                Peer(address=address), "too_many_connections_per_minute", "closed"
            )
        return False

    def stop(self, grace_s: float) -> None:
        """Stop accepting, let running associations finish for ``grace_s``, then abort them."""
        self.stopping = True
        BaseServer.shutdown(self)  # past pynetdicom's own, which wants to be known to its AE
        self.server_close()
        deadline_s = time.monotonic() + grace_s
        while self.admitted and time.monotonic() < deadline_s:
            time.sleep(0.05)
        with self._lock:
            rest = list(self._live)
        aborts = [threading.Thread(target=assoc.abort, daemon=True) for assoc in rest]
        for abort in aborts:
            abort.start()
        deadline_s = time.monotonic() + _ABORT_S
        for thread in (*aborts, *rest):  # one that hangs does not keep the node from its end
            thread.join(max(0.0, deadline_s - time.monotonic()))

    # --- events of an association -------------------------------------------------------------

    def _requested(self, event: evt.Event) -> None:
        """Refuse the association, or register what it proposes (an exception here refuses)."""
        assoc = _of(event)
        proposal: Any = assoc.requestor.primitive
        asked = assoc.storage.asked
        request = Request(
            calling_ae=asked.calling_ae if asked else (proposal.calling_ae_title or "").strip(),
            called_ae=asked.called_ae if asked else (proposal.called_ae_title or "").strip(),
            address=assoc.requestor.address,
            application_context=str(proposal.application_context_name or ""),
        )
        assoc.storage.peer = Peer(request.calling_ae, request.called_ae, request.address)
        refusal: Refusal | None = Refusal(Rejection.TEMPORARY_CONGESTION, "internal_error")
        try:
            refusal = self.admit(assoc, request)
            if refusal is None:
                assoc.acceptor.supported_contexts = supported(
                    proposal.presentation_context_definition_list, commitment=self._commitment
                )
        finally:
            if refusal is not None:
                assoc.acse.send_reject(*refusal.rejection.value)
                assoc.kill()  # returns once the rejection is on its way
                self.intake.notes.refused(
                    assoc.peer, refusal.detail, refusal.rejection.name.lower()
                )

    def _accepted(self, event: evt.Event) -> None:
        assoc = _of(event)
        asked = assoc.storage.asked
        self.intake.notes.accepted(assoc.peer, asked.notes if asked else ())

    def _released(self, event: evt.Event) -> None:
        self.intake.released(_of(event).peer)

    def _aborted(self, event: evt.Event) -> None:
        self.intake.notes.aborted(_of(event).peer)

    def _reported(self, event: evt.Event) -> tuple[int, None]:
        peer = _of(event).peer
        return self.intake.reported(peer, event.event_type, event.event_information), None

    def _echoed(self, event: evt.Event) -> int:
        self.intake.notes.echoed(_of(event).peer)
        return 0x0000


def _of(event: evt.Event) -> NodeAssociation:
    return cast("NodeAssociation", event.assoc)
