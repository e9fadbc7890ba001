"""Is the database itself whole? SQLite's own checks, and PostgreSQL's amcheck where it is there.

References
----------
https://www.sqlite.org/pragma.html#pragma_integrity_check; PostgreSQL's documentation, F.1.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

from hipnode.errors import DatabaseDamaged
from hipnode.storage.database.engine import Database

_AT_MOST: Final = 20
_HAS_AMCHECK: Final = text("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'")
_INDEXES: Final = text(
    "SELECT c.relname, c.oid FROM pg_class c JOIN pg_am a ON a.oid = c.relam"
    " WHERE c.relkind = 'i' AND a.amname = 'btree' AND c.relnamespace = 'public'::regnamespace"
    " ORDER BY c.relname"
)
_HEAPS: Final = text(
    "SELECT relname, oid FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname"
)


def problems(database: Database, *, thorough: bool) -> list[str]:
    """Return what is wrong with the database, at most 20 things; nothing is changed.

    Parameters
    ----------
    database
        Which.
    thorough
        Compare indexes with tables too (SQLite), or look into every table (PostgreSQL).

    Raises
    ------
    StorageUnavailable
        If it cannot be reached at all.
    """
    try:
        if database.is_sqlite:
            found = database.read(lambda c: _of_sqlite(c, thorough=thorough))
        else:
            found = database.read(lambda c: _of_postgresql(c, thorough=thorough))
    except DatabaseDamaged as error:
        return [str(getattr(error.__cause__, "orig", error))[:200]]
    return found[:_AT_MOST]


def can_look(database: Database) -> bool:
    """Tell whether there is anything that looks: SQLite always does, PostgreSQL with amcheck."""
    return database.is_sqlite or database.read(
        lambda c: c.execute(_HAS_AMCHECK).first() is not None
    )


def _of_sqlite(connection: Connection, *, thorough: bool) -> list[str]:
    pragma = "integrity_check" if thorough else "quick_check"
    rows = connection.exec_driver_sql(f"PRAGMA {pragma}({_AT_MOST})").scalars()
    return [str(row) for row in rows if row != "ok"]


def _of_postgresql(connection: Connection, *, thorough: bool) -> list[str]:
    if connection.execute(_HAS_AMCHECK).first() is None:
        return []
    for _, number in connection.execute(_INDEXES).all():
        connection.execute(text("SELECT bt_index_check(CAST(:oid AS oid))"), {"oid": number})
    found: list[str] = []
    for name, number in connection.execute(_HEAPS).all() if thorough else ():
        heap = text("SELECT blkno, msg FROM verify_heapam(CAST(CAST(:oid AS oid) AS regclass))")
        rows = connection.execute(heap, {"oid": number}).all()
        found += [f"{name}, block {block}: {what}" for block, what in rows]
    return found
