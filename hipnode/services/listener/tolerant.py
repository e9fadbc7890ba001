"""What peers send to open an association, as a request that the library's decoder accepts.

Bytes in, bytes and notes out. Old and careless senders pad with NUL, write in Latin-1, name
themselves at length, number contexts evenly and send items that nobody knows; other archives take
all of that. What cannot be understood at all is refused with the answer that PS3.8 has for it.

References
----------
PS3.8 9.3.2 (A-ASSOCIATE-RQ), 9.3.3 (A-ASSOCIATE-AC), 9.3.4 (A-ASSOCIATE-RJ), 9.3.8 (A-ABORT);
PS3.7 D.3.3 (user information items).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Final

from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_items import (
    SOPClassCommonExtendedNegotiationSubItem,
    SOPClassExtendedNegotiationSubItem,
    UserIdentitySubItemRQ,
)

from hipnode.dicom import uids
from hipnode.dicom.values import PARSE_ERRORS
from hipnode.services.listener.admission import Rejection

ASSOCIATE_RQ: Final = 0x01
_ASSOCIATE_AC: Final = 0x02
_P_DATA_TF: Final = 0x04
_HEADER: Final = Struct(">BxI")
_ITEM: Final = Struct(">BxH")
_PDV: Final = Struct(">IB")
_VERSION: Final = Struct(">H")
_FIXED_BYTES: Final = 74  # PDU header, version, two AE titles, and what is reserved
_AE_TITLES: Final = slice(10, 42)

_APPLICATION, _CONTEXT, _CONTEXT_AC, _USER = 0x10, 0x20, 0x21, 0x50
_ABSTRACT, _TRANSFER = 0x30, 0x40
_MAX_LENGTH, _CLASS_UID, _WINDOW, _ROLE, _VERSION_NAME = 0x51, 0x52, 0x53, 0x54, 0x55
_DECODED_ALONE: Final = {
    0x56: SOPClassExtendedNegotiationSubItem,
    0x57: SOPClassCommonExtendedNegotiationSubItem,
    0x58: UserIdentitySubItemRQ,
}
_NO_CLASS: Final = "1.2.840.10008.0"
"""A UID of no SOP Class and no transfer syntax, for one that is none: its context is refused."""
_NAME_CHARS: Final = 16

ASSOCIATE_RJ: Final = 0x03
UNRECOGNISED, UNEXPECTED, INVALID_VALUE = 1, 2, 6


def abort(reason: int) -> bytes:
    """Return an A-ABORT of the service provider (source 2), PS3.8 Table 9-26.

    Parameters
    ----------
    reason
        `UNRECOGNISED` or `UNEXPECTED` PDU, or `INVALID_VALUE` of a PDU's parameter.
    """
    return bytes((7, 0, 0, 0, 0, 4, 0, 0, 2, reason))


def reject(rejection: Rejection) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 9.3.4).

    Parameters
    ----------
    rejection
        Result, source and reason.
    """
    return bytes((ASSOCIATE_RJ, 0, 0, 0, 0, 4, 0, *rejection.value))


class NotUnderstood(Exception):
    """The request is refused: ``answer`` is what the peer is sent, the message is why."""

    def __init__(self, why: str, answer: bytes) -> None:
        super().__init__(why)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it is decoded, and how it came.

    Attributes
    ----------
    pdu
        What the library decodes.
    calling_ae, called_ae
        The AE titles that the peer sent, as Latin-1, without their padding.
    notes
        What was mended.
    ours
        By the peer's context ID: the odd one that stands for it here.
    """

    pdu: bytes
    calling_ae: str
    called_ae: str
    notes: tuple[str, ...] = ()
    ours: Mapping[int, int] = field(default_factory=dict)
    titles: bytes = b""

    def outward(self, pdu: bytes) -> bytes:
        """Return a PDU of ours in the peer's own numbers, its AE titles returned as they came."""
        if pdu[:1] == bytes((_ASSOCIATE_AC,)):
            pdu = pdu[: _AE_TITLES.start] + self.titles + pdu[_AE_TITLES.stop :]
        if not self.ours or not pdu:
            return pdu
        theirs = {ours: peers for peers, ours in self.ours.items()}
        out = bytearray(pdu)
        for place in _places_of_ids(pdu):
            out[place] = theirs.get(out[place], out[place])
        return bytes(out)


