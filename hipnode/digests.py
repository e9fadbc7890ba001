"""Is a file still what it was? Compared before it is read, reported or sent on."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from blake3 import blake3

from hipnode.errors import ImageDamaged


def is_image(path: Path, digest: str) -> bool:
    """Tell whether an image's file has the digest of its row: BLAKE3; before schema 0004, SHA-256.

    Raises
    ------
    OSError
        If it cannot be read; `FileNotFoundError` if it is not there.
    """
    if hmac.compare_digest(blake3().update_mmap(path).hexdigest(), digest):
        return True
    return is_result(path, digest)


def is_result(path: Path, sha256: str) -> bool:
    """Tell whether a result's file has the SHA-256 of its row.

    Raises
    ------
    OSError
        If it cannot be read; `FileNotFoundError` if it is not there.
    """
    with path.open("rb") as file:
        return hmac.compare_digest(hashlib.file_digest(file, "sha256").hexdigest(), sha256)


def check_image(path: Path, digest: str) -> None:
    """Refuse to go on with an image whose file has been changed.

    Raises
    ------
    ImageDamaged
        If it has, or is gone.
    """
    try:
        intact = is_image(path, digest)
    except OSError as error:
        raise ImageDamaged("The stored image cannot be read any more.") from error
    if not intact:
        raise ImageDamaged
