"""Passwords of local accounts: argon2id, as RFC 9106 recommends second (64 MiB, three passes).

References
----------
RFC 9106 4, Parameter Choice.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from argon2 import PasswordHasher, profiles
from argon2.exceptions import InvalidHashError, VerificationError

from hipnode.errors import HipnodeError

SHORTEST: Final = 12
LONGEST: Final = 256
_HASHER: Final = PasswordHasher.from_parameters(profiles.RFC_9106_LOW_MEMORY)
_AT_ONCE: Final = threading.BoundedSemaphore(2)
"""Each takes 64 MiB: no crowd of strangers may take all there is."""
_PATIENCE_S: Final = 5.0


class TooManyAtOnce(HipnodeError):
    """Too many people sign in at this moment."""

    retryable = True


@contextmanager
def _turn() -> Iterator[None]:
    if not _AT_ONCE.acquire(timeout=_PATIENCE_S):
        raise TooManyAtOnce
    try:
        yield
    finally:
        _AT_ONCE.release()


def hashed(password: str) -> str:
    """Return what is kept of a password."""
    with _turn():
        return _HASHER.hash(password)


def is_right(password: str, kept: str | None) -> bool:
    """Tell whether a password is the one; it takes as long where there is no such account."""
    with _turn():
        try:
            return _HASHER.verify(kept or _nobodys(), password[:LONGEST]) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


@cache
def _nobodys() -> str:
    return _HASHER.hash(secrets.token_hex(16))


def one_time() -> str:
    """Return a password to be used once: 80 random bits, in letters that nobody confuses."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    groups = ("".join(secrets.choice(letters) for _ in range(4)) for _ in range(5))
    return "-".join(groups)


def why_not(password: str, name: str) -> str:
    """Return why a new password will not do; "" where it does."""
    if len(password) < SHORTEST:
        return "The new password needs at least 12 characters."
    if len(password) > LONGEST:
        return "The new password is too long."
    if name.lower() in password.lower() or len(set(password)) < 5:
        return "The new password is too easy to guess."
    return ""
