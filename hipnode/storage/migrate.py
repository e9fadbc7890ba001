"""The schema's versions: upgrade, and refuse to work on another one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, make_url, select

from hipnode.errors import StorageUnavailable
from hipnode.log import Event, get_logger
from hipnode.storage.engine import Database, door

_FOLDER: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x68697003


def config() -> Config:
    """Return Alembic's configuration; there is no alembic.ini."""
    made = Config()
    made.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return made


def head() -> str:
    """Return the version that this release works on."""
    return ScriptDirectory.from_config(config()).get_current_head() or ""


def current(database: Database) -> str:
    """Return the version of the database's schema; "" where there is none."""
    return database.read(_current)


def _current(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or ""


def check(database: Database) -> None:
    """Refuse a schema of another version.

    Raises
    ------
    StorageUnavailable
        Saying which version was found and which is needed.
    """
    found = current(database)
    if found != head():
        raise StorageUnavailable(
            f"The database's schema is at version {found or '(none)'}, this release needs {head()}."
        )


def upgrade(database: Database) -> None:
    """Bring the schema up to date. Several processes may do so at once: one does, the others wait.

    Raises
    ------
    StorageUnavailable
        If the database cannot be used. Nothing has changed then.
    """
    if current(database) == head():
        return
    options = {"hipnode_begin": "IMMEDIATE"} if database.is_sqlite else {}
    with _alone(database), door(), database.engine.connect() as connection:
        made = config()
        with connection.execution_options(**options).begin():
            if not database.is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            before = _current(connection)
            made.attributes["connection"] = connection
            command.upgrade(made, "head")
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
