"""A file on its way into the store."""

from __future__ import annotations

import os
from pathlib import Path

from hipnode.errors import StorageUnavailable


class IncomingFile:
    """A file that is being received or made. It has no lasting name until the store keeps it.

    Parameters
    ----------
    path
        Where it lies.
    made
        Whether somebody else has written it already.
    """

    def __init__(self, path: Path, *, made: bool = False) -> None:
        self.path = path
        self.size_bytes = 0
        new = 0 if made else os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(path, os.O_RDWR | new | os.O_CLOEXEC, 0o600)

    def fileno(self) -> int:
        """Return the descriptor: a fast path may write through it directly."""
        return self._descriptor

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append ``data``.

        Raises
        ------
        DiskFull, StorageUnavailable
            If it cannot be written.
        """
        view = memoryview(data)
        try:
            while view:
                written = os.write(self._descriptor, view)
                self.size_bytes += written
                view = view[written:]
        except OSError as error:
            raise StorageUnavailable.of(error) from error

    def sync(self) -> None:
        """Make the content durable."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise StorageUnavailable.of(error) from error

    def abort(self) -> None:
        """Forget the file."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the file to whoever takes it over."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
