"""One data set on its way to disk, as it arrives, undecoded and never whole in memory.

References
----------
PS3.10 7.1, preamble and File Meta Information. PS3.4 B.2.3, statuses of C-STORE.
"""

from __future__ import annotations

import ctypes
import os
import sys
from struct import Struct
from typing import Any, Final

from blake3 import blake3

from hipnode.codes import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from hipnode.services.listener.command import StoreRequest

_PREFIX: Final = bytes(128) + b"DICM"
_TAG: Final = Struct("<HH")
_SHORT: Final = Struct("<H")
_LONG: Final = Struct("<I")
_WRITE_BYTES: Final = 64 * 1024
"""Each write ends where the next of these begins in the file. Linux keeps a file in blocks of pages
that lie at multiples of their size: a write that straddles two costs nearly twice as much, and
blocks of 128 KiB and more cost a virtual machine five times as much."""
_MOST_PARTS: Final = 512
"""Of one write: the system allows 1,024."""
_WRITEBACK_BYTES: Final = 2 * 1024 * 1024
_SYNC_FILE_RANGE_WRITE: Final = 2


def file_meta(request: StoreRequest, transfer_syntax: str) -> bytes:
    """Return what precedes the data set in a file.

    It names neither time nor sender, so that the same object in the same transfer syntax makes
    the same file, whoever sends it.

    References
    ----------
    PS3.10 7.1 and Table 7.1-1: Explicit VR Little Endian, whatever the data set's encoding.
    """
    version = b"OB\0\0" + (2).to_bytes(4, "little") + b"\x00\x01"
    elements = _TAG.pack(0x0002, 0x0001) + version
    for element, vr, text in (
        (0x0002, b"UI", request.sop_class_uid),
        (0x0003, b"UI", request.sop_instance_uid),
        (0x0010, b"UI", transfer_syntax),
        (0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
        (0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
    ):
        value = text.encode("ascii")
        value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
        elements += _TAG.pack(0x0002, element) + vr + _SHORT.pack(len(value)) + value
    length = _TAG.pack(0x0002, 0x0000) + b"UL" + _SHORT.pack(4) + _LONG.pack(len(elements))
    return _PREFIX + length + elements


class Body:
    """The bytes of a file being received: written, counted and hashed piece by piece.

    Parameters
    ----------
    descriptor
        The open file to write to.
    head
        What goes before the data set.
    """

    def __init__(self, descriptor: int, head: bytes) -> None:
        self._descriptor = descriptor
        self._hash = blake3()
        self._started = 0  # bytes that the kernel has been told to write back
        self.size_bytes = 0
        self.write([memoryview(head)])

    @property
    def digest(self) -> str:
        """The BLAKE3 digest of what was written so far, as hexadecimal digits."""
        return self._hash.hexdigest()

    def write(self, pieces: list[memoryview]) -> None:
        """Append ``pieces``.

        Raises
        ------
        OSError
            If the disk does not take them.
        """
        parts: list[memoryview] = []
        room = _WRITE_BYTES - self.size_bytes % _WRITE_BYTES
        for piece in pieces:
            self._hash.update(piece)
            self.size_bytes += len(piece)
            rest = piece
            while rest:
                parts.append(rest[:room])
                rest = rest[room:]
                room -= len(parts[-1])
                if not room or len(parts) == _MOST_PARTS:
                    _write_all(self._descriptor, parts)
                    parts, room = [], room or _WRITE_BYTES
        _write_all(self._descriptor, parts)
        if self.size_bytes - self._started >= _WRITEBACK_BYTES:
            self.start_writeback()

    def start_writeback(self) -> None:
        """Have the kernel begin to write now what `fsync` would have to wait for at the end.

        Only a hint (sync_file_range(2)): it promises nothing, so its failure is of no consequence.
        """
        if _sync_file_range is not None:
            size = self.size_bytes - self._started
            _sync_file_range(self._descriptor, self._started, size, _SYNC_FILE_RANGE_WRITE)
        self._started = self.size_bytes


def _write_all(descriptor: int, parts: list[memoryview]) -> None:
    while parts:
        written = os.writev(descriptor, parts)
        while parts and written >= len(parts[0]):
            written -= len(parts.pop(0))
        if parts:
            parts[0] = parts[0][written:]


def _load_sync_file_range() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


_sync_file_range: Final = _load_sync_file_range()
