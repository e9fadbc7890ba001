"""Which model set reports: proposed by one person, confirmed by another; each on the audit log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from hipnode.domain import AuditRecord
from hipnode.domain.choices import Choice, ChoiceState, Who
from hipnode.errors import InputRefused
from hipnode.storage.audit.entries import append, given
from hipnode.storage.database.choices import model_choice
from hipnode.storage.database.engine import Database

_REASON: Final = 500
ONE_OPEN: Final = "Another proposal is open: decide on it first."
NONE_OPEN: Final = "There is no open proposal."
SAME_PERSON: Final = "Nobody confirms their own proposal."


class Choices:
    """What was proposed, and what became of it.

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

    def propose(self, wanted: Choice, record: AuditRecord) -> None:
        """Keep a proposal.

        Raises
        ------
        InputRefused
            If no reason is given, or another proposal is open.
        """
        now, reason = self._now(), given(wanted.reason)[:_REASON]
        values = {
            "reference": wanted.reference,
            "digest": wanted.digest,
            "of_file": wanted.of_file,
            "of_file_digest": wanted.of_file_digest,
            "state": ChoiceState.PROPOSED.value,
            "proposed_subject": wanted.proposed_by.subject,
            "proposed_by": wanted.proposed_by.name,
            "proposed_utc": now,
            "reason": reason,
        }

        def work(connection: Connection) -> None:
            if _newest(connection, ChoiceState.PROPOSED) is not None:
                raise InputRefused(ONE_OPEN)
            connection.execute(insert(model_choice).values(values))
            append(connection, now, [_with(record, wanted, reason)])

        self._database.write(work)

    def decide(
        self, number: int, state: ChoiceState, who: Who, reason: str, record: AuditRecord
    ) -> None:
        """Confirm or decline the open proposal.

        Raises
        ------
        InputRefused
            If it is not open, no reason is given, or it would be confirmed by who proposed it.
        """
        now, reason = self._now(), given(reason)[:_REASON]

        def work(connection: Connection) -> None:
            row = _newest(connection, ChoiceState.PROPOSED)
            if row is None or row.id != number:
                raise InputRefused(NONE_OPEN)
            made = _choice(row)
            if state is ChoiceState.CONFIRMED and who.is_same(made.proposed_by):
                raise InputRefused(SAME_PERSON)
            connection.execute(
                update(model_choice)
                .where(model_choice.c.id == number)
                .values(
                    state=state.value,
                    decided_subject=who.subject,
                    decided_by=who.name,
                    decided_utc=now,
                    decided_reason=reason,
                )
            )
            append(connection, now, [_with(record, made, reason)])

        self._database.write(work)

    def open(self) -> Choice | None:
        """Return the proposal that is open, or None."""
        return self._one(ChoiceState.PROPOSED)

    def proposed(self) -> Choice:
        """Return the proposal that is open.

        Raises
        ------
        InputRefused
            If there is none.
        """
        found = self.open()
        if found is None:
            raise InputRefused(NONE_OPEN)
        return found

    def confirmed(self) -> Choice | None:
        """Return the newest that was confirmed, or None."""
        return self._one(ChoiceState.CONFIRMED)

    def newest(self, limit: int = 20) -> list[Choice]:
        """Return the newest, the newest first."""
        statement = select(model_choice).order_by(model_choice.c.id.desc()).limit(limit)
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        return [_choice(row) for row in rows]

    def _one(self, state: ChoiceState) -> Choice | None:
        row = self._database.read(lambda connection: _newest(connection, state))
        return None if row is None else _choice(row)


def _newest(connection: Connection, state: ChoiceState) -> Row[Any] | None:
    wanted = select(model_choice).where(model_choice.c.state == state.value)
    return connection.execute(wanted.order_by(model_choice.c.id.desc()).limit(1)).first()


def _with(record: AuditRecord, choice: Choice, reason: str) -> AuditRecord:
    said = {"model_set": choice.reference, "digest": choice.digest, "reason": reason}
    said |= {"of_file": choice.of_file, "proposed_by": choice.proposed_by.name}
    return replace(record, detail=record.detail | said)


def _choice(row: Row[Any]) -> Choice:
    decided = row.decided_utc is not None
    return Choice(
        id=row.id,
        reference=row.reference,
        digest=row.digest,
        of_file=row.of_file,
        of_file_digest=row.of_file_digest,
        state=ChoiceState(row.state),
        proposed_by=Who(row.proposed_subject, row.proposed_by),
        proposed_utc=row.proposed_utc,
        reason=row.reason,
        decided_by=Who(row.decided_subject, row.decided_by) if decided else None,
        decided_utc=row.decided_utc,
        decided_reason=row.decided_reason,
    )
