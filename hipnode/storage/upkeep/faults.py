"""What a person must see to: kept in the database, where every service and `status` find it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, select

from hipnode.storage.database.dialects import in_both, run
from hipnode.storage.database.schema import fault

_NOTE: Final = in_both(
    lambda insert: (statement := insert(fault)).on_conflict_do_update(
        index_elements=["name"], set_={"reason": statement.excluded.reason}
    )
)


def note(connection: Connection, now: datetime, name: str, reason: str) -> None:
    """Note what is wrong under a name, or that it is mended, where ``reason`` is empty."""
    if reason:
        run(connection, _NOTE, {"name": name, "since_utc": now, "reason": reason})
    else:
        connection.execute(delete(fault).where(fault.c.name == name))


def reason(connection: Connection, name: str) -> str:
    """Return what is noted under a name; "" where nothing is."""
    return connection.execute(select(fault.c.reason).where(fault.c.name == name)).scalar() or ""


def every(connection: Connection) -> list[str]:
    """Return all that is wrong, in words."""
    rows = connection.execute(select(fault).order_by(fault.c.since_utc, fault.c.name))
    return [
        f"{row.name}: {row.reason} (since {row.since_utc:%Y-%m-%d %H:%M:%S} UTC)" for row in rows
    ]
