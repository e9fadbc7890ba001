"""The fast receive path: P-DATA goes from the socket's buffer to the file without a copy.

pynetdicom reads a PDU in pieces of 4 KiB, copies it four times and sleeps between looks at the
socket. Here one buffer is filled as far as the socket has bytes, PDU and PDV headers are read in
place, and the slices between them are written. Everything that is not P-DATA during data transfer
(negotiation, release, abort) is decoded and acted upon by pynetdicom as ever, and so is P-DATA in
any other state than Sta6.

References
----------
PS3.8 9.2, state machine; 9.3.1, PDU header; 9.3.5, P-DATA-TF; Annex E, PDV headers.
PS3.8 9.2.2, Sta13: what still comes is ignored until the connection is closed.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from struct import Struct
from typing import Any, Final

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider

from hipnode.services.listener import tolerant
from hipnode.services.listener.dimse import ProtocolError, StoreDIMSE

_PDU_HEADER: Final = Struct(">BxI")
_PDV_HEADER: Final = Struct(">IBB")
_P_DATA_TF: Final = 0x04
_BUFFER_BYTES: Final = 1024 * 1024
_MAX_OTHER_PDU_BYTES: Final = _BUFFER_BYTES - _PDU_HEADER.size
_TICK_S: Final = 0.5
_IGNORED_BYTES: Final = 16 * 1024 * 1024
"""More than can be under way when a peer is told of an abort: who sends on will not stop."""
_ABORT: Final = 0x07
_KINDS: Final = range(1, 8)
_AWAITING_REQUEST: Final = "Sta2"
_DATA_TRANSFER: Final = "Sta6"
_AWAITING_CLOSE: Final = "Sta13"
_QUICKACK: Final = getattr(socket, "TCP_QUICKACK", None)
_DONT_WAIT: Final = getattr(socket, "MSG_DONTWAIT", 0)


class StreamingDUL(DULServiceProvider):
    """An upper layer that receives in place and waits for events instead of polling.

    Parameters
    ----------
    assoc
        The association that it serves.
    dimse
        Where the fragments of messages go.
    """

    def __init__(self, assoc: Association, dimse: StoreDIMSE) -> None:
        super().__init__(assoc)
        self.daemon = True  # pynetdicom's is not: one that hung would keep the process from its end
        self._dimse = dimse
        self._run_loop_delay = 0  # the waiting is done in `_is_transport_event`
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._start = 0  # of the bytes not yet parsed
        self._end = 0
        self._pdu_left = 0  # bytes of the P-DATA-TF PDU that are still to come
        self._pdv_left = 0  # bytes of the PDV that are still to come
        self._context_id = self._control = 0
        self._ours: Mapping[int, int] = {}  # of context IDs that are ours by another number
        self._last_heard_s = time.monotonic()
        self._busy = False
        self._owed_bytes = 0  # received of what the peer has begun and not finished
        self._waited_s = 0.0  # for the rest of it
        self._ignored_bytes = 0  # received since the abort
        self._min_bytes_per_s = dimse.min_bytes_per_s
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._poll: select.poll | None = None

    # --- the thread ---------------------------------------------------------------------------

    def run_reactor(self) -> None:
        """Run until the association is over; then leave nothing half done behind."""
        try:
            super().run_reactor()
        finally:
            self._dimse.drop()
            self._buffer = memoryview(b"")
            self._wake_in.close()
            self._wake_out.close()
            self.to_user_queue.put(None)  # who waits for a request that will not come, wakes up

    def send_pdu(self, primitive: Any) -> None:
        """Queue a primitive for the peer, and wake the thread that sends it."""
        super().send_pdu(primitive)
        self._wake()

    def stop_dul(self) -> bool:
        """End the thread if the association is over; return whether it is."""
        if self.state_machine.current_state != "Sta1":
            return False
        self._kill_thread = True
        self._wake()
        if threading.current_thread() is not self:
            self.join()
        return True

    def idle_timer_expired(self) -> bool:
        """Tell whether the peer has been silent for too long.

        Within a message the DIMSE timeout counts, between messages the network timeout. A peer
        that waits for our answer is not silent. One that says a byte now and then is: once a
        message was waited for as long as the DIMSE timeout, its pace counts, in the time that we
        have spent waiting for it.
        """
        patience_s = self.assoc.dimse_timeout
        if (
            patience_s is not None
            and self._waited_s > float(patience_s)
            and self._owed_bytes < self._waited_s * self._min_bytes_per_s
        ):
            return True
        limit_s = (
            self.assoc.dimse_timeout if self._dimse.mid_message else self.assoc.network_timeout
        )
        if self._busy or limit_s is None:
            return False
        return time.monotonic() - self._last_heard_s > float(limit_s)

    def _wake(self) -> None:
        try:
            self._wake_out.send(b"\0")
        except OSError:  # full: it is awake anyway; closed: it has ended
            return

    # --- the socket ---------------------------------------------------------------------------

    def _is_transport_event(self) -> bool:
        """Receive and parse what there is, or wait a moment for the peer or for our own side."""
        if not self.event_queue.empty():
            return False
        if self._parse():
            return True
        received = self._receive()
        if received is None:
            if self.state_machine.current_state == _AWAITING_CLOSE:
                if self.socket is not None:
                    self.socket.close()
                return True
            began_s = time.monotonic()
            self._wait()
            if self._is_owed():
                self._waited_s += time.monotonic() - began_s
            received = self._receive()
        if received is None:
            return False
        while received and not self._take_in(received):
            # Within a message there is nothing else to do, and each turn of pynetdicom's loop
            # costs a twentieth of a millisecond.
            received = self._receive() if self._is_owed() and self._is_free() else None
        if received == 0:
            self.event_queue.put("Evt17")  # transport connection closed
        return True

    def _take_in(self, received: int) -> bool:
        """Act on what was received; return whether a whole other PDU led to an event."""
        if self._ignores(received):
            return True
        self._last_heard_s = time.monotonic()
        self._end += received
        self._owed_bytes += received
        happened = self._parse()
        if not self._is_owed():
            self._owed_bytes, self._waited_s = 0, 0.0
        return happened

    def _ignores(self, received: int) -> bool:
        """Hang up on a peer that goes on and on after the abort; return whether that was done."""
        if self.state_machine.current_state != _AWAITING_CLOSE:
            return False
        self._ignored_bytes += received
        if self._ignored_bytes <= _IGNORED_BYTES or self.socket is None:
            return False
        self.socket.close()
        return True

    def _is_free(self) -> bool:
        """Tell whether nothing waits to be sent and nobody wants this thread to end."""
        return self.to_provider_queue.empty() and not self._kill_thread

    def _is_owed(self) -> bool:
        """Tell whether the peer has begun something that it has not finished."""
        return self._dimse.mid_message or bool(self._end or self._pdu_left)

    def _receive(self) -> int | None:
        """Fill the buffer; return the number of bytes, 0 at the end, None if there are none yet."""
        sock = self.socket.socket if self.socket else None
        if sock is None:
            return None if self.state_machine.current_state == _AWAITING_CLOSE else 0
        space = self._buffer[self._end :]
        try:
            if isinstance(sock, ssl.SSLSocket):
                if not sock.pending() and not self._readable(0):
                    return None
                return _received(sock, space)
            return sock.recv_into(space, 0, _DONT_WAIT)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError:
            return 0

    def _wait(self) -> None:
        """Wait for the peer, or until `_wake`.

        A sender with Nagle's algorithm holds its next small write back until the bytes before it
        are acknowledged. Whenever we have run dry, we acknowledge at once.
        """
        sock = self.socket.socket if self.socket else None
        if sock is not None and _QUICKACK is not None and sock.family != socket.AF_UNIX:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            except OSError:
                return
        self._readable(_TICK_S)
        try:
            while self._wake_in.recv(4096):
                pass
        except OSError:
            return

    def _readable(self, timeout_s: float) -> bool:
        sock = self.socket.socket if self.socket else None
        if sock is None or sock.fileno() < 0:
            return False
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(sock, select.POLLIN)
            self._poll.register(self._wake_in, select.POLLIN)
        ready = self._poll.poll(timeout_s * 1000)
        return any(fd != self._wake_in.fileno() for fd, _ in ready)

    # --- PDUs ---------------------------------------------------------------------------------

    def _parse(self) -> bool:
        """Act on what is in the buffer; return whether a whole other PDU led to an event."""
        try:
            happened = self._parse_pdus()
            self._dimse.flush()
        except ProtocolError as error:
            if self.state_machine.current_state == _AWAITING_REQUEST:
                self._turn_away(str(error), tolerant.abort(tolerant.INVALID_VALUE))
            else:
                self._forget()
                self.event_queue.put("Evt19")  # unrecognised or invalid PDU: AA-8 aborts
            return True
        rest = self._buffer[self._start : self._end]
        if self._start:
            self._buffer[: len(rest)] = bytes(rest)
        self._start, self._end = 0, len(rest)
        return happened

    def _parse_pdus(self) -> bool:
        while True:
            if self._pdu_left:
                if self.state_machine.current_state != _DATA_TRANSFER:
                    self._forget()
                    return False
                if not self._parse_pdv():
                    return False
                continue
            if self._end - self._start < _PDU_HEADER.size:
                return False
            kind, length = _PDU_HEADER.unpack_from(self._buffer, self._start)
            in_place = kind == _P_DATA_TF and self.state_machine.current_state == _DATA_TRANSFER
            if in_place:
                self._start += _PDU_HEADER.size
                self._pdu_left = length
                if length < _PDV_HEADER.size:
                    raise ProtocolError("a P-DATA-TF PDU without a PDV")
                continue
            if self.state_machine.current_state == _AWAITING_REQUEST:
                return self._request(kind, length)
            return self._other_pdu(length)

    def _request(self, kind: int, length: int) -> bool:
        """Take the first PDU of a connection: a request for an association, or nothing."""
        if kind == _ABORT:
            return self._other_pdu(length)
        if kind != tolerant.ASSOCIATE_RQ:
            known = kind in _KINDS
            why = f"a PDU of type 0x{kind:02X} where a request for an association was due"
            reason = tolerant.UNEXPECTED if known else tolerant.UNRECOGNISED
            self._turn_away(why, tolerant.abort(reason))
            return True
        if length > _MAX_OTHER_PDU_BYTES:
            raise ProtocolError("a request that is longer than any of its kind")
        end = self._start + _PDU_HEADER.size + length
        if end > self._end:
            return False
        try:
            asked = tolerant.understood(bytes(self._buffer[self._start : end]))
        except tolerant.NotUnderstood as refused:
            self._turn_away(str(refused), refused.answer)
            return True
        self._ours = asked.ours
        self._dimse.asked = asked
        self._start = end
        return self._decoded(bytearray(asked.pdu))

    def _turn_away(self, why: str, answer: bytes) -> None:
        """Refuse what a peer began with, note it, and wait for the peer to close."""
        received = bytes(self._buffer[self._start : self._end])
        self._forget()
        if self.socket is not None:
            self.socket.send(answer)
        self.state_machine.current_state = _AWAITING_CLOSE
        self.artim_timer.restart()
        self._dimse.turned_away(why, answer, received)

    def _other_pdu(self, length: int) -> bool:
        """Hand a PDU to pynetdicom once it is whole."""
        if length > _MAX_OTHER_PDU_BYTES:
            raise ProtocolError("a PDU that is longer than any of its kind")
        end = self._start + _PDU_HEADER.size + length
        if end > self._end:
            return False
        whole = bytearray(self._buffer[self._start : end])
        self._start = end
        return self._decoded(whole)

    def _decoded(self, whole: bytearray) -> bool:
        try:
            pdu, event = self._decode_pdu(whole)
        except Exception as error:  # pynetdicom's decoders raise whatever they meet
            raise ProtocolError(f"a PDU that cannot be decoded: {error!r}") from error
        self.event_queue.put(event)
        self._recv_pdu.put(pdu)
        return True

    def _parse_pdv(self) -> bool:
        """Take what there is of the present PDV; return whether there may be more to take."""
        if not self._pdv_left:
            if self._end - self._start < _PDV_HEADER.size:
                return False
            if self._pdu_left < _PDV_HEADER.size:
                raise ProtocolError("a PDU that ends within the header of a PDV")
            length, self._context_id, self._control = _PDV_HEADER.unpack_from(
                self._buffer, self._start
            )
            self._context_id = self._ours.get(self._context_id, self._context_id)
            if length < 2 or length + 4 > self._pdu_left:
                raise ProtocolError("a PDV that is longer than its PDU, or has no header")
            self._start += _PDV_HEADER.size
            self._pdu_left -= _PDV_HEADER.size
            self._pdv_left = length - 2
        size = min(self._pdv_left, self._end - self._start)
        if not size and self._pdv_left:
            return False
        piece = self._buffer[self._start : self._start + size]
        self._start += size
        self._pdu_left -= size
        self._pdv_left -= size
        self._busy = True
        self._dimse.take(self._context_id, self._control, piece, complete=not self._pdv_left)
        self._busy = False
        self._last_heard_s = time.monotonic()
        return True

    def _forget(self) -> None:
        """Drop everything that was received and not yet acted upon."""
        self._start = self._end = self._pdu_left = self._pdv_left = 0
        self._busy = False
        self._dimse.drop()


def _received(sock: ssl.SSLSocket, space: memoryview) -> int:
    """Receive what there is; a peer that stops within a TLS record does not hold the thread.

    Raises
    ------
    ssl.SSLWantReadError
        If no whole record has come.
    """
    sock.settimeout(0)
    try:
        return sock.recv_into(space)
    finally:
        sock.settimeout(None)  # for what we send
