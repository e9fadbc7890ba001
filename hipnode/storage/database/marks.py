"""Numbers by name that outlast a process: how far has come what is done in bits, and the clock."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, select

from hipnode.storage.database.dialects import in_both, run
from hipnode.storage.database.schema import mark

_PUT: Final = in_both(
    lambda insert: (statement := insert(mark)).on_conflict_do_update(
        index_elements=["name"], set_={"number": statement.excluded.number}
    )
)


def get(connection: Connection, name: str) -> int | None:
    """Return a number; None where there is none of that name."""
    return connection.execute(select(mark.c.number).where(mark.c.name == name)).scalar()


def put(connection: Connection, name: str, number: int) -> None:
    """Write a number."""
    run(connection, _PUT, {"name": name, "number": number})


def drop(connection: Connection, *names: str) -> None:
    """Forget numbers."""
    connection.execute(delete(mark).where(mark.c.name.in_(names)))
