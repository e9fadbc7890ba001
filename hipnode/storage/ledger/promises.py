"""Storage commitment: what has been delivered, and which of it the destination answers for.

A row follows one object at one destination from its delivery to the destination's promise to keep
it. It is asked for in transactions of many objects; an answer counts by its Transaction UID, which
nobody else knows. A row that is being asked for comes due again when no answer came: a service that
died after asking needs no other remedy.

References
----------
PS3.4 Annex J, Storage Commitment Service Class. PS3.3 C.14, Storage Commitment Module.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, Row, bindparam, select, update

from hipnode.domain import (
    AuditEvent,
    AuditRecord,
    CommitmentState,
    Job,
    JobKind,
    JobState,
    Outcome,
)
from hipnode.faults import Point, reach
from hipnode.settings import QueueSettings
from hipnode.storage.audit import entries
from hipnode.storage.database.dialects import in_both, run
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import commitment, job, to_us
from hipnode.storage.ledger.jobs import Audited, Queue

_BATCH: Final = 100
_OPEN: Final = (CommitmentState.WANTED, CommitmentState.ASKED)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One request for commitment: what is asked for, as (SOP Class UID, SOP Instance UID)."""

    uid: str
    destination: str
    objects: tuple[tuple[str, str], ...]


def expect(
    connection: Connection, now: datetime, held: Job, sop_class_uid: str, sop_instance_uid: str
) -> None:
    """Note, with its delivery, that a destination is to commit to an object."""
    values = {
        "job_id": held.id,
        "result_id": held.result_id,
        "destination": held.destination,
        "study_instance_uid": held.study_instance_uid,
        "sop_class_uid": sop_class_uid,
        "sop_instance_uid": sop_instance_uid,
        "state": CommitmentState.WANTED,
        "transaction_uid": "",
        "due_utc": now,
        "error": "",
    }
    run(connection, _EXPECT, values)


class Commitments:
    """The ``commitment`` table.

    Parameters
    ----------
    database
        Where it is.
    queue
        The ``job`` table: an object that is not committed to is delivered again.
    settings
        Attempts and back-off.
    now
        The clock.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        settings: QueueSettings,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._queue = queue
        self._settings = settings
        self._now = now

    # --- asking -------------------------------------------------------------------------------

    def ask(self, destination: str, timeout_s: float) -> Transaction | None:
        """Open a transaction for what is due at a destination, or return None.

        What was asked for before and got no answer in time costs an attempt; after the last one
        the object is given up.

        Parameters
        ----------
        destination
            Its name.
        timeout_s
            How long to wait for the answer.

        Raises
        ------
        StorageUnavailable
            If the database cannot be used.
        """
        now = self._now()
        due = {"name": destination, "now": now}
        if not self._database.read(lambda c: c.execute(_DUE.limit(1), due).all()):
            return None  # looked first: an idle service should not write

        def work(connection: Connection) -> Transaction | None:
            rows = connection.execute(_DUE.with_for_update(skip_locked=True), due).all()
            rows = [row for row in rows if not self._is_given_up(connection, now, row)]
            if not rows:
                return None
            uid = f"2.25.{uuid4().int}"
            until = now + timedelta(seconds=timeout_s)
            _set(connection, rows, state=CommitmentState.ASKED, transaction_uid=uid, due_utc=until)
            detail = {"transaction": uid}
            _audit(connection, now, rows, AuditEvent.COMMITMENT_ASKED, Outcome.OK, detail)
            objects = tuple((row.sop_class_uid, row.sop_instance_uid) for row in rows)
            return Transaction(uid, destination, objects)

        return self._database.write(work)

    def _is_given_up(self, connection: Connection, now: datetime, row: Row[Any]) -> bool:
        """Count what got no answer; tell whether that was the last attempt."""
        if row.state != CommitmentState.ASKED:
            return False
        return self._count(connection, now, row, "no answer came in time") is None

    def postpone(self, transaction: Transaction, reason: str, failures: int) -> None:
        """Ask later: the destination could not be reached. That is no attempt.

        Parameters
        ----------
        transaction
            What was not asked for.
        reason
            Why.
        failures
            How often in a row that was so.
        """
        due = self._queue.backoff_until(self._now(), failures)

        def work(connection: Connection) -> None:
            rows = _asked(connection, transaction.uid)
            _set(connection, rows, state=CommitmentState.WANTED, due_utc=due, error=reason)

        self._database.write(work)

    def refused(self, transaction: Transaction, reason: str) -> None:
        """Ask later, or give up: the destination would not take the request."""
        now = self._now()

        def work(connection: Connection) -> None:
            for row in _asked(connection, transaction.uid):
                attempts = self._count(connection, now, row, reason)
                if attempts is not None:
                    due = self._queue.backoff_until(now, attempts)
                    _set(connection, [row], state=CommitmentState.WANTED, due_utc=due)

        self._database.write(work)

    # --- answers ------------------------------------------------------------------------------

    def settle(
        self,
        transaction_uid: str,
        committed: Collection[str],
        failed: Mapping[str, str],
        peer: str,
    ) -> int:
        """Note what a destination answered.

        Parameters
        ----------
        transaction_uid
            Of the request that it answers.
        committed
            SOP Instance UIDs of the objects that it will keep.
        failed
            Those that it will not, each with the reason. They are delivered again, and given up
            after the last attempt.
        peer
            The AE title that answered.

        Returns
        -------
        int
            How many objects that was about: 0 where the transaction is none of ours, or over.

        Raises
        ------
        StorageUnavailable
            If the database cannot be used.
        """
        now = self._now()

        def work(connection: Connection) -> int:
            rows = _asked(connection, transaction_uid)
            kept = [row for row in rows if row.sop_instance_uid in committed]
            lost = [row for row in rows if row.sop_instance_uid in failed and row not in kept]
            _set(connection, kept, state=CommitmentState.COMMITTED, committed_utc=now, error="")
            detail = {"transaction": transaction_uid}
            _audit(
                connection, now, kept, AuditEvent.OBJECT_COMMITTED, Outcome.OK, detail, peer=peer
            )
            for row in lost:
                reason = failed[row.sop_instance_uid]
                if self._count(connection, now, row, reason) is not None:
                    self._deliver_again(connection, now, row)
            reach(Point.COMMITMENT_WRITTEN)
            return len(kept) + len(lost)

        return self._database.write(work)

    def waive(self, asking: Collection[str]) -> int:
        """Wait no longer for destinations that are not asked any more; return for how many objects.

        Parameters
        ----------
        asking
            The destinations that are asked for commitment.
        """
        now = self._now()
        others = select(commitment).where(
            commitment.c.state.in_(_OPEN), commitment.c.destination.not_in(asking)
        )
        if not self._database.read(lambda c: c.execute(others.limit(1)).all()):
            return 0

        def work(connection: Connection) -> int:
            rows = connection.execute(others.with_for_update()).all()
            _set(connection, rows, state=CommitmentState.WAIVED)
            _audit(connection, now, rows, AuditEvent.COMMITMENT_WAIVED, Outcome.OK, {})
            return len(rows)

        return self._database.write(work)

    # --- failures -----------------------------------------------------------------------------

    def _count(
        self, connection: Connection, now: datetime, row: Row[Any], reason: str
    ) -> int | None:
        """Count a failed attempt; return how many there are, or None where that was the last."""
        attempts = int(row.attempts) + 1
        detail = {"transaction": row.transaction_uid, "reason": reason, "attempts": attempts}
        failed = AuditEvent.COMMITMENT_FAILED
        _audit(connection, now, [row], failed, Outcome.FAILED, detail)
        _set(connection, [row], attempts=attempts, error=reason)
        if attempts < self._settings.max_attempts:
            return attempts
        again = self._deliver_again(connection, now, row)
        _set(connection, [row], attempts=0)
        if again is not None:
            why = f"the destination does not commit to the object: {reason}"
            audited = Audited(AuditEvent.JOB_QUARANTINED, Outcome.FAILED, detail={"reason": why})
            self._queue.move(connection, now, again, JobState.QUARANTINED, audited, error=why)
        return None

    def _deliver_again(
        self, connection: Connection, now: datetime, row: Row[Any]
    ) -> Row[Any] | None:
        """Put the object into the destination's outbox once more."""
        _set(connection, [row], state=CommitmentState.FAILED)
        before = connection.execute(select(job).where(job.c.id == row.job_id)).one()
        return self._queue.enqueue(
            connection,
            now,
            key=f"deliver:{row.result_id}:{row.destination}:after:{row.job_id}",
            kind=JobKind.DELIVER,
            study_instance_uid=before.study_instance_uid,
            patient_id=before.patient_id,
            accession_number=before.accession_number,
            priority=before.priority,
            result_id=row.result_id,
            destination=row.destination,
            model_set=before.model_set,
            position_us=to_us(now),
        )


