"""Bounded time, memory and disk for each association, whatever the peer does with it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hipnode.domain import AuditEvent
from tests.node import Node
from tests.peers import eventually, require, run
from tests.protocol.conftest import Service
from tests.protocol.objects import DX, encoded, radiograph, save
from tests.protocol.wire import RELEASE_RQ, Wire, p_data, pdv, store, store_rq

Make = Callable[..., Service]


def drip(wire: Wire, data: bytes, until: threading.Event) -> None:
    """Send byte after byte, never silent, until told to stop or cut off."""
    with contextlib.suppress(OSError):
        for byte in data:
            if until.wait(0.05):
                return
            wire.send(bytes([byte]))


@pytest.mark.parametrize("what", ["data set", "command", "release"])
def test_a_sender_that_is_never_silent_and_never_done_is_cut_off(service: Make, what: str) -> None:
    """Slowloris: each byte comes in time for the timeouts, the end never does."""
    node = service(listener={"dimse_timeout_s": 1, "min_bytes_per_s": 1000}).listen()
    ds = radiograph()
    with Wire(node.port, timeout_s=60) as wire:
        wire.associate()
        begun = p_data(pdv(1, 3, store_rq(DX, ds.SOPInstanceUID)))
        data = {
            "data set": begun + p_data(pdv(1, 2, encoded(ds))),
            "command": begun,
            "release": RELEASE_RQ[:4] + b"\0\0\x40\0" + bytes(10_000),
        }[what]
        head = len(begun) + 20 if what == "data set" else 8
        wire.send(data[:head])
        over = threading.Event()
        sender = threading.Thread(target=drip, args=(wire, data[head:] * 50, over))
        sender.start()
        assert wire.closed()
        over.set()
        sender.join()
    eventually(lambda: not node.files("incoming"))


def test_a_slow_line_is_not_a_slow_sender(service: Make) -> None:
    """What comes in pieces, but fast enough, comes in: longer than the timeout of silence."""
    node = service(listener={"dimse_timeout_s": 1, "min_bytes_per_s": 1000}).listen()
    ds = radiograph()
    data = encoded(ds)
    with Wire(node.port) as wire:
        wire.associate()
        wire.send(p_data(pdv(1, 3, store_rq(DX, ds.SOPInstanceUID))))
        for start in range(0, len(data), 500):
            last = 2 if start + 500 >= len(data) else 0
            wire.send(p_data(pdv(1, last, data[start : start + 500])))
            time.sleep(0.13)  # the line's own slowness: 3.8 kB/s, 1.7 s in all
        assert wire.status() == 0
        wire.release()


def test_an_object_without_an_end_is_aborted(service: Make) -> None:
    node = service(listener={"max_object_bytes": 100_000, "max_drained_bytes": 200_000}).listen()
    with Wire(node.port) as wire:
        wire.associate()
        wire.send(p_data(pdv(1, 3, store_rq(DX, "1.2.3"))))
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 50_000_000:
                wire.send(p_data(pdv(1, 0, bytes(16_000))))
                sent += 16_000
        assert sent < 50_000_000
    (refused,) = eventually(lambda: node.audited(AuditEvent.INSTANCE_REFUSED))
    assert refused.record.sop_instance_uid == "1.2.3"
    assert refused.record.detail["reason"] == "TooLarge"
    eventually(lambda: not node.files("incoming"))
    assert not node.files("images")


def test_a_flood_of_connections_is_closed_and_told_once(service: Make) -> None:
    node = service(listener={"max_connections_per_minute": 5}).listen()
    for _ in range(5):
        with Wire(node.port) as wire:
            wire.associate()
            wire.release()
    for _ in range(3):
        with Wire(node.port) as wire:
            assert wire.closed()
    (refused,) = eventually(lambda: node.audited(AuditEvent.ASSOCIATION_REFUSED))
    assert refused.record.detail["cause"] == "too_many_connections_per_minute"


def test_a_flood_of_objects_is_slowed_down_and_nothing_is_refused(service: Make) -> None:
    node = service(listener={"max_objects_per_minute": 60}, rules=[{"action": "discard"}]).listen()
    began = time.monotonic()
    with Wire(node.port) as wire:
        wire.associate()
        for _ in range(62):
            ds = radiograph(2, 2)
            assert store(wire, ds.SOPInstanceUID, encoded(ds)) == 0
        wire.release()
    # 60 are free and get another one a second; where the machine took longer than 2 s by itself,
    # there was nothing to slow down.
    assert time.monotonic() - began > 1


def test_a_thousand_half_open_associations_keep_nobody_out(tmp_path: Path) -> None:
    """From an address that callers have: they open, ask or say half a sentence, and wait."""
    node = Node(
        tmp_path / "node",
        listener={"acse_timeout_s": 2, "network_timeout_s": 2, "max_associations": 20},
    )
    node.start("listen")
    assert node.process
    pid = node.process.pid
    half: list[socket.socket] = []
    peak_kib = 0
    try:
        for number in range(1000):
            with contextlib.suppress(OSError):
                sock = socket.create_connection(("127.0.0.1", node.port), timeout=20)
                half.append(sock)
                sock.sendall(
                    (b"", b"\x01\x00", b"\x01\x00\x00\x10\x00\x00" + bytes(90))[number % 3]
                )
            if number % 100 == 99:
                peak_kib = max(peak_kib, _status(pid, "VmRSS"))
                assert _status(pid, "Threads") < 2 * (2 * 20 + 8) + 40
        image = save(radiograph(), tmp_path / "dx.dcm")
        eventually(lambda: _sent(node, image), timeout_s=120, what="a caller gets through")
        assert peak_kib < 1024 * 1024
    finally:
        for sock in half:
            sock.close()
        node.kill()


def _sent(node: Node, image: Path) -> bool:
    command = [require("storescu", "dcmtk"), "-aec", node.ae_title, node.host, str(node.port)]
    return run([*command, image], check=False).returncode == 0


def _status(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))
