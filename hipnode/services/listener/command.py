"""C-STORE's command sets, to and from bytes.

A command set is Implicit VR Little Endian without sequences (PS3.7 6.3.1), so the two messages
that make up the traffic are read and written here in microseconds; every other DIMSE message is
left to pynetdicom.

References
----------
PS3.7 9.3.1, C-STORE protocol; PS3.7 E.1, registry of command elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct, error
from typing import Final

_ELEMENT: Final = Struct("<HHI")
_US: Final = Struct("<H")
_UL: Final = Struct("<I")
_PDATA: Final = Struct(">BBIIBB")  # PS3.8 9.3.5 and Annex E: PDU header, PDV header

_C_STORE_RQ: Final = 0x0001
_C_STORE_RSP: Final = 0x8001
_NO_DATA_SET: Final = 0x0101

_AFFECTED_SOP_CLASS_UID: Final = 0x0002
_COMMAND_FIELD: Final = 0x0100
_MESSAGE_ID: Final = 0x0110
_MESSAGE_ID_RESPONDED_TO: Final = 0x0120
_DATA_SET_TYPE: Final = 0x0800
_STATUS: Final = 0x0900
_ERROR_COMMENT: Final = 0x0902
_AFFECTED_SOP_INSTANCE_UID: Final = 0x1000

MAX_COMMENT: Final = 64
"""Characters of an Error Comment: VR LO (PS3.5 6.2)."""


class CommandInvalid(ValueError):
    """The bytes are not a command set, or lack what their message must have."""


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """A C-STORE-RQ that a data set follows."""

    context_id: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str


def parse(command: bytes | bytearray, context_id: int) -> StoreRequest | None:
    """Return the C-STORE request in ``command``; None for any other message.

    Raises
    ------
    CommandInvalid
        If the command set is cut short, or is a C-STORE-RQ without its mandatory elements.

    References
    ----------
    PS3.7 9.3.1.1, C-STORE-RQ.
    """
    elements = _elements(command)
    if elements.get(_COMMAND_FIELD, b"") != _US.pack(_C_STORE_RQ):
        return None
    try:
        has_data_set = _US.unpack(elements[_DATA_SET_TYPE])[0] != _NO_DATA_SET
        request = StoreRequest(
            context_id=context_id,
            message_id=_US.unpack(elements[_MESSAGE_ID])[0],
            sop_class_uid=_uid(elements[_AFFECTED_SOP_CLASS_UID]),
            sop_instance_uid=_uid(elements[_AFFECTED_SOP_INSTANCE_UID]),
        )
    except (KeyError, UnicodeDecodeError, error) as why:
        raise CommandInvalid(f"a C-STORE-RQ without a usable element: {why!r}") from why
    if not has_data_set:
        raise CommandInvalid("a C-STORE-RQ without a data set")
    return request


def _elements(command: bytes | bytearray) -> dict[int, bytes]:
    """Return element number -> value of the group 0000 elements."""
    found: dict[int, bytes] = {}
    position, end = 0, len(command)
    while position < end:
        if end - position < _ELEMENT.size:
            raise CommandInvalid("the command set ends within an element")
        group, element, length = _ELEMENT.unpack_from(command, position)
        position += _ELEMENT.size
        if group != 0 or length > end - position:
            raise CommandInvalid("the command set ends within a value or leaves group 0000")
        found[element] = bytes(command[position : position + length])
        position += length
    return found


def _uid(value: bytes) -> str:
    return value.decode("ascii").rstrip("\0 ")


def store_response(request: StoreRequest, status: int, comment: str = "") -> bytes:
    """Return the encoded C-STORE-RSP to ``request``.

    Parameters
    ----------
    request
        What is answered.
    status
        PS3.4 Table B.2-1, or PS3.7 Annex C.
    comment
        The Error Comment, at most `MAX_COMMENT` characters are sent.

    References
    ----------
    PS3.7 9.3.1.2, C-STORE-RSP.
    """
    elements = [
        (_AFFECTED_SOP_CLASS_UID, _padded(request.sop_class_uid, b"\0")),
        (_COMMAND_FIELD, _US.pack(_C_STORE_RSP)),
        (_MESSAGE_ID_RESPONDED_TO, _US.pack(request.message_id)),
        (_DATA_SET_TYPE, _US.pack(_NO_DATA_SET)),
        (_STATUS, _US.pack(status)),
    ]
    if comment:
        elements.append((_ERROR_COMMENT, _padded(comment[:MAX_COMMENT], b" ")))
    elements.append((_AFFECTED_SOP_INSTANCE_UID, _padded(request.sop_instance_uid, b"\0")))
    body = b"".join(_ELEMENT.pack(0, tag, len(value)) + value for tag, value in elements)
    return _ELEMENT.pack(0, 0, 4) + _UL.pack(len(body)) + body


def _padded(text: str, pad: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    return value + pad * (len(value) % 2)


def fragments(command: bytes, context_id: int, max_length: int) -> Iterator[bytes]:
    """Yield the P-DATA-TF PDUs that carry a command set.

    Parameters
    ----------
    command
        The encoded command set.
    context_id
        Its presentation context.
    max_length
        The longest PDU that the peer takes (PS3.8 D.1), its header not counted; 0: any.

    References
    ----------
    PS3.8 9.3.5, P-DATA-TF; PS3.8 E.2, message control header (0x01: command, 0x03: its last part).
    """
    size = max(max_length - 6, 2) if max_length else len(command)
    for start in range(0, len(command), size):
        part = command[start : start + size]
        control = 0x03 if start + size >= len(command) else 0x01
        length = len(part) + 2
        yield _PDATA.pack(0x04, 0, length + 4, length, context_id, control) + part
