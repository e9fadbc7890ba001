"""From message fragments to stored objects: a DIMSE provider that keeps C-STORE for itself.

A C-STORE's data set goes to its file piece by piece and is answered on the thread that received
it. Every other message is handed to pynetdicom as it came.

References
----------
PS3.8 Annex E, message control header; PS3.7 6.3, command and data set; PS3.7 9.3.1, C-STORE.
"""

from __future__ import annotations

import threading
from typing import Any, Final

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from hipnode.services.listener.command import (
    CommandInvalid,
    StoreRequest,
    fragments,
    parse,
    store_response,
)
from hipnode.services.listener.intake import Arrival, Endless, Intake
from hipnode.services.listener.peer import Peer
from hipnode.services.listener.tolerant import ASSOCIATE_RJ, Asked

COMMAND: Final = 0x01  # bits of the message control header
LAST: Final = 0x02
_MAX_COMMAND_BYTES: Final = 64 * 1024
_MAX_OTHER_BYTES: Final = 1024 * 1024  # data sets of anything but C-STORE (commitment reports)
_TICK_S: Final = 0.5
_MOST_SHOWN: Final = 2048
"""Bytes of a request that was refused, for the audit log."""


class ProtocolError(Exception):
    """The peer broke a rule of PS3.7 or PS3.8; its association is aborted."""


class StoreDIMSE(DIMSEServiceProvider):
    """Puts fragments together again; writes what belongs to a C-STORE straight to its file.

    Parameters
    ----------
    assoc
        The association that it serves.
    intake
        Where objects go.
    bell
        Rings when the association's own thread has something to do.
    """

    def __init__(self, assoc: Association, intake: Intake, bell: threading.Event) -> None:
        super().__init__(assoc)
        self.peer = Peer()
        self.asked: Asked | None = None  # the peer's request, as it came
        self._intake = intake
        self.min_bytes_per_s = intake.min_bytes_per_s
        self._bell = bell
        self._command = bytearray()
        self._request: StoreRequest | None = None  # whose data set is being received
        self._arrival: Arrival | None = None
        self._pieces: list[memoryview] = []
        self._other = bytearray()
        self._other_context: int | None = None  # of a message that pynetdicom serves

    @property
    def mid_message(self) -> bool:
        """Whether the peer still owes a part of a message."""
        return bool(self._request or self._command or self._other_context is not None)

    def turned_away(self, why: str, answer: bytes, received: bytes) -> None:
        """Note that what a peer began with was refused.

        Parameters
        ----------
        why
            In words.
        answer
            The A-ASSOCIATE-RJ or A-ABORT that it was sent.
        received
            What it had sent.
        """
        peer = Peer(address=self.assoc.requestor.address)
        what = "rejected" if answer[0] == ASSOCIATE_RJ else "aborted"
        self._intake.notes.refused(peer, why, what, received=received[:_MOST_SHOWN].hex())

    # --- fragments in -------------------------------------------------------------------------

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take the fragments of one P-DATA primitive (pynetdicom's own receive path)."""
        try:
            for context_id, value in primitive.presentation_data_value_list:
                self.take(context_id, value[0], memoryview(value)[1:], complete=True)
            self.flush()
        except ProtocolError:
            self.dul.event_queue.put("Evt19")

    def take(self, context_id: int, control: int, piece: memoryview, *, complete: bool) -> None:
        """Take a piece of a fragment.

        Parameters
        ----------
        context_id
            The presentation context that the fragment came in.
        control
            Its message control header (PS3.8 E.2).
        piece
            Bytes of the fragment. They must stay unchanged until `flush`.
        complete
            Whether the fragment ends with this piece.

        Raises
        ------
        ProtocolError
            If such a fragment cannot come at this point.
        """
        ended = complete and bool(control & LAST)
        if control & COMMAND:
            if self._request or self._other_context is not None:
                raise ProtocolError("a command where a data set was due")
            _grow(self._command, piece, _MAX_COMMAND_BYTES)
            if ended:
                self._command_came(context_id)
        elif self._request and context_id == self._request.context_id:
            self._pieces.append(piece)
            if ended:
                self._data_set_came()
        elif self._other_context == context_id:
            _grow(self._other, piece, _MAX_OTHER_BYTES)
            if ended:
                value, self._other_context = bytes(self._other), None
                self._other.clear()
                self._to_pynetdicom(context_id, LAST, value)
        else:
            raise ProtocolError("a data set where none was due")

    def flush(self) -> None:
        """Write the pieces taken so far.

        Raises
        ------
        ProtocolError
            If they belong to an object that is far larger than the node takes.
        """
        pieces, self._pieces = self._pieces, []
        if not pieces or self._arrival is None:
            return
        try:
            self._arrival.write(pieces)
        except Endless as error:
            raise ProtocolError("an object without an end") from error

    def drop(self) -> None:
        """Forget an object of which the rest will not come."""
        self._pieces = []
        if self._arrival:
            self._arrival.abandon()
        self._arrival = self._request = None

    # --- messages -----------------------------------------------------------------------------

    def _command_came(self, context_id: int) -> None:
        context = self.assoc._accepted_cx.get(context_id)  # noqa: SLF001
        if context is None:
            raise ProtocolError("a message in a presentation context that was not accepted")
        command = bytes(self._command)
        self._command.clear()
        try:
            request = parse(command, context_id)
        except CommandInvalid as error:
            raise ProtocolError(str(error)) from error
        if request is None:
            self._to_pynetdicom(context_id, COMMAND | LAST, command)
            self._other_context = context_id if self.message is not None else None
            return
        self._request = request
        self._arrival = self._intake.begin(
            self.peer, request, str(context.abstract_syntax), str(context.transfer_syntax[0])
        )

    def _to_pynetdicom(self, context_id: int, control: int, value: bytes) -> None:
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((context_id, bytes([control]) + value))
        try:
            super().receive_primitive(primitive)
        except Exception as error:  # pynetdicom's decoders raise whatever they meet
            raise ProtocolError(f"a message that cannot be decoded: {error!r}") from error

    def _data_set_came(self) -> None:
        self.flush()
        request, arrival = self._request, self._arrival
        if request is None or arrival is None:
            raise ProtocolError("a data set where none was due")
        self._request = self._arrival = None
        answer = arrival.finish()
        self._intake.slow_down(self.peer)
        response = store_response(request, answer.status, answer.comment)
        for pdu in fragments(response, request.context_id, self.maximum_pdu_size):
            if self.dul.socket is not None:
                self.dul.socket.send(pdu)

    # --- waiting ------------------------------------------------------------------------------

    def get_msg(self, block: bool = False) -> Any:
        """Return the next message; sleep until there is something to do instead of polling."""
        if not block:
            self._bell.wait(_TICK_S)
            self._bell.clear()
        return super().get_msg(block)


def _grow(buffer: bytearray, piece: memoryview, limit: int) -> None:
    if len(buffer) + len(piece) > limit:
        raise ProtocolError("a message that is longer than any of its kind")
    buffer += piece
