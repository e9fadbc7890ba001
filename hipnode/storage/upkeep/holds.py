"""What must be kept although it is old: a study, a patient's studies, an accession.

What is held is neither deleted by retention nor archived. Setting and lifting are on the audit log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, false, insert, or_, select, update

from hipnode.domain import AuditEvent, AuditRecord
from hipnode.errors import InputRefused
from hipnode.storage.audit.entries import append, given, storable
from hipnode.storage.database.archives import hold
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import audit, study


class HoldKind(StrEnum):
    """What a hold names."""

    STUDY = "study"
    PATIENT = "patient"
    ACCESSION = "accession"


_COLUMNS = {
    HoldKind.STUDY: "study_instance_uid",
    HoldKind.PATIENT: "patient_id",
    HoldKind.ACCESSION: "accession_number",
}


@dataclass(frozen=True, slots=True)
class Hold:
    """A row of ``hold``."""

    id: int
    kind: HoldKind
    value: str
    reason: str
    set_by: str
    set_utc: datetime
    lifted_utc: datetime | None = None
    lifted_by: str = ""
    lifted_reason: str = ""


class Holds:
    """Sets and lifts holds.

    Parameters
    ----------
    database
        Where the rows are.
    now
        The clock.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    def every(self) -> list[Hold]:
        """Return all holds, those that were lifted too, the first one first."""
        statement = select(hold).order_by(hold.c.id)
        return self._database.read(lambda c: [_hold(row) for row in c.execute(statement)])

    def set(self, kind: HoldKind, value: str, *, actor: str, reason: str) -> int:
        """Hold what a value names; return the hold's number.

        Raises
        ------
        InputRefused
            If it names nothing, no reason is given, or it is held already.
        """
        value, reason = storable(value.strip()), given(reason)
        if not value:
            raise InputRefused("Name what is to be held.")
        now = self._now()
        values = {"kind": kind, "value": value, "reason": reason, "set_by": actor, "set_utc": now}

        def work(connection: Connection) -> int:
            if any((one.kind, one.value) == (kind, value) for one in active(connection)):
                raise InputRefused("That is held already.")
            number = connection.execute(insert(hold).values(values).returning(hold.c.id))
            made = int(number.scalar_one())
            append(
                connection, now, [_record(AuditEvent.HOLD_SET, made, kind, value, actor, reason)]
            )
            return made

        return self._database.write(work)

    def lift(self, number: int, *, actor: str, reason: str) -> None:
        """Lift a hold.

        Raises
        ------
        InputRefused
            If there is none of that number, or no reason is given.
        """
        reason, now = given(reason), self._now()

        def work(connection: Connection) -> None:
            found = next((one for one in active(connection) if one.id == number), None)
            if found is None:
                raise InputRefused(f"There is no hold {number} that has not been lifted.")
            values = {"lifted_utc": now, "lifted_by": actor, "lifted_reason": reason}
            connection.execute(update(hold).where(hold.c.id == number).values(values))
            lifted = AuditEvent.HOLD_LIFTED
            record = _record(lifted, number, found.kind, found.value, actor, reason)
            append(connection, now, [record])

        self._database.write(work)


def active(connection: Connection) -> list[Hold]:
    """Return the holds that have not been lifted."""
    statement = select(hold).where(hold.c.lifted_utc.is_(None)).order_by(hold.c.id)
    return [_hold(row) for row in connection.execute(statement)]


def studies(connection: Connection) -> set[str]:
    """Return the studies that are held: as they are known, and as they were ever received."""
    found: set[str] = set()
    for one in active(connection):
        name = _COLUMNS[one.kind]
        found |= {one.value} if one.kind is HoldKind.STUDY else set()
        for table in (study, audit):
            wanted = (table.c[name] == one.value) & (table.c[name] != "")
            known = select(table.c.study_instance_uid).where(wanted).distinct()
            found |= set(connection.execute(known).scalars())
    return found - {""}


def of_records(connection: Connection) -> ColumnElement[bool]:
    """Return the condition that a record of the audit log is held."""
    named: dict[HoldKind, list[str]] = {}
    for one in active(connection):
        named.setdefault(one.kind, []).append(one.value)
    conditions = [audit.c[_COLUMNS[kind]].in_(values) for kind, values in named.items()]
    if held := studies(connection):
        conditions.append(audit.c.study_instance_uid.in_(held))
    return or_(false(), *conditions)


def _hold(row: Any) -> Hold:
    return Hold(**(dict(row._mapping) | {"kind": HoldKind(row.kind)}))  # noqa: SLF001 - public name


def _record(
    event: AuditEvent, number: int, kind: HoldKind, value: str, actor: str, reason: str
) -> AuditRecord:
    return AuditRecord(
        event,
        actor=actor,
        detail={"hold": number, "kind": kind.value, "reason": reason},
        **{_COLUMNS[kind]: value},  # type: ignore[arg-type]
    )
