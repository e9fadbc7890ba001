"""The audit log's key: one file outside the database, from which all that signs the log derives."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from hipnode.errors import StorageUnavailable
from hipnode.storage.files.disk import replace_durably


@dataclass(frozen=True)
class Keys:
    """What is derived from the file's content; ``name`` tells keys apart and may be shown."""

    master: bytes = field(repr=False)

    @property
    def rows(self) -> bytes:
        """What rows are hashed with."""
        return hmac.digest(self.master, b"hipnode audit rows", "sha256")

    @property
    def heads(self) -> bytes:
        """The seed of the Ed25519 key that heads are signed with."""
        return hmac.digest(self.master, b"hipnode audit heads", "sha256")

    @property
    def name(self) -> str:
        """16 hexadecimal digits."""
        return hmac.digest(self.master, b"hipnode audit name", "sha256").hex()[:16]

    def sign(self, content: str) -> str:
        """Return the HMAC of a seal or an epoch."""
        return hmac.new(self.master, content.encode(), hashlib.sha256).hexdigest()

    def is_signed(self, content: str, signature: str) -> bool:
        """Tell whether a signature is this key's."""
        return hmac.compare_digest(signature, self.sign(content))


def read(path: Path) -> Keys | None:
    """Return the key in a file, or None if there is no such file.

    Raises
    ------
    StorageUnavailable
        If it cannot be read, or is empty.
    """
    try:
        content = path.read_bytes().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be read: {error.strerror}.") from error
    if not content:
        raise StorageUnavailable(f"{path} is empty: the audit log has no key.")
    return Keys(content)


def make(path: Path) -> Keys:
    """Return the key in a file, which is made if need be; of several processes, one makes it.

    Raises
    ------
    StorageUnavailable
        If it can be neither read nor made.
    """
    if found := read(path):
        return found
    temporary = path.with_name(f".{secrets.token_hex(8)}.key")
    try:
        replace_durably(temporary, secrets.token_hex(32).encode())
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass  # another process was faster: its key counts
        finally:
            temporary.unlink()
        return Keys(path.read_bytes().strip())
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be made: {error.strerror}.") from error