def _places_of_ids(pdu: bytes) -> Iterator[int]:
    """Yield where context IDs stand in an A-ASSOCIATE-AC or a P-DATA-TF of ours."""
    if pdu[0] == _ASSOCIATE_AC:
        position = _FIXED_BYTES
        while position + _ITEM.size <= len(pdu):
            kind, length = _ITEM.unpack_from(pdu, position)
            position += _ITEM.size
            if kind == _CONTEXT_AC:
                yield position
            position += length
    elif pdu[0] == _P_DATA_TF:
        position = _HEADER.size
        while position + _PDV.size <= len(pdu):
            length, _ = _PDV.unpack_from(pdu, position)
            yield position + 4
            position += 4 + length


def understood(pdu: bytes) -> Asked:
    """Return the request that a received A-ASSOCIATE-RQ stands for.

    Parameters
    ----------
    pdu
        The whole PDU.

    Raises
    ------
    NotUnderstood
        If it is cut short, if its protocol version is another than 1 (of its bits, bit 0 alone is
        tested), or if what is left of it makes no request.
    """
    if len(pdu) < _FIXED_BYTES:
        raise NotUnderstood("shorter than its fixed fields", abort(INVALID_VALUE))
    if not _VERSION.unpack_from(pdu, 6)[0] & 1:
        answer = reject(Rejection.PROTOCOL_VERSION_NOT_SUPPORTED)
        raise NotUnderstood("a protocol version other than 1", answer)
    asked = _Rewriter(pdu).asked()
    decoded = A_ASSOCIATE_RQ()
    try:
        decoded.decode(asked.pdu)
        decoded.to_primitive()
    except PARSE_ERRORS as error:
        raise NotUnderstood(
            f"undecodable ({type(error).__name__})", abort(INVALID_VALUE)
        ) from error
    return asked


