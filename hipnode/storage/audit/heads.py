"""Heads of the audit log: what is known outside of it, and what it must go on from.

A head is a checkpoint as other transparency logs have it (C2SP tlog-checkpoint: an origin, a size,
a root, further lines) in a signed note (C2SP signed-note, Ed25519). The origin names the key and
the epoch. Where only one line fits, for syslog and logs, the same is said in one.

References
----------
C2SP tlog-checkpoint and signed-note; RFC 6962 2.1; RFC 8032 (Ed25519).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from hipnode.storage.audit.keys import Keys

LINE: Final = "hipnode-audit-head"
"""How the one-line form begins."""
_DASH: Final = "\N{EM DASH}"
_ORIGIN: Final = r"hipnode-audit/[0-9a-f]{16}/\d+"
_NOTE: Final = re.compile(
    rf"^({_ORIGIN})\n(\d+)\n(\S+)\nrows to (\d+)\n\n{_DASH} \1 (\S+)$", re.MULTILINE
)
_ONE_LINE: Final = re.compile(rf"{LINE} ({_ORIGIN}) (\d+) ([\w+/=]+) (\d+) ([\w+/=]+)")
_ED25519: Final = b"\1"


@dataclass(frozen=True, slots=True)
class Head:
    """The state of the log at one moment: its first ``size`` entries have this root."""

    key_name: str
    epoch: int
    size: int
    root: bytes
    last_row: int  # the highest number of a row in it
    signature: str = ""

    @property
    def origin(self) -> str:
        """Which log it is of."""
        return f"hipnode-audit/{self.key_name}/{self.epoch}"

    @property
    def text(self) -> str:
        """What is signed."""
        root = base64.b64encode(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}\nrows to {self.last_row}\n"

    def note(self) -> str:
        """Return it as a signed note."""
        return f"{self.text}\n{_DASH} {self.origin} {self.signature}\n"

    def line(self) -> str:
        """Return it as one line."""
        root = base64.b64encode(self.root).decode()
        return f"{LINE} {self.origin} {self.size} {root} {self.last_row} {self.signature}"

    def __str__(self) -> str:
        return f"the head of epoch {self.epoch} with {self.size} entries, up to row {self.last_row}"


def signed(keys: Keys, epoch: int, size: int, root: bytes, last_row: int) -> Head:
    """Return a head signed with the log's key."""
    head = Head(keys.name, epoch, size, root, last_row)
    signature = _private(keys).sign(head.text.encode())
    encoded = base64.b64encode(_key_hash(keys, head.origin) + signature).decode()
    return Head(keys.name, epoch, size, root, last_row, encoded)


def is_signed(head: Head, keys: Keys) -> bool:
    """Tell whether the log's key has signed a head."""
    try:
        content = base64.b64decode(head.signature, validate=True)
    except (ValueError, binascii.Error):
        return False
    # Ed25519 signatures are deterministic (RFC 8032 5.1.6).
    mine = signed(keys, head.epoch, head.size, head.root, head.last_row)
    return head.key_name == keys.name and content == base64.b64decode(mine.signature)


def verifier(keys: Keys, epoch: int) -> str:
    """Return the public key as other tools take it (a signed note's verifier key)."""
    origin = Head(keys.name, epoch, 0, b"", 0).origin
    public = base64.b64encode(_ED25519 + _public(keys)).decode()
    return f"{origin}+{_key_hash(keys, origin).hex()}+{public}"


def statement(keys: Keys, text: str) -> str:
    """Return any other text as a signed note; its name can be that of no head."""
    signature = _private(keys).sign(text.encode())
    name = _statement_name(keys)
    encoded = base64.b64encode(_key_hash(keys, name) + signature).decode()
    return f"{text}\n{_DASH} {name} {encoded}\n"


def statement_verifier(keys: Keys) -> str:
    """Return the public key of `statement` as other tools take it."""
    name = _statement_name(keys)
    public = base64.b64encode(_ED25519 + _public(keys)).decode()
    return f"{name}+{_key_hash(keys, name).hex()}+{public}"


def _statement_name(keys: Keys) -> str:
    return f"hipnode-statement/{keys.name}"


def parse(text: str) -> list[Head]:
    """Return every head in a text: notes, one after the other, or lines among others."""
    found = [_head(*match.groups()) for match in _NOTE.finditer(text)]
    found += [_head(*match.groups()) for match in _ONE_LINE.finditer(text)]
    return [head for head in found if head is not None]


def _head(origin: str, size: str, root: str, last_row: str, signature: str) -> Head | None:
    _, key_name, epoch = origin.split("/")
    try:
        decoded = base64.b64decode(root, validate=True)
    except (ValueError, binascii.Error):
        return None
    return Head(key_name, int(epoch), int(size), decoded, int(last_row), signature)


def _private(keys: Keys) -> Any:
    """Return the signing key; the library comes only where heads are made."""
    library = import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
    return library.Ed25519PrivateKey.from_private_bytes(keys.heads)


def _public(keys: Keys) -> bytes:
    public: bytes = _private(keys).public_key().public_bytes_raw()
    return public


def _key_hash(keys: Keys, origin: str) -> bytes:
    return hashlib.sha256(origin.encode() + b"\n" + _ED25519 + _public(keys)).digest()[:4]
