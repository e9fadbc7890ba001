"""Where the targets put what has to be a file: in memory, if there is such a place."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

_SHM: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@cache
def _made() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="hipnode-fuzz-", dir=_SHM)


def folder() -> Path:
    """Return a folder that goes with the process."""
    return Path(_made().name)


def written(data: bytes) -> Path:
    """Return a file with these bytes, the only one at a time."""
    path = folder() / "input"
    path.write_bytes(data)
    return path