class _Rewriter:
    """One request under way."""

    def __init__(self, pdu: bytes) -> None:
        self._pdu = pdu
        self._notes: list[str] = []
        self._ours: dict[int, int] = {}
        items = list(self._items(pdu[_FIXED_BYTES:], strict=True))
        self._contexts = [body for kind, body in items if kind == _CONTEXT and len(body) >= 4]
        self._taken = {body[0] for body in self._contexts}
        self._others = [(kind, body) for kind, body in items if kind != _CONTEXT]

    def asked(self) -> Asked:
        """Return the request, written anew."""
        titles = self._pdu[_AE_TITLES]
        called, calling = self._title(titles[:16], "called"), self._title(titles[16:], "calling")
        found: dict[int, bytes] = {}
        for kind, body in self._others:
            if kind in (_APPLICATION, _USER) and kind not in found:
                found[kind] = body
            else:
                self._note(f"item 0x{kind:02X} passed over")
        name = _text(found.get(_APPLICATION, b""))
        items = _item(_APPLICATION, _uid_or_none(name))
        items += b"".join(map(self._context, self._contexts))
        items += _item(_USER, self._user(found.get(_USER, b"")))
        body = b"\0\x01\0\0" + _title_bytes(called) + _title_bytes(calling) + bytes(32) + items
        pdu = _HEADER.pack(ASSOCIATE_RQ, len(body)) + body
        return Asked(pdu, calling, called, tuple(self._notes), self._ours, titles)

    def _note(self, what: str) -> None:
        if what not in self._notes:
            self._notes.append(what)

    def _items(self, body: bytes, *, strict: bool) -> Iterator[tuple[int, bytes]]:
        position = 0
        while position < len(body):
            if len(body) - position < _ITEM.size:
                self._note("bytes after the last item passed over")
                return
            kind, length = _ITEM.unpack_from(body, position)
            position += _ITEM.size
            if length > len(body) - position:
                if strict:
                    why = f"item 0x{kind:02X} is longer than the PDU"
                    raise NotUnderstood(why, abort(INVALID_VALUE))
                self._note(f"item 0x{kind:02X} is longer than what holds it: passed over")
                return
            yield kind, body[position : position + length]
            position += length

    def _title(self, raw: bytes, whose: str) -> str:
        title = _text(raw)
        if b"\0" in raw:
            self._note(f"{whose} AE title padded with NUL")
        if not _is_plain(title):
            self._note(f"{whose} AE title is empty or not in ASCII")
        return title

    def _context(self, body: bytes) -> bytes:
        """Return a presentation context with UIDs that are some, under an odd ID."""
        number = body[0]
        if number % 2 == 0:
            self._note(f"presentation context ID {number} is even")
            if number not in self._ours:
                free = (n for n in range(255, 0, -2) if n not in self._taken)
                self._ours[number] = next(free, 0)
                self._taken.add(self._ours[number])
            number = self._ours[number]
            if not number:
                raise NotUnderstood("more presentation contexts than IDs", abort(INVALID_VALUE))
        abstract, transfers = _NO_CLASS, []
        for kind, value in self._items(body[4:], strict=False):
            uid = _uid_or_none(_text(value)).decode()
            if uid == _NO_CLASS:
                self._note(f"item 0x{kind:02X} of a presentation context is no UID")
            if kind == _ABSTRACT:
                abstract = uid
            elif kind == _TRANSFER:
                transfers.append(uid)
            else:
                self._note(f"item 0x{kind:02X} of a presentation context passed over")
        items = _item(_ABSTRACT, abstract.encode())
        items += b"".join(_item(_TRANSFER, uid.encode()) for uid in transfers or [_NO_CLASS])
        return _item(_CONTEXT, bytes((number, 0, 0, 0)) + items)

    def _user(self, body: bytes) -> bytes:
        """Return the user information, with what must be there and nothing that is not known."""
        found: dict[int, list[bytes]] = {}
        for kind, value in self._items(body, strict=False):
            mended = self._user_item(kind, value)
            if mended is None or (kind in found and kind < _ROLE):
                self._note(f"user information item 0x{kind:02X} passed over")
            else:
                found.setdefault(kind, []).append(_item(kind, mended))
        found.setdefault(_MAX_LENGTH, [_item(_MAX_LENGTH, bytes(4))])
        found.setdefault(_CLASS_UID, [_item(_CLASS_UID, _NO_CLASS.encode())])
        return b"".join(item for kind in sorted(found) for item in found[kind])

    def _user_item(self, kind: int, value: bytes) -> bytes | None:
        if kind in (_MAX_LENGTH, _WINDOW):
            return value if len(value) == 4 else None
        if kind == _CLASS_UID:
            uid = _text(value)
            return uid.encode() if uids.usable(uid) else None
        if kind == _VERSION_NAME:
            return self._version_name(value)
        if kind == _ROLE:
            length = int.from_bytes(value[:2], "big")
            uid = _text(value[2 : 2 + length])
            if len(value) != length + 4 or not uids.usable(uid) or set(value[-2:]) - {0, 1}:
                return None
            return len(uid).to_bytes(2, "big") + uid.encode() + value[-2:]
        return value if _decodes_alone(kind, value) else None

    def _version_name(self, value: bytes) -> bytes | None:
        name = _text(value)
        plain = "".join(c if " " <= c <= "~" and c != "\\" else "_" for c in name)[:_NAME_CHARS]
        if plain != name:
            self._note("implementation version name longer than 16 characters or not in ASCII")
        return plain.strip().encode() or None


def _decodes_alone(kind: int, value: bytes) -> bool:
    """Tell whether the library makes something of a user information item."""
    if kind not in _DECODED_ALONE:
        return False
    item: Any = _DECODED_ALONE[kind]()
    try:
        item.decode(_item(kind, value))
        item.to_primitive()
        again = item.encode()
    except PARSE_ERRORS:
        return False
    return bool(again == _item(kind, value))


def _item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value


def _text(raw: bytes) -> str:
    """Return text without its padding; Latin-1 takes any byte."""
    return raw.decode("latin-1").strip("\0 ")


def _is_plain(title: str) -> bool:
    return bool(title) and all(" " <= c <= "~" and c != "\\" for c in title)


def _title_bytes(title: str) -> bytes:
    """Return an AE title for the library, which takes ASCII alone; `Asked` has the peer's own."""
    plain = "".join(c if _is_plain(c) else "_" for c in title) or "_"
    return plain.encode("ascii").ljust(16)


def _uid_or_none(uid: str) -> bytes:
    return (uid if uids.usable(uid) else _NO_CLASS).encode()
