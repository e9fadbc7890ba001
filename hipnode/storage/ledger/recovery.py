"""What is done when work does not go well: again, given up, handed back, taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, select

from hipnode.domain import AuditEvent, Job, JobKind, JobState, Outcome
from hipnode.errors import LeaseLost
from hipnode.settings import QueueSettings
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import instance, job, reading, study
from hipnode.storage.ledger import clock, due, outbox
from hipnode.storage.ledger.jobs import IS_CLAIMED, Audited, Queue, to_job
from hipnode.storage.ledger.questions import Lookups

_ERROR_LENGTH: Final = 500


class Recovery:
    """Work that did not go well: tried again, given up, taken back.

    Parameters
    ----------
    database
        Where the ledger is.
    queue
        The ``job`` table.
    settings
        Lease, attempts and back-off.
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

    def retry(
        self, held: Job, error: str, *, count_attempt: bool = True, rejected: bool = False
    ) -> JobState:
        """Try again later, or give up after the last attempt.

        Parameters
        ----------
        held
            The job.
        error
            What went wrong: codes and plain words, nothing of the patient.
        count_attempt
            False where it is not the job's fault. A delivery then pauses its whole destination,
            whose outbox waits in order; it is never quarantined for that.
        rejected
            True where the destination is there and rejects us: that is a fault, not an absence.

        Returns
        -------
        JobState
            What became of the job.

        Raises
        ------
        LeaseLost
            If the job is somebody else's by now.
        """
        now = self._now()
        return self._database.write(
            lambda c: self._retry(c, now, held, error, count_attempt, rejected)
        )

    def _retry(
        self,
        connection: Connection,
        now: datetime,
        held: Job,
        error: str,
        counts: bool,
        rejected: bool = False,
    ) -> JobState:
        error = error[:_ERROR_LENGTH]
        if held.kind is JobKind.REPORT and due.is_superseded(connection, held):
            return self._supersede(connection, now, held)
        attempts = held.attempts + counts
        if attempts >= self._settings.max_attempts and counts:
            self._give_up(connection, now, held, error, attempts)
            return JobState.QUARANTINED
        detail: dict[str, Any] = {"error": error, "attempts": attempts}
        when = now
        event = AuditEvent.JOB_RETRIED
        if held.kind is JobKind.DELIVER and not counts:
            until = outbox.went_away(
                self._queue, connection, held.destination, now, error, rejects=rejected
            )
            detail |= {"destination": held.destination, "paused_until": until.isoformat()}
            event = AuditEvent.DELIVERY_FAILED
        else:
            when = self._queue.backoff_until(now, max(attempts, 1))
        audited = Audited(event, Outcome.FAILED, detail=detail)
        self._queue.move(
            connection,
            now,
            held,
            JobState.QUEUED,
            audited,
            attempts=attempts,
            due_utc=when,
            error=error,
        )
        return JobState.QUEUED

    def _supersede(self, connection: Connection, now: datetime, held: Job | Row[Any]) -> JobState:
        audited = Audited(AuditEvent.JOB_SUPERSEDED, detail={"version": held.version})
        self._queue.move(connection, now, held, JobState.SUPERSEDED, audited)
        return JobState.SUPERSEDED

    def quarantine(self, held: Job, reason: str) -> None:
        """Give the job up for good, until a person requeues it.

        Raises
        ------
        LeaseLost
            If the job is somebody else's by now.
        """
        now = self._now()
        self._database.write(
            lambda c: self._give_up(c, now, held, reason[:_ERROR_LENGTH], held.attempts + 1)
        )

    def _give_up(
        self, connection: Connection, now: datetime, held: Job, reason: str, attempts: int
    ) -> None:
        owner = due.lock_study(connection, held.study_instance_uid)
        audited = Audited(
            AuditEvent.JOB_QUARANTINED,
            Outcome.FAILED,
            detail={"reason": reason, "attempts": attempts},
        )
        self._queue.move(
            connection,
            now,
            held,
            JobState.QUARANTINED,
            audited,
            attempts=attempts,
            error=reason,
        )
        if held.kind is JobKind.READ:
            due.settle(self._queue, connection, owner)

    def hand_back(self, held: Job) -> None:
        """Return a claimed job untouched: the service is stopping.

        Raises
        ------
        LeaseLost
            If the job is somebody else's by now.
        """
        now = self._now()

        def work(connection: Connection) -> None:
            if held.kind is JobKind.REPORT and due.is_superseded(connection, held):
                self._supersede(connection, now, held)
                return
            audited = Audited(AuditEvent.JOB_HANDED_BACK)
            self._queue.move(connection, now, held, JobState.QUEUED, audited, due_utc=now)

        self._database.write(work)

    # --- from outside -------------------------------------------------------------------------

    def requeue(
        self,
        job_ids: Iterable[int] | None = None,
        *,
        kind: JobKind | None = None,
        study_uid: str | None = None,
        destination: str | None = None,
        actor: str = "",
    ) -> int:
        """Queue quarantined jobs again, with all their attempts before them.

        Parameters
        ----------
        job_ids
            Only these; None for all that the other conditions leave.
        kind, study_uid, destination
            Only jobs that fit.
        actor
            Who asks for it.

        Returns
        -------
        int
            How many were queued. A report that a newer version has replaced is left alone.
        """
        wanted = None if job_ids is None else set(job_ids)
        given = Lookups(self._database).jobs(
            kind=kind,
            state=JobState.QUARANTINED,
            study_uid=study_uid,
            destination=destination,
            limit=1_000_000,
        )
        audited = Audited(AuditEvent.JOB_REQUEUED, actor=actor)
        return sum(
            self._queue_again(held, audited)
            for held in given
            if wanted is None or held.id in wanted
        )

    def _queue_again(self, held: Job, audited: Audited) -> bool:
        now = self._now()

        def work(connection: Connection) -> bool:
            owner = due.lock_study(connection, held.study_instance_uid)
            if held.kind is JobKind.REPORT and due.is_superseded(connection, held):
                return False
            self._queue.move(
                connection,
                now,
                held,
                JobState.QUEUED,
                audited,
                attempts=0,
                due_utc=now,
                error="",
            )
            if held.state is JobState.DONE:
                connection.execute(
                    _FORGET_READING, {"id": held.instance_id, "models": held.model_set}
                )
            if held.kind is JobKind.READ and due.is_expected(connection, held):
                due.expect(self._queue, connection, now, owner, held.model_set)
            due.settle(self._queue, connection, owner)
            return True

        try:
            return self._database.write(work)
        except LeaseLost:
            return False  # somebody else was faster

    def reread(
        self,
        reason: str | None = None,
        since_utc: datetime | None = None,
        *,
        accession_number: str = "",
        actor: str = "",
    ) -> int:
        """Have images read again; a new version of each report follows.

        Parameters
        ----------
        reason
            Images that were not assessed: why not (`hipnode.domain.AbstentionReason`).
        since_utc
            Only images that were received since; None for all whose files are there.
        accession_number
            Instead of a reason: all images of this examination, whatever was said of them.
        actor
            Who asks for it.

        Returns
        -------
        int
            How many readings were queued.
        """
        statement = (
            select(job)
            .join(instance, instance.c.id == job.c.instance_id)
            .where(
                job.c.kind == JobKind.READ,
                job.c.state == JobState.DONE,
                instance.c.retired_utc.is_(None),
            )
            .order_by(job.c.id)
        )
        if accession_number:
            statement = statement.join(
                study, study.c.study_instance_uid == job.c.study_instance_uid
            ).where(study.c.accession_number == accession_number)
        else:
            of = reading.c.instance_id == job.c.instance_id
            of &= reading.c.model_set == job.c.model_set
            statement = statement.join(reading, of).where(reading.c.abstained == reason)
        if since_utc is not None:
            statement = statement.where(instance.c.received_utc >= since_utc)
        given = [to_job(row) for row in self._database.rows(statement)]
        detail = {"abstained": reason} if reason else None
        audited = Audited(AuditEvent.JOB_REQUEUED, actor=actor, detail=detail)
        return sum(self._queue_again(held, audited) for held in given)

    def expire_leases(self) -> int:
        """Take jobs back from holders that fell silent; return how many.

        The attempt counts: a job that kills its worker again and again ends in quarantine.
        """
        now = self._now()
        statement = select(job).where(IS_CLAIMED, job.c.lease_until_utc < now).limit(1000)
        rows = self._database.rows(statement)
        return sum(self._expire(to_job(row), row.owner) for row in rows)

    def mend_times(self) -> int:
        """Bring back what a clock that was set back has moved far ahead; return how much.

        No wait of the queue's own is longer than its back-off or its study's quiet period, and no
        lease is renewed for longer than it lasts: a time beyond that was written by a clock that
        went ahead.
        """
        now = self._now()
        work = partial(clock.mend, self._queue, self._settings, now)
        if not self._database.read(partial(clock.is_wrong, self._settings, now)):
            return 0
        return self._database.write(work)

    def _expire(self, held: Job, owner: str) -> bool:
        now = self._now()
        attempts = held.attempts + 1
        error = f"the lease of {owner or 'its holder'} expired"

        def work(connection: Connection) -> None:
            stale = select(job.c.id).where(
                job.c.id == held.id, IS_CLAIMED, job.c.lease_until_utc < now
            )
            if connection.execute(stale.with_for_update()).first() is None:
                raise LeaseLost
            if attempts >= self._settings.max_attempts:
                self._give_up(connection, now, held, error, attempts)
            elif held.kind is JobKind.REPORT and due.is_superseded(connection, held):
                self._supersede(connection, now, held)
            else:
                audited = Audited(
                    AuditEvent.JOB_LEASE_EXPIRED,
                    Outcome.FAILED,
                    actor=owner,
                    detail={"attempts": attempts},
                )
                self._queue.move(
                    connection,
                    now,
                    held,
                    JobState.QUEUED,
                    audited,
                    attempts=attempts,
                    due_utc=now,
                    error=error,
                )

        try:
            self._database.write(work)
        except LeaseLost:
            return False  # it was finished, or renewed and expired for somebody else
        return True


_FORGET_READING: Final = delete(reading).where(
    reading.c.instance_id == bindparam("id"), reading.c.model_set == bindparam("models")
)
"""What it said is on the audit log."""
