"""Headers that cost more than a header may, and bytes that are no DICOM at all.

References
----------
PS3.8 9.3: the PDUs that are written here by hand, for no library sends such things. PS3.7 E.1: the
command set. PS3.5 7.1: the elements.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from pydicom.uid import generate_uid

from hipnode.services.torture.peers import AE_TITLE, HOST, echo_s
from hipnode.services.torture.site import Site
from hipnode.services.torture.table import Row

_CR: Final = b"1.2.840.10008.5.1.4.1.1.1"
_PLAIN: Final = b"1.2.840.10008.1.2.1"
_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_ANSWER_S: Final = 30.0
"""Within this a sender has an answer, or is cut off."""
_ECHO_S: Final = 5.0
"""Within this another sender's C-ECHO is answered meanwhile, on a machine that is busy."""
_PIECE: Final = 120_000
_MIB: Final = 1 << 20
Pieces = Iterable[bytes]


def hostile(site: Site, chance: random.Random) -> Row:
    """Send each bomb, then noise; the listener answers or hangs up, and others notice nothing."""
    pid = site.pid("listen")
    before = _rss_mib(pid)
    held, worst_echo_s, peak, told = 0, 0.0, before, []
    sent: list[tuple[str, Callable[[], bool]]] = [
        (name, lambda s=syntax, m=make: _store(site.port, s, m()))  # type: ignore[misc]
        for name, syntax, make in BOMBS
    ]
    sent += [("noise", lambda: _noise(site.port, chance))]
    for name, attack in sent:
        with _Watch(site.port, pid) as watch:
            answered = attack()
        worst_echo_s, peak = max(worst_echo_s, watch.echo_s), max(peak, watch.peak_mib)
        if answered and watch.echo_s < _ECHO_S:
            held += 1
        else:
            told.append(name)
    alive = site.pid("listen") == pid and not site.tend()
    words = f"another's echo at most {worst_echo_s:.1f} s; listener {before} to {peak} MiB"
    words += f"; not: {', '.join(told)}" if told else ""
    return Row("bombs and hostile headers", len(sent), held if alive else 0, words=words)


class _Watch:
    """Echoes and looks at the listener's memory meanwhile."""

    def __init__(self, port: int, pid: int) -> None:
        self.echo_s = 0.0
        self.peak_mib = 0
        self._port, self._pid = port, pid
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._echo), threading.Thread(target=self._look)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _echo(self) -> None:
        while not self._over.is_set():
            self.echo_s = max(self.echo_s, echo_s(self._port))
            self._over.wait(0.1)

    def _look(self) -> None:
        while not self._over.is_set():
            self.peak_mib = max(self.peak_mib, _rss_mib(self._pid))
            self._over.wait(0.1)


def _rss_mib(pid: int) -> int:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text("ascii", errors="replace").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) // 1024
    return 0


# --- by hand --------------------------------------------------------------------------------------


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def _request(syntax: bytes) -> bytes:
    """Return an A-ASSOCIATE-RQ PDU with one presentation context, whose ID is 1."""
    context = b"\1\0\0\0" + _item(0x30, _CR) + _item(0x40, syntax)
    user = _item(0x51, struct.pack(">I", 131_072)) + _item(0x52, b"1.2.3")
    items = _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, context) + _item(0x50, user)
    called, calling = AE_TITLE.encode().ljust(16), b"BOMBER".ljust(16)
    content = b"\0\1\0\0" + called + calling + bytes(32) + items
    return struct.pack(">BBI", 1, 0, len(content)) + content


def _command(uid: bytes) -> bytes:
    def even(text: bytes) -> bytes:
        return text + b"\0" * (len(text) % 2)

    elements = b"".join(
        struct.pack("<HHI", 0, tag, len(value)) + value
        for tag, value in (
            (0x0002, even(_CR)),
            (0x0100, b"\1\0"),
            (0x0110, b"\1\0"),
            (0x0700, b"\2\0"),
            (0x0800, b"\0\0"),
            (0x1000, even(uid)),
        )
    )
    return struct.pack("<HHII", 0, 0, 4, len(elements)) + elements


def _pdu(content: bytes, control: int) -> bytes:
    return struct.pack(">BBIIBB", 4, 0, len(content) + 6, len(content) + 2, 1, control) + content


