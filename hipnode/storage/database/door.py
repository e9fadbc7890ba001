"""How long a driver is waited for, and what it raises as the errors of `hipnode.errors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hipnode.errors import DatabaseDamaged, DiskFull, InputRefused, StorageUnavailable

PATIENCE: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
    "options": "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=25000 -c idle_in_transaction_session_timeout=60000",
}
"""libpq's: both ends notice within half a minute that a machine was cut off. Without that, ours
waits for a quarter of an hour, and the server keeps the locks of ours for two."""

_SERIALISATION: Final = frozenset({"40001", "40P01"})  # SQLSTATE: nobody's fault, run it again
_SQLITE_DAMAGE: Final = frozenset({11, 26})
_POSTGRESQL_DAMAGE: Final = frozenset({"XX001", "XX002"})


@contextmanager
def door() -> Iterator[None]:
    """Turn what SQLAlchemy and the drivers raise into the errors of `hipnode.errors`."""
    try:
        yield
    except DBAPIError as error:
        what = str(error.orig)
        if _is_damage(error.orig):
            raise DatabaseDamaged from error
        if "disk is full" in what or "No space left" in what:
            raise DiskFull from error
        if isinstance(error, DataError):
            raise InputRefused("The database cannot store a value in this.") from error
        raise StorageUnavailable(f"The database cannot be used: {type(error.orig).__name__}") from (
            error
        )
    except PoolTimeout as error:
        raise StorageUnavailable from error


def _is_damage(error: BaseException | None) -> bool:
    """Tell SQLITE_CORRUPT and SQLITE_NOTADB, and PostgreSQL's data_corrupted, index_corrupted."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    return code & 0xFF in _SQLITE_DAMAGE or getattr(error, "sqlstate", "") in _POSTGRESQL_DAMAGE


def is_serialisation(error: StorageUnavailable) -> bool:
    state = getattr(getattr(error.__cause__, "orig", None), "sqlstate", "")
    return state in _SERIALISATION


def is_broken(error: StorageUnavailable) -> bool:  # the pool makes all connections anew then
    return bool(getattr(error.__cause__, "connection_invalidated", False))


def translated(error: Exception) -> Exception:
    try:
        with door():
            raise error
    except Exception as error_of_ours:  # noqa: BLE001 - to be raised in its caller's thread
        return error_of_ours
