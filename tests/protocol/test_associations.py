"""Who may associate, and what ends an association."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from hipnode.domain import AuditEvent, Outcome
from tests.peers import eventually, require, run
from tests.protocol.conftest import Service
from tests.protocol.objects import DX
from tests.protocol.wire import (
    VERIFICATION,
    Wire,
    associate_rq,
    p_data,
    pdv,
    store_rq,
)

Make = Callable[..., Service]


# --- associations -----------------------------------------------------------------------------


def test_echo(service: Make) -> None:
    node = service().listen()
    run([require("echoscu", "dcmtk"), "-aec", "HIPNODE", node.host, str(node.port)])
    assert [e.record.ae_title for e in node.audited(AuditEvent.ECHO_ANSWERED)] == ["ECHOSCU"]


@pytest.mark.parametrize(
    ("listener", "options", "reason"),
    [
        ({}, ["-aec", "OTHER"], "Called AE Title Not Recognized"),
        ({"accept_any_caller": False}, [], "Calling AE Title Not Recognized"),
        (
            {
                "accept_any_caller": False,
                "callers": [{"ae_title": "ECHOSCU", "addresses": ["10.0.0.1"]}],
            },
            [],
            "Calling AE Title Not Recognized",
        ),
    ],
)
def test_refusals_give_the_reason_of_the_standard(
    service: Make, listener: dict[str, object], options: list[str], reason: str
) -> None:
    node = service(listener={"port": 0, "accept_any_caller": True, **listener}).listen()
    done = run(
        [require("echoscu", "dcmtk"), "-aec", "HIPNODE", *options, node.host, str(node.port)],
        check=False,
    )
    assert done.returncode
    assert reason in done.stdout + done.stderr
    refused = eventually(lambda: node.audited(AuditEvent.ASSOCIATION_REFUSED))
    assert refused[0].record.outcome is Outcome.REFUSED


def test_too_many_associations_are_refused_for_now(service: Make) -> None:
    node = service(listener={"max_associations": 2}).listen()
    with Wire(node.port) as first, Wire(node.port) as second:
        first.associate()
        second.associate()
        with Wire(node.port) as third:
            third.send(associate_rq())
            kind, body = third.pdu()
            assert (kind, tuple(body[1:])) == (3, (2, 3, 2))  # transient, local limit exceeded
        first.release()

        def accepted() -> bool:
            with Wire(node.port) as again:
                again.send(associate_rq())
                return again.pdu()[0] == 2

        eventually(accepted)


def test_wrong_application_context(service: Make) -> None:
    node = service().listen()
    with Wire(node.port) as wire:
        wire.send(associate_rq(application_context="1.2.840.10008.3.1.1.2"))
        kind, body = wire.pdu()
        assert (kind, tuple(body[1:])) == (3, (1, 1, 2))


def test_half_open_connections_do_not_keep_callers_out(service: Make) -> None:
    node = service(
        listener={
            "port": 0,
            "accept_any_caller": False,
            "callers": [{"ae_title": "WIRE", "addresses": ["127.0.0.1"]}],
            "max_associations": 4,
            "acse_timeout_s": 2,
        }
    ).listen()
    strangers = []
    for number in range(60):  # from an address that no caller has
        sock = socket.socket()
        sock.bind(("127.0.0.2", 0))
        sock.connect(("127.0.0.1", node.port))
        strangers.append(sock)
        if number % 20 == 19:
            with Wire(node.port) as wire:
                wire.associate()
                wire.release()
    assert threading.active_count() < 40
    for sock in strangers:
        sock.close()


def test_silence_ends_an_association(service: Make) -> None:
    node = service(
        listener={"acse_timeout_s": 1, "dimse_timeout_s": 1, "network_timeout_s": 2}
    ).listen()
    with Wire(node.port) as never_asks, Wire(node.port) as idle, Wire(node.port) as mid_message:
        idle.associate()
        mid_message.associate()
        mid_message.send(p_data(pdv(1, 3, store_rq(DX, "1.2.3"))))
        mid_message.send(p_data(pdv(1, 0, b"\x08\x00")))
        assert never_asks.closed()
        assert mid_message.closed()
        assert idle.closed()
    eventually(lambda: not node.files("incoming"))


BREACHES = {
    "data set without a command": p_data(pdv(1, 2, b"x" * 50)),
    "context that was not accepted": p_data(pdv(9, 3, store_rq(DX, "1.2.3"))),
    "PDV longer than its PDU": struct.pack(">BxIIBB", 4, 10, 400, 1, 3) + b"xxxx",
    "PDV without a header": struct.pack(">BxII", 4, 6, 0) + b"xx",
    "PDU without a PDV": struct.pack(">BxI", 4, 3) + b"xxx",
    "command that is noise": p_data(pdv(1, 3, b"\xff" * 64)),
    "command without end": p_data(*(pdv(1, 1, b"\0" * 16000) for _ in range(8))),
    "PDU of an unknown type": b"\x63\x00\x00\x00\x00\x04abcd",
    "another association request": associate_rq(),
    "a PDU of four gigabytes": b"\x05\x00\xff\xff\xff\xff" + b"x" * 2_000_000,
    "command in the middle of a data set": p_data(
        pdv(1, 3, store_rq(DX, "1.2.3")), pdv(1, 0, b"abcd"), pdv(1, 3, store_rq(DX, "1.2.4"))
    ),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_of_the_protocol_is_aborted(service: Make, breach: str) -> None:
    node = service().listen()
    with Wire(node.port) as wire:
        wire.associate()
        try:
            wire.send(BREACHES[breach])
            assert wire.pdu()[0] == 7  # A-ABORT
        except ConnectionError:
            pass  # it was closed before all of it was sent
        assert wire.closed()
    with Wire(node.port) as wire:
        wire.associate(contexts=[(VERIFICATION, [ExplicitVRLittleEndian])])
        wire.release()
    assert not node.files("incoming")
