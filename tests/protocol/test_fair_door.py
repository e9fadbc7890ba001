"""A fair door: nobody has all of it, half a hello counts, certificates are renewed in passing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from hipnode.domain import AuditEvent
from hipnode.services.life.look import look
from tests.node import Node
from tests.peers import eventually
from tests.protocol.conftest import Service
from tests.protocol.test_tls import Papers, issue
from tests.protocol.wire import RELEASE_RQ, Wire, associate_rq

Make = Callable[..., Service]
LIMIT_EXCEEDED = (2, 3, 2)


class From(Wire):
    """A connection from an address of one's own, in TLS where there is a context."""

    def __init__(self, address: str, port: int, context: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", port), 20, source_address=(address, 0))
        self.socket = context.wrap_socket(plain) if context else plain


def client(papers: Papers) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=papers.ca)
    context.check_hostname = False
    context.load_cert_chain(papers.certificate, papers.key)
    return context


def serial(wire: Wire) -> bytes:
    """Return the certificate that the node shows."""
    assert isinstance(wire.socket, ssl.SSLSocket)
    return wire.socket.getpeercert(binary_form=True) or b""


def refusal(wire: Wire, calling: str = "WIRE") -> tuple[int, ...]:
    wire.send(associate_rq(calling=calling))
    kind, body = wire.pdu()
    return tuple(body[1:]) if kind == 3 else ()


def test_neither_a_caller_nor_an_address_has_all_associations(service: Make) -> None:
    node = service(listener={"max_associations": 5, "max_associations_share": 0.6}).listen()
    held = [From("127.0.0.2", node.port) for _ in range(3)]
    for wire in held:
        assert refusal(wire, calling="ONE") == ()
    with From("127.0.0.3", node.port) as wire:
        assert refusal(wire, calling="ONE") == LIMIT_EXCEEDED, "the caller has its share"
    held.append(From("127.0.0.2", node.port))
    assert refusal(held[-1], calling="TWO") == (), "several callers may be behind an address"
    with From("127.0.0.2", node.port) as wire:
        assert refusal(wire, calling="TWO") == LIMIT_EXCEEDED, "the address has its share"
    with From("127.0.0.3", node.port) as wire:
        assert refusal(wire, calling="TWO") == ()

    def causes() -> list[str]:
        refused = node.audited(AuditEvent.ASSOCIATION_REFUSED)
        return [entry.record.detail["cause"] for entry in refused]

    told = ["too_many_associations_of_caller", "too_many_associations_of_address"]
    eventually(lambda: causes() == told)  # a refusal is sent before it is written down
    held[0].send(RELEASE_RQ)

    def accepted() -> bool:
        with From("127.0.0.2", node.port) as again:
            return refusal(again, calling="ONE") == ()

    eventually(accepted)
    for wire in held:
        wire.socket.close()


def test_hellos_that_drip_are_counted_and_ended(service: Make, tmp_path: Path) -> None:
    ca = trustme.CA()
    node_papers, peer_papers = issue(ca, tmp_path, "node"), issue(ca, tmp_path, "peer")
    node = service(
        listener={
            "tls": node_papers.settings(),
            "acse_timeout_s": 3,
            "max_associations": 4,
            "max_associations_share": 0.5,
        }
    ).listen()
    before = threading.active_count()
    drips = []
    for _ in range(100):
        sock = socket.create_connection(("127.0.0.1", node.port), 20)
        sock.sendall(b"\x16\x03\x01")
        drips.append(sock)
    eventually(lambda: threading.active_count() > before)
    assert threading.active_count() - before <= 12, "three quarters of 2 * 4 + 8 connections"
    with From("127.0.0.2", node.port, client(peer_papers)) as other:
        assert refusal(other) == ()
    for sock in drips:
        sock.settimeout(20)
        with contextlib.suppress(ConnectionError):
            assert sock.recv(1) == b""
        sock.close()

    def again() -> bool:
        with From("127.0.0.1", node.port, client(peer_papers)) as wire:
            return refusal(wire) == ()

    eventually(again)


def test_half_a_tls_record_does_not_hold_the_association(service: Make, tmp_path: Path) -> None:
    ca = trustme.CA()
    papers, peer_papers = issue(ca, tmp_path, "node"), issue(ca, tmp_path, "peer")
    node = service(listener={"tls": papers.settings(), "network_timeout_s": 2}).listen()
    with From("127.0.0.1", node.port, client(peer_papers)) as wire:
        wire.associate()
        os.write(wire.socket.fileno(), b"\x17\x03\x03\x40\x00" + b"half")  # 16 KiB to come
        assert wire.closed(), "within its time-out of 20 s, long before TCP would notice"


@pytest.mark.parametrize("told", [True, False], ids=["SIGHUP", "by itself"])
def test_a_renewed_certificate_is_taken_and_no_association_is_dropped(
    tmp_path: Path, told: bool
) -> None:
    ca = trustme.CA()
    papers, peer_papers = issue(ca, tmp_path, "node"), issue(ca, tmp_path, "peer")
    node = Node(tmp_path / "node", listener={"tls": papers.settings()})
    node.start("serve" if told else "listen")
    assert node.process
    pid = node.process.pid
    try:
        with From("127.0.0.1", node.port, client(peer_papers)) as held:
            held.associate()
            shown = serial(held)

            def renewed() -> bool:
                if told:
                    os.kill(pid, signal.SIGHUP)
                with From("127.0.0.1", node.port, client(peer_papers)) as wire:
                    return serial(wire) != shown

            whole = papers.certificate.read_bytes()
            papers.certificate.write_bytes(whole[: len(whole) // 2])
            eventually(lambda: _told_of(node, "certificate_not_taken", pid, told), timeout_s=30)
            assert not renewed(), "a broken one is not taken"
            issue(ca, tmp_path, "node")
            eventually(renewed, timeout_s=30, poll_s=0.5)
            held.release()
        assert "certificate_taken" in node.log
        assert node.stop() == 0
    finally:
        node.kill()


def _told_of(node: Node, event: str, pid: int, told: bool) -> bool:
    if told:
        os.kill(pid, signal.SIGHUP)
        time.sleep(0.5)
    return event in node.log


@pytest.mark.parametrize(
    ("days", "key", "words"),
    [
        (30, None, ""),
        (20, "certificate:listener.tls.certificate", "in 19 days"),
        (-1, "expired:listener.tls.certificate", "peers refuse us"),
    ],
)
def test_a_certificate_that_ends_is_a_warning_then_an_alarm(
    service: Make, tmp_path: Path, days: int, key: str | None, words: str
) -> None:
    papers = issue(trustme.CA(), tmp_path, "node")
    ends = trustme.CA().issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=days))
    papers.certificate.write_bytes(ends.cert_chain_pems[0].bytes())
    ends.private_key_pem.write_to_path(papers.key)
    node = service(listener={"tls": papers.settings()})
    found = {f["key"]: f["what"] for f in look(node.settings, node.store)["faults"]}
    named = {k: v for k, v in found.items() if "listener.tls.certificate" in k}
    assert list(named) == ([key] if key else [])
    assert words in "".join(named.values())
