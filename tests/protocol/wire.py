"""A DICOM peer that we control byte by byte: any fragmentation, any breach of the rules."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Self

from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

DX = "1.2.840.10008.5.1.4.1.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
RELEASE_RQ = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"


def associate_rq(
    contexts: Sequence[tuple[str, Sequence[str]]] = ((DX, (ExplicitVRLittleEndian,)),),
    *,
    calling: str = "WIRE",
    called: str = "HIPNODE",
    max_length: int = 16382,
    application_context: str = "1.2.840.10008.3.1.1.1",
) -> bytes:
    """Return an A-ASSOCIATE-RQ PDU; context IDs are 1, 3, 5, ... in order."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = application_context
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = max_length
    implementation.implementation_class_uid = "1.2.3.4"
    primitive.user_information = [length, implementation]
    definitions = []
    for index, (abstract_syntax, transfer_syntaxes) in enumerate(contexts):
        context = build_context(abstract_syntax, list(transfer_syntaxes))
        context.context_id = 2 * index + 1
        definitions.append(context)
    primitive.presentation_context_definition_list = definitions
    return A_ASSOCIATE_RQ(primitive).encode()


def store_rq(sop_class: str, sop_instance: str, message_id: int = 1) -> bytes:
    """Return the command set of a C-STORE-RQ (PS3.7 9.3.1.1)."""

    def element(tag: int, value: bytes) -> bytes:
        return struct.pack("<HHI", 0, tag, len(value)) + value

    def uid(text: str) -> bytes:
        return text.encode() + b"\0" * (len(text) % 2)

    body = (
        element(0x0002, uid(sop_class))
        + element(0x0100, b"\x01\x00")
        + element(0x0110, struct.pack("<H", message_id))
        + element(0x0700, b"\x00\x00")
        + element(0x0800, b"\x01\x00")
        + element(0x1000, uid(sop_instance))
    )
    return element(0x0000, struct.pack("<I", len(body))) + body


def echo_rq() -> bytes:
    """Return the command set of a C-ECHO-RQ (PS3.7 9.3.5.1)."""
    sop_class = VERIFICATION.encode() + b"\0"
    body = struct.pack("<HHI", 0, 0x0002, len(sop_class)) + sop_class
    for tag, value in ((0x0100, 0x0030), (0x0110, 1), (0x0800, 0x0101)):
        body += struct.pack("<HHIH", 0, tag, 2, value)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def pdv(context_id: int, control: int, value: bytes) -> bytes:
    """Return a presentation data value item (PS3.8 9.3.5.1)."""
    return struct.pack(">IBB", len(value) + 2, context_id, control) + value


def p_data(*pdvs: bytes) -> bytes:
    """Return a P-DATA-TF PDU that holds ``pdvs``."""
    body = b"".join(pdvs)
    return struct.pack(">BxI", 4, len(body)) + body


def fragmented(context_id: int, command: bool, value: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Cut ``value`` into PDVs of the given sizes (then whatever is left in one)."""
    pieces, position = [], 0
    for size in sizes:
        pieces.append(value[position : position + size])
        position += size
    pieces.append(value[position:])
    bit = 1 if command else 0
    return [
        pdv(context_id, bit | (2 if index == len(pieces) - 1 else 0), piece)
        for index, piece in enumerate(pieces)
    ]


class Wire:
    """A TCP connection that speaks in PDUs."""

    def __init__(self, port: int, timeout_s: float = 20) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes | bytearray) -> None:
        self.socket.sendall(data)

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionError(f"closed after {len(data)} of {count} bytes")
            data += part
        return data

    def pdu(self) -> tuple[int, bytes]:
        """Return the type and the body of the next PDU."""
        kind, length = struct.unpack(">BxI", self.read(6))
        return kind, self.read(length)

    def closed(self) -> bool:
        """Tell whether the peer closes the connection (waits up to the timeout)."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True

    def associate(self, **options: object) -> bytes:
        """Associate; return the body of the A-ASSOCIATE-AC."""
        self.send(associate_rq(**options))  # type: ignore[arg-type]
        kind, body = self.pdu()
        assert kind == 2, f"PDU type {kind}: {body!r}"
        return body

    def status(self) -> int:
        """Return the status of the next C-STORE response."""
        kind, body = self.pdu()
        assert kind == 4, f"PDU type {kind}: {body!r}"
        where = body.index(b"\x00\x00\x00\x09\x02\x00\x00\x00")
        return int(struct.unpack_from("<H", body, where + 8)[0])

    def release(self) -> None:
        """Release the association and see that it is confirmed."""
        self.send(RELEASE_RQ)
        kind, _ = self.pdu()
        assert kind == 6, f"PDU type {kind}"


def store(
    wire: Wire, uid: str, data: bytes, *, sop_class: str = DX, sizes: tuple[int, ...] = ()
) -> int:
    """Send a C-STORE whose data set comes in fragments of ``sizes``; return the status."""
    for item in fragmented(1, True, store_rq(sop_class, uid), ()):
        wire.send(p_data(item))
    for item in fragmented(1, False, data, sizes):
        wire.send(p_data(item))
    return wire.status()
