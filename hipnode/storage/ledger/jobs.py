"""The queue's rows: how a job comes to be, how its state moves, and what may run next.

`move` is the only writer of a job's state. It follows `hipnode.domain.TRANSITIONS` and adds the
audit row in the same transaction.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    Row,
    Select,
    String,
    bindparam,
    column,
    func,
    literal_column,
    select,
    text,
    type_coerce,
    update,
)

from hipnode.domain import (
    TRANSITIONS,
    AuditEvent,
    AuditRecord,
    Job,
    JobKind,
    JobState,
    Outcome,
)
from hipnode.errors import IllegalTransition, LeaseLost
from hipnode.settings import QueueSettings
from hipnode.storage.audit import entries
from hipnode.storage.database.dialects import in_both, run
from hipnode.storage.database.schema import PRIORITIES, Moment, destination, job

Nudge = Callable[[Connection, Row[Any]], None]
"""Told, within the transaction, of a job that is queued or of an outbox that has moved on."""

_FREED: Final = {"lease_until_utc": None, "owner": ""}


def to_job(row: Row[Any]) -> Job:
    """Return a row of ``job`` as the value that everybody speaks in."""
    return Job(
        id=row.id,
        kind=JobKind(row.kind),
        state=JobState(row.state),
        study_instance_uid=row.study_instance_uid,
        priority=row.priority,
        attempts=row.attempts,
        token=row.token,
        due_utc=row.due_utc,
        created_utc=row.created_utc,
        lease_until_utc=row.lease_until_utc,
        instance_id=row.instance_id,
        version=row.version,
        result_id=row.result_id,
        destination=row.destination,
        model_set=row.model_set,
        error=row.error,
    )


@dataclass(frozen=True, slots=True)
class Audited:
    """What the audit row says about a move."""

    event: AuditEvent
    outcome: Outcome = Outcome.OK
    actor: str = ""
    sop_instance_uid: str = ""
    ae_title: str = ""
    detail: dict[str, Any] | None = None


class Queue:
    """The ``job`` table.

    Parameters
    ----------
    settings
        Back-off and ageing: waiting `ageing_s` counts as one step of priority.
    nudge
        Tells the dispatcher; on SQLite, which looks for itself, it does nothing.
    """

    def __init__(self, settings: QueueSettings, nudge: Nudge) -> None:
        self.ageing = timedelta(seconds=settings.ageing_s)
        self._settings = settings
        self._nudge = nudge

    # --- coming to be -------------------------------------------------------------------------

    def enqueue(self, connection: Connection, now: datetime, **values: Any) -> Row[Any] | None:
        """Add a job, unless its key is there already: then nothing happens and None is returned."""
        values = {"state": JobState.QUEUED, "created_utc": now, "due_utc": now} | values
        row: Row[Any] | None = run(connection, _ENQUEUE, values).first()
        if row is not None:
            entries.append(
                connection, now, [_record(row, Audited(AuditEvent.JOB_QUEUED, detail=_facts(row)))]
            )
            self._nudge(connection, row)
        return row

    def set_due(self, connection: Connection, row: Row[Any], due: datetime, priority: int) -> None:
        """Say when a queued job may run, and how urgently. Its state does not change."""
        if (row.due_utc, row.priority) != (due, priority):
            values = {"held_id": row.id, "due_utc": due, "priority": priority}
            moved = connection.execute(_SET_DUE, values).first()
            if moved is not None:
                self._nudge(connection, moved)

    # --- moving -------------------------------------------------------------------------------

    def move(
        self,
        connection: Connection,
        now: datetime,
        held: Row[Any] | Job,
        to: JobState,
        audited: Audited,
        **values: Any,
    ) -> Row[Any]:
        """Move a job from the state it is held to be in, and audit it.

        Parameters
        ----------
        held
            The job as its holder knows it. If its state or token has changed since, the holder's
            word does not count any more.
        to
            The new state.
        audited
            What the audit row says.
        values
            Further columns to set.

        Raises
        ------
        IllegalTransition
            If there is no such move.
        LeaseLost
            If somebody else moved the job in the meantime.
        """
        if to not in TRANSITIONS[JobState(held.state)]:
            raise IllegalTransition(f"A job that is {held.state} cannot become {to}.")
        if to is JobState.CLAIMED:
            values["token"] = held.token + 1
        else:
            values |= _FREED
            if to is not JobState.QUEUED:
                values["finished_utc"] = now
        held_as = {"held_id": held.id, "held_state": held.state, "held_token": held.token}
        row: Row[Any] | None = connection.execute(_MOVE, {"state": to} | values | held_as).first()
        if row is None:
            raise LeaseLost
        entries.append(connection, now, [_record(row, audited)])
        if to is JobState.QUEUED or (row.kind == JobKind.DELIVER and to is not JobState.CLAIMED):
            self._nudge(connection, row)
        return row

    def nudge(self, connection: Connection, row: Row[Any]) -> None:
        """Tell the dispatcher of a queued job once more."""
        self._nudge(connection, row)

    # --- what may run next --------------------------------------------------------------------

    def next_job(
        self, connection: Connection, kinds: tuple[JobKind, ...], now: datetime
    ) -> Row[Any] | None:
        """Return and lock the job to run next, past those that others are about to claim.

        One step of priority is worth `ageing`: the order is that of the due times, each less so
        many steps. Only the oldest due job of each (kind, priority) is looked at, so the backlog
        does not matter.
        """
        at = {"now": now, "ageing_us": self.ageing // timedelta(microseconds=1)}
        row = connection.execute(_next(kinds), at).first()
        if row is not None or connection.dialect.name == "sqlite":  # which has one writer
            return row
        for head in connection.execute(_heads(kinds), at).all():  # each is being claimed
            chosen = {"kind": head.kind, "priority": head.priority, "now": now}
            if (row := connection.execute(_FIRST, chosen).first()) is not None:
                return row
        return None

    def next_delivery(
        self, connection: Connection, name: str, now: datetime, *, lock: bool
    ) -> Row[Any] | None:
        """Return the head of a destination's outbox, if it may go now.

        One object is under way to a destination at a time, and none overtakes: while the head waits
        for its next attempt, or the destination is away, the others wait behind it.
        """
        statement = select(destination).where(destination.c.name == name)
        if lock:
            statement = statement.with_for_update(skip_locked=True)
        place = connection.execute(statement).first()
        if place is None or (place.paused_until_utc or now) > now:
            return None
        head = next_in_line(connection, name)
        return head if head is not None and head.due_utc <= now else None

    def outboxes(self, connection: Connection, now: datetime) -> list[str]:
        """Return the destinations that are not paused, the one longest not served in front."""
        return list(connection.execute(_OUTBOXES, {"now": now}).scalars())

    def backoff_until(self, now: datetime, failures: int) -> datetime:
        """Return when to try again: doubling, jittered by half, never beyond the cap.

        After the n-th failure the wait is between half of and all of
        ``min(cap, first * 2 ** (n - 1))``.
        """
        full_s = min(
            self._settings.backoff_cap_s,
            self._settings.backoff_first_s * 2.0 ** min(failures - 1, 60),
        )
        return now + timedelta(seconds=full_s * random.uniform(0.5, 1))  # noqa: S311 - no secret


def _facts(row: Row[Any]) -> dict[str, Any]:
    facts = {
        "kind": row.kind,
        "priority": row.priority,
        "instance_id": row.instance_id,
        "version": row.version,
        "result_id": row.result_id,
        "destination": row.destination,
        "model_set": row.model_set,
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _record(row: Row[Any], audited: Audited) -> AuditRecord:
    return AuditRecord(
        event=audited.event,
        outcome=audited.outcome,
        actor=audited.actor,
        study_instance_uid=row.study_instance_uid,
        sop_instance_uid=audited.sop_instance_uid,
        patient_id=row.patient_id,
        accession_number=row.accession_number,
        ae_title=audited.ae_title,
        job_id=row.id,
        detail={"kind": row.kind, **(audited.detail or {})},
    )


# A partial index serves only a query that says its condition in so many words: no parameters here.
IS_QUEUED: Final = job.c.state == literal_column("'queued'")
IS_CLAIMED: Final = job.c.state == literal_column("'claimed'")
IS_QUARANTINED: Final = job.c.state == literal_column("'quarantined'")
IS_DELIVER: Final = job.c.kind == literal_column("'deliver'")
_NOW: Final = bindparam("now", type_=Moment)
_AGEING_US: Final = bindparam("ageing_us", type_=BigInteger)

_ENQUEUE: Final = in_both(
    lambda insert: insert(job).on_conflict_do_nothing(index_elements=["key"]).returning(job)
)
_SET_DUE: Final = update(job).where(job.c.id == bindparam("held_id"), IS_QUEUED).returning(job)
_MOVE: Final = (
    update(job)
    .where(
        job.c.id == bindparam("held_id"),
        job.c.state == bindparam("held_state"),
        job.c.token == bindparam("held_token"),
    )
    .returning(job)
)
_FIRST: Final = (
    select(job)
    .where(
        IS_QUEUED,
        job.c.kind == bindparam("kind"),
        job.c.priority == bindparam("priority"),
        job.c.due_utc <= _NOW,
    )
    .order_by(job.c.due_utc, job.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_UNDER_WAY: Final = (
    select(job.c.id).where(IS_CLAIMED, IS_DELIVER, job.c.destination == bindparam("name")).limit(1)
)
_OUTBOX_HEAD: Final = (
    select(job)
    .where(IS_QUEUED, IS_DELIVER, job.c.destination == bindparam("name"))
    .order_by(job.c.position_us, job.c.id)
    .limit(1)
)
_OUTBOXES: Final = (
    select(destination.c.name)
    .where(func.coalesce(destination.c.paused_until_utc, 0) <= _NOW)
    .order_by(func.coalesce(destination.c.claimed_utc, 0), destination.c.name)
)


def outbox_head(connection: Connection, name: str) -> Row[Any] | None:
    """Return the delivery that goes to a destination next, whenever it may."""
    return connection.execute(_OUTBOX_HEAD, {"name": name}).first()


def next_in_line(connection: Connection, name: str) -> Row[Any] | None:
    """Return the delivery that goes next; None while one is under way, whose end is a nudge."""
    if connection.execute(_UNDER_WAY, {"name": name}).first() is not None:
        return None
    return outbox_head(connection, name)


@cache
def _heads(kinds: tuple[JobKind, ...]) -> Select[Any]:
    """Return the query for the oldest due job of each kind and priority, the first to run first."""
    pairs = ", ".join(f"('{kind}', {priority})" for kind in kinds for priority in PRIORITIES)
    kind, priority = column("column1", String), column("column2", Integer)  # both engines' names
    pair = text(f"VALUES {pairs}").columns(kind, priority).cte("pair")
    oldest = job.alias()
    head = (
        select(oldest.c.id)
        .where(
            oldest.c.state == literal_column("'queued'"),
            oldest.c.kind == pair.c.column1,
            oldest.c.priority == pair.c.column2,
            oldest.c.due_utc <= _NOW,
        )
        .order_by(oldest.c.due_utc, oldest.c.id)
        .limit(1)
        .scalar_subquery()
    )
    order = type_coerce(job.c.due_utc, BigInteger) - job.c.priority * _AGEING_US
    heads = select(head.label("id")).select_from(pair).subquery()
    return select(job).join(heads, job.c.id == heads.c.id).where(IS_QUEUED).order_by(order)


@cache
def _next(kinds: tuple[JobKind, ...]) -> Select[Any]:
    """Return the query for the first of those that nobody else is about to claim, locked."""
    return _heads(kinds).limit(1).with_for_update(of=job, skip_locked=True)