def _store(port: int, syntax: bytes, pieces: Pieces) -> bool:
    """Send an object piece by piece; tell whether an answer, or the end, came in time."""
    with socket.create_connection((HOST, port), timeout=_ANSWER_S) as sock:
        try:
            sock.sendall(_request(syntax))
            if sock.recv(65_536)[:1] != b"\2":
                return True  # it is not even let in
            sock.sendall(_pdu(_command(generate_uid().encode()), 3))
            for piece in pieces:
                for start in range(0, len(piece), _PIECE):
                    sock.sendall(_pdu(piece[start : start + _PIECE], 0))
            sock.sendall(_pdu(b"", 2))
            sock.recv(65_536)
        except TimeoutError:
            return False
        except OSError:
            return True  # it hung up
    return True


def _noise(port: int, chance: random.Random) -> bool:
    """Open connections and say what is no PDU, or half of one; tell whether each was ended."""
    beginnings = (b"", b"\1\0\xff\xff\xff\xff", b"\4\0\0\0\0\0", _request(_PLAIN)[:40], b"GET / ")
    socks = []
    for number in range(20):
        sock = socket.create_connection((HOST, port), timeout=_ANSWER_S)
        with suppress(OSError):
            sock.sendall(beginnings[number % len(beginnings)] + chance.randbytes(number * 7))
        socks.append(sock)
    ended = 0
    until_s = time.monotonic() + _ANSWER_S
    for sock in socks:
        with suppress(TimeoutError), sock:
            sock.settimeout(max(0.1, until_s - time.monotonic()))
            try:
                while sock.recv(65_536):
                    pass
            except ConnectionError:
                pass
            ended += 1
    return ended == len(socks)


# --- bombs ----------------------------------------------------------------------------------------


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    if vr in (b"OB", b"SQ"):
        return struct.pack("<HH2sHI", group, element, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value


def _head() -> bytes:
    uid = generate_uid().encode()
    return _element(8, 0x16, b"UI", _CR) + _element(8, 0x18, b"UI", uid)


def _tail() -> bytes:
    return _element(0x10, 0x20, b"LO", b"P1") + _element(0x20, 0xD, b"UI", generate_uid().encode())


def _empty_elements() -> Iterator[bytes]:
    yield _head()
    for group in range(9, 9 + 2 * 16, 2):
        yield b"".join(
            struct.pack("<HH2sH", group, 0x1000 + number, b"LO", 0) for number in range(60_000)
        )
    yield _tail()


def _empty_items() -> Iterator[bytes]:
    yield _head()
    yield _element(8, 0x1140, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, 0) * (2 * _MIB))
    yield _tail()


def _nested() -> Iterator[bytes]:
    yield _head()
    inner = b""
    for _ in range(5_000):
        inner = _element(8, 0x1140, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner)
    yield inner + _tail()


def _large_value() -> Iterator[bytes]:
    yield _head() + struct.pack("<HH2sHI", 9, 0x1010, b"OB", 0, 256 * _MIB)
    for _ in range(256):
        yield bytes(_MIB)
    yield _tail()


def _many_values() -> Iterator[bytes]:
    yield _head() + _element(0x20, 0x20, b"CS", b"\\" * 65_534) + _tail()


def _deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def _deflated_items() -> Iterator[bytes]:
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * (2 * _MIB)
    yield _deflated(_head() + _element(8, 0x1140, b"SQ", items) + _tail())


def _deflated_noise() -> Iterator[bytes]:
    yield _deflated(_head() + _tail())[:-2]
    for _ in range(128):
        yield os.urandom(_MIB)


BOMBS: Final[tuple[tuple[str, bytes, Callable[[], Iterator[bytes]]], ...]] = (
    ("8 MB of empty private elements", _PLAIN, _empty_elements),
    ("16 MB of empty items", _PLAIN, _empty_items),
    ("5,000 sequences in each other", _PLAIN, _nested),
    ("a private value of 256 MB", _PLAIN, _large_value),
    ("30,000 values", _PLAIN, _many_values),
    ("16 MB of items deflated to 16 KB", _DEFLATED, _deflated_items),
    ("128 MB of noise as deflated", _DEFLATED, _deflated_noise),
)