def _asked(connection: Connection, transaction_uid: str) -> Sequence[Row[Any]]:
    """Return and lock what a transaction still waits for."""
    return connection.execute(_ASKED, {"transaction": transaction_uid}).all()


def _set(connection: Connection, rows: Sequence[Row[Any]], **values: Any) -> None:
    if rows:
        numbers = [row.id for row in rows]
        connection.execute(update(commitment).where(commitment.c.id.in_(numbers)).values(**values))


def _audit(
    connection: Connection,
    now: datetime,
    rows: Sequence[Row[Any]],
    event: AuditEvent,
    outcome: Outcome,
    detail: dict[str, Any],
    *,
    peer: str = "",
) -> None:
    whose = select(job.c.id, job.c.patient_id, job.c.accession_number).where(
        job.c.id.in_([row.job_id for row in rows])
    )
    jobs = {found.id: found for found in connection.execute(whose)} if rows else {}
    records = [
        AuditRecord(
            event,
            outcome,
            actor="courier",
            study_instance_uid=row.study_instance_uid,
            sop_instance_uid=row.sop_instance_uid,
            patient_id=jobs[row.job_id].patient_id,
            accession_number=jobs[row.job_id].accession_number,
            ae_title=peer,
            job_id=row.job_id,
            detail={"destination": row.destination, "sop_class": row.sop_class_uid} | detail,
        )
        for row in rows
    ]
    entries.append(connection, now, records)


_DUE: Final = (
    select(commitment)
    .where(
        commitment.c.destination == bindparam("name"),
        commitment.c.state.in_(_OPEN),
        commitment.c.due_utc <= bindparam("now", type_=commitment.c.due_utc.type),
    )
    .order_by(commitment.c.due_utc, commitment.c.id)
    .limit(_BATCH)
)
_ASKED: Final = (
    select(commitment)
    .where(
        commitment.c.transaction_uid == bindparam("transaction"),
        commitment.c.transaction_uid != "",
        commitment.c.state == CommitmentState.ASKED,
    )
    .with_for_update()
)


def _expecting(insert: Any) -> Any:
    statement = insert(commitment)
    again = {
        name: statement.excluded[name]
        for name in ("job_id", "sop_class_uid", "sop_instance_uid", "state", "due_utc", "error")
    }
    return statement.on_conflict_do_update(
        index_elements=["result_id", "destination"], set_=again | {"transaction_uid": ""}
    )


_EXPECT: Final = in_both(_expecting)
