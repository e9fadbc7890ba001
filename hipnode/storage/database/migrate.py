"""The schema's versions: upgrade, and refuse to work on one that does not fit.

During an upgrade of several machines the new release migrates while services of the old one still
run, and are started again. Migrations therefore only add (but for 0004, 0021 and 0027), and the
database says in ``schema_support`` back to which version releases may go on.

Alembic is brought in only where there is something to upgrade: a service that finds the schema as
it should be starts a fifth of a second sooner without it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, inspect, make_url, select, text

from hipnode.errors import StorageUnavailable
from hipnode.log import Event, get_logger
from hipnode.storage.database.door import door
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import schema_support

_FOLDER: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x68697003
_CURRENT: Final = text("SELECT version_num FROM alembic_version")


def head() -> str:
    """Return the version that this release works on: the number that its file begins with."""
    return max(path.name.partition("_")[0] for path in _FOLDER.glob("versions/[0-9]*.py"))


def current(database: Database) -> str:
    """Return the version of the database's schema; "" where there is none."""
    return database.read(_current)


def _current(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(_CURRENT).scalar() or ""


def check(database: Database) -> None:
    """Refuse a schema that is older than this release, or so new that it no longer fits.

    Raises
    ------
    StorageUnavailable
        Saying which version was found and which is needed.
    """
    found, needed = current(database), head()
    if found == needed or (found > needed and database.read(_oldest) <= needed):
        return
    raise StorageUnavailable(
        f"The database's schema is at version {found or '(none)'}, this release needs {needed}."
    )


def _oldest(connection: Connection) -> str:
    """Return the oldest version whose releases may work on the schema as it is."""
    return str(connection.execute(select(schema_support.c.oldest)).scalar_one())


def upgrade(database: Database, *, told: bool = True) -> None:
    """Bring the schema up to date. Several processes may do so at once: one does, the others wait.

    ``told``: whether it is logged.

    Raises
    ------
    StorageUnavailable
        If the database cannot be used. Nothing has changed then.
    """
    if current(database) >= head():
        return  # `check` tells whether a newer one will do
    options = {"hipnode_begin": "IMMEDIATE"} if database.is_sqlite else {}
    alembic = import_module("hipnode.storage.database.alembic_upgrade")
    with (
        _alone(database),
        door(),
        database.engine.connect() as connection,
        connection.execution_options(**options).begin(),
    ):
        if not database.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        before = _current(connection)
        alembic.upgrade(connection, _FOLDER)
    if told:
        get_logger(service="storage").info(Event.MIGRATED, version=head(), reason=before or "empty")


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Let one process at a time create or change an SQLite database."""
    if not database.is_sqlite:
        yield
        return
    path = make_url(str(database.engine.url)).database
    descriptor = os.open(f"{path}.writer", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
