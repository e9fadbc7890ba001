"""Odd requests for an association: what dcmtk and Orthanc accept, the node accepts; nothing silent.

Each request is written byte by byte and sent to all three; then a C-ECHO goes through it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from hipnode.domain import AuditEvent, Outcome
from hipnode.services.listener.tolerant import NotUnderstood, understood
from tests.archive import Orthanc
from tests.conftest import StoreSCP
from tests.peers import eventually
from tests.protocol.conftest import Service
from tests.protocol.objects import DX, encoded, radiograph
from tests.protocol.wire import VERIFICATION, Wire, fragmented, p_data, pdv, store_rq

Make = Callable[..., Service]


class Peer(Protocol):
    """Whoever listens."""

    ae_title: str
    port: int


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def element(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, tag, len(value)) + value


def echo_rq() -> bytes:
    """Return the command set of a C-ECHO-RQ (PS3.7 9.3.5.1)."""
    body = element(2, VERIFICATION.encode() + b"\0") + element(0x100, b"\x30\0")
    body += element(0x110, b"\1\0") + element(0x800, b"\1\1")
    return element(0, struct.pack("<I", len(body))) + body


@dataclass(frozen=True)
class Odd:
    """A request, its parts as they are sent."""

    called: bytes = b""
    calling: bytes = b"ODD"
    pad: bytes = b" "
    version: int = 1
    context: int = 1
    abstract: bytes = VERIFICATION.encode()
    transfer: bytes = b"1.2.840.10008.1.2"
    in_context: bytes = b""
    class_uid: bytes = b"1.2.3.4"
    user: bytes = b""
    top: bytes = b""

    def to(self, ae_title: str) -> bytes:
        """Return the PDU."""
        titles = [
            t.ljust(16, self.pad)[:16] for t in (self.called or ae_title.encode(), self.calling)
        ]
        body = struct.pack(">HH", self.version, 0) + b"".join(titles) + bytes(32)
        body += item(0x10, b"1.2.840.10008.3.1.1.1")
        syntaxes = item(0x30, self.abstract) + item(0x40, self.transfer) + self.in_context
        body += item(0x20, bytes([self.context, 0, 0, 0]) + syntaxes)
        basic = item(0x51, struct.pack(">I", 16384)) + item(0x52, self.class_uid)
        body += item(0x50, basic + self.user) + self.top
        return struct.pack(">BxI", 1, len(body)) + body


ACCEPTED = {
    "plain": Odd(),
    "AE titles padded with NUL": Odd(pad=b"\0"),
    "protocol version 3": Odd(version=3),
    "protocol version with all bits": Odd(version=0xFFFF),
    "calling AE title with an umlaut": Odd(calling="KRÖN".encode("latin-1")),
    "calling AE title in UTF-8": Odd(calling="KRÖN".encode()),
    "calling AE title with a backslash": Odd(calling=b"A\\B"),
    "calling AE title with a control character": Odd(calling=b"A\tB"),
    "calling AE title after spaces": Odd(calling=b"   ODD"),
    "long implementation version name": Odd(user=item(0x55, b"A_VERSION_NAME_LONGER_THAN_16")),
    "version name in Latin-1": Odd(user=item(0x55, "GERÄT_1".encode("latin-1"))),
    "version name with NUL": Odd(user=item(0x55, b"V1\0\0")),
    "unknown user information item": Odd(user=item(0x99, b"abc")),
    "several unknown items": Odd(user=item(0x5F, b"") + item(0xFF, b"\0" * 300)),
    "even context ID": Odd(context=2),
    "even context ID 254": Odd(context=254),
    "UIDs padded with NUL": Odd(abstract=VERIFICATION.encode() + b"\0"),
    "UIDs padded with a space": Odd(transfer=b"1.2.840.10008.1.2 "),
}
LENIENT = {
    "no AE title of the caller": Odd(calling=b""),
    "an empty version name": Odd(user=item(0x55, b"")),
    "a class UID that is none": Odd(class_uid=b"not a UID"),
    "an unknown item at the top": Odd(top=item(0x77, b"abc")),
    "an unknown item in a context": Odd(in_context=item(0x44, b"abc")),
    "a transfer syntax that is none": Odd(in_context=item(0x40, b"nonsense")),
    "an asynchronous window of three bytes": Odd(user=item(0x53, b"\0\1\0")),
    "a role without roles": Odd(user=item(0x54, b"\0\x05" + b"1.2.3")),
    "user identity cut short": Odd(user=item(0x58, b"\1\0\0\x20abc")),
    "user information that overruns": Odd(user=struct.pack(">BxH", 0x99, 500) + b"abc"),
    "bytes after the last item": Odd(top=b"\0\0"),
}
"""Not every archive takes these; the node does."""


def outcome(peer: Peer, odd: Odd) -> str:
    """Return what becomes of a request and of a C-ECHO through it."""
    with Wire(peer.port) as wire:
        wire.send(odd.to(peer.ae_title))
        try:
            kind, body = wire.pdu()
        except ConnectionError:
            return "closed"
        if kind != 2:
            return {3: "rejected", 7: "aborted"}[kind]
        answered = body[body.index(b"\x21\0", 68) + 4]
        assert answered == odd.context
        wire.send(p_data(pdv(odd.context, 3, echo_rq())))
        kind, body = wire.pdu()
        if kind != 4:
            return "accepted, and no use"
        assert body[4] == odd.context
        wire.release()
        return "accepted"


def test_what_dcmtk_and_orthanc_accept_the_node_accepts(
    service: Make, storescp: Callable[..., StoreSCP], orthanc: Orthanc
) -> None:
    node, dcmtk = service().listen(), storescp()
    table = {
        name: (outcome(dcmtk, odd), outcome(orthanc, odd), outcome(node, odd))
        for name, odd in ACCEPTED.items()
    }
    assert {name: row[2] for name, row in table.items()} == dict.fromkeys(ACCEPTED, "accepted")
    ours = [name for name, row in table.items() if row[:2] != ("accepted", "accepted")]
    assert set(ours) <= {"UIDs padded with a space"}, table
    mended = [
        row.record.detail.get("mended") for row in node.audited(AuditEvent.ASSOCIATION_ACCEPTED)
    ]
    assert ["presentation context ID 2 is even"] in mended
    assert mended.count(None) >= 1


@pytest.mark.parametrize("what", LENIENT)
def test_what_is_needless_is_passed_over(what: str) -> None:
    asked = understood(LENIENT[what].to("HIPNODE"))
    assert asked.notes
    assert understood(asked.pdu).pdu == asked.pdu


def test_needless_things_are_accepted_on_the_wire(service: Make) -> None:
    node = service().listen()
    found = {name: outcome(node, odd) for name, odd in LENIENT.items()}
    assert found == dict.fromkeys(LENIENT, "accepted")


@pytest.mark.parametrize("context", [2, 4, 0, 254])
def test_an_image_through_an_even_context(service: Make, context: int) -> None:
    node = service().listen()
    odd = Odd(context=context, abstract=DX.encode(), transfer=ExplicitVRLittleEndian.encode())
    ds = radiograph()
    with Wire(node.port) as wire:
        wire.send(odd.to("HIPNODE"))
        assert wire.pdu()[0] == 2
        for part in fragmented(context, True, store_rq(DX, ds.SOPInstanceUID), ()):
            wire.send(p_data(part))
        for part in fragmented(context, False, encoded(ds), (1000,)):
            wire.send(p_data(part))
        assert wire.status() == 0
        wire.release()
    assert node.audited(AuditEvent.INSTANCE_STORED)


def test_a_caller_s_title_is_compared_as_it_came(service: Make) -> None:
    callers = {"accept_any_caller": False, "callers": [{"ae_title": "ODD"}]}
    node = service(listener={"port": 0, **callers}).listen()
    assert outcome(node, Odd(pad=b"\0")) == "accepted"
    assert outcome(node, Odd(calling="ÖDD".encode("latin-1"))) == "rejected"
    (row,) = eventually(lambda: node.audited(AuditEvent.ASSOCIATION_REFUSED))
    assert row.record.ae_title == "ÖDD"


HTTP = b"GET / HTTP/1.1\r\nHost: hipnode\r\n\r\n"
REFUSED = {
    "protocol version 2": (Odd(version=2).to("HIPNODE"), 3, (1, 2, 2)),
    "no protocol version": (Odd(version=0).to("HIPNODE"), 3, (1, 2, 2)),
    "an item that overruns": (Odd(top=struct.pack(">BxH", 0x20, 900)).to("HIPNODE"), 7, (0, 2, 6)),
    "cut short": (b"\x01\0\0\0\0\x0a" + bytes(10), 7, (0, 2, 6)),
    "a browser": (HTTP, 7, (0, 2, 1)),
    "a data set first": (p_data(pdv(1, 3, b"x" * 20)), 7, (0, 2, 2)),
    "a release first": (b"\x05\0\0\0\0\x04\0\0\0\0", 7, (0, 2, 2)),
    "a request of two megabytes": (b"\x01\0\0\x20\0\0" + bytes(1000), 7, (0, 2, 6)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_is_answered_and_noted(service: Make, what: str) -> None:
    sent, kind, reason = REFUSED[what]
    node = service().listen()
    with Wire(node.port) as wire:
        wire.send(sent)
        answer, body = wire.pdu()
        assert (answer, tuple(body[1:])) == (kind, reason)
        assert wire.closed()
    (row,) = eventually(lambda: node.audited(AuditEvent.ASSOCIATION_REFUSED))
    assert row.record.outcome is Outcome.REFUSED
    assert row.record.detail["address"] == "127.0.0.1"
    assert row.record.detail["cause"]
    assert row.record.detail["received"].startswith(sent[:60].hex())
    assert outcome(node, Odd()) == "accepted"


def test_two_titles_and_nothing_else_is_no_request() -> None:
    with pytest.raises(NotUnderstood):
        understood(replace(Odd(), version=2).to("HIPNODE"))
    with pytest.raises(NotUnderstood, match="fixed fields"):
        understood(b"\x01\0\0\0\0\x10" + bytes(16))
