"""The audit log by day, counted while it is sealed, so that nobody counts a million rows.

The counts are no evidence, the rows are: they follow from the log, and can be thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Integer, cast, func, literal_column, select

from hipnode.domain import AuditEvent, Outcome
from hipnode.storage.audit.seal import SEALER_LOCK
from hipnode.storage.database.dialects import in_both, run
from hipnode.storage.database.schema import EPOCH, audit, audit_day, seal

_BATCH: Final = 50_000
_US_A_DAY: Final = literal_column("86400000000", BigInteger)
_DAY: Final = cast(cast(audit.c.at_utc, BigInteger) // _US_A_DAY, Integer)


@dataclass(frozen=True, slots=True)
class DayCount:
    """How often something happened on a day (UTC)."""

    day: date
    event: AuditEvent
    outcome: Outcome
    number: int


def count(connection: Connection) -> int:
    """Count sealed rows that are not counted yet, some of them; return how many.

    Only what is sealed: no row can appear among those any more.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(SEALER_LOCK)))
    first = _counted(connection)
    sealed = connection.execute(select(func.max(seal.c.last_id))).scalar() or 0
    new = (audit.c.id > first) & (audit.c.id <= sealed)
    end = select(audit.c.id).where(new).order_by(audit.c.id).offset(_BATCH - 1).limit(1)
    last = connection.execute(end).scalar() or sealed
    found = connection.execute(
        _grouped(func.max(audit.c.id).label("last_id")).where(
            audit.c.id > first, audit.c.id <= last
        )
    ).all()
    for row in found:
        run(connection, _ADD, dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's public name
    return sum(row.number for row in found)


def days(connection: Connection, now: datetime, number: int) -> list[DayCount]:
    """Return the counts of the newest ``number`` days, oldest first, the present one included."""
    today = (now.astimezone(UTC) - EPOCH).days
    oldest = today - number + 1
    counted = select(audit_day.c.day, audit_day.c.event, audit_day.c.outcome, audit_day.c.number)
    totals: dict[tuple[int, str, str], int] = {}
    uncounted = _grouped().where(audit.c.id > _counted(connection))
    for statement in (counted.where(audit_day.c.day >= oldest), uncounted):
        for day, event, outcome, size in connection.execute(statement):
            if day >= oldest:
                totals[day, event, outcome] = totals.get((day, event, outcome), 0) + size
    return [
        DayCount((EPOCH + timedelta(days=day)).date(), AuditEvent(event), Outcome(outcome), size)
        for (day, event, outcome), size in sorted(totals.items())
    ]


def count_of(connection: Connection, event: AuditEvent) -> int:
    """Return how often something has ever happened, what was archived included."""
    counted = select(func.sum(audit_day.c.number)).where(audit_day.c.event == event)
    rest = select(func.count()).where(audit.c.event == event, audit.c.id > _counted(connection))
    return int(sum(connection.execute(each).scalar() or 0 for each in (counted, rest)))


def _counted(connection: Connection) -> int:
    return connection.execute(select(func.max(audit_day.c.last_id))).scalar() or 0


def _grouped(*more: Any) -> Any:
    columns = (_DAY.label("day"), audit.c.event, audit.c.outcome)
    return select(*columns, func.count().label("number"), *more).group_by(*columns)


def _added(insert: Any) -> Any:
    statement = insert(audit_day)
    return statement.on_conflict_do_update(
        index_elements=["day", "event", "outcome"],
        set_={
            "number": audit_day.c.number + statement.excluded.number,
            "last_id": statement.excluded.last_id,
        },
    )


_ADD: Final = in_both(_added)
