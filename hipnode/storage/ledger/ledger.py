"""The ledger: what was received, what is to be done with it, and what came of it.

Every method is one transaction that is durable when it returns; with each change of a job's state
goes its row of the audit log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, select, update

from hipnode.domain import Attention, AuditEvent, Job, JobKind, JobState, Reading
from hipnode.errors import LeaseLost
from hipnode.faults import Point, reach
from hipnode.settings import QueueSettings
from hipnode.storage.database.dialects import in_both, run
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import job, reading
from hipnode.storage.ledger import arrivals, due, outbox, products, promises
from hipnode.storage.ledger.arrivals import IngestOutcome, Plan, Received
from hipnode.storage.ledger.jobs import IS_CLAIMED, Audited, Queue, next_in_line, to_job
from hipnode.storage.ledger.products import NewResult
from hipnode.storage.ledger.questions import Lookups


class Ledger:
    """The one place where the state of the work is kept.

    Parameters
    ----------
    database
        Where it is kept.
    queue
        The ``job`` table.
    settings
        How long a lease lasts.
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

    # --- taking in ----------------------------------------------------------------------------

    def ingest(
        self,
        received: Received,
        *,
        action: Literal["read", "keep", "discard"],
        priority: int = 0,
        model_sets: Sequence[str] = (),
        shadows: Sequence[str] = (),
        quiet_s: float = 0.0,
    ) -> IngestOutcome:
        """Write an image's row, its jobs and its audit row; durable on return.

        Parameters
        ----------
        received
            The image. Its file is durable already, unless it is discarded.
        action
            What the rules say: read it, keep it unread, or note only that it came.
        priority
            -10 to 10; higher is read first.
        model_sets
            What it is read with: the digests of the sets.
        shadows
            What it is read with too, without a report to follow.
        quiet_s
            The study is reported when no image came for this long.

        Raises
        ------
        StorageUnavailable
            If it could not be written: then it has not been received.
        """
        now = self._now()
        plan = Plan(action, priority, tuple(model_sets), quiet_s, tuple(shadows))

        def work(connection: Connection) -> IngestOutcome:
            outcome = arrivals.ingest(self._queue, connection, now, received, plan)
            reach(Point.ROW_WRITTEN)
            return outcome

        return self._database.write(work)

    def release(self, study_uids: Iterable[str]) -> None:
        """Note that the sender closed its association: these studies are due as soon as read."""
        now = self._now()

        def work(connection: Connection) -> None:
            for study_uid in sorted(set(study_uids)):  # everybody locks in this order
                due.release(self._queue, connection, now, study_uid)

        study_uids = list(study_uids)
        self._database.write(work)

    # --- claiming -----------------------------------------------------------------------------

    def claim(
        self,
        kinds: Iterable[JobKind],
        owner: str,
        *,
        destination: str = "",
        look_first: bool = True,
    ) -> Job | None:
        """Take the job that should run next, or None.

        Urgent jobs go first, and waiting counts as urgency. Deliveries go out one at a time per
        destination, in the order of its outbox.

        Parameters
        ----------
        kinds
            What the caller can do.
        owner
            Who claims: it is on the audit log.
        destination
            Deliveries to this destination only.
        look_first
            Whether to begin with a look that writes nothing and keeps nobody from writing: for who
            does not expect to find anything.
        """
        wanted = tuple(kinds)
        now = self._now()
        if look_first and self._database.is_sqlite:
            found = self._database.read(lambda c: self._next(c, wanted, now, destination, False))
            if found is None:
                return None

        def work(connection: Connection) -> Job | None:
            row = self._next(connection, wanted, now, destination, True)
            return None if row is None else self._take(connection, row, owner, now)

        return self._database.write(work)

    def claim_this(self, job_id: int, owner: str) -> Job | None:
        """Take one particular read or report, if it may run now; else None.

        If it is queued but not due yet, the dispatcher is told again for when it is.
        """
        now = self._now()

        def work(connection: Connection) -> Job | None:
            statement = select(job).where(job.c.id == job_id).with_for_update(skip_locked=True)
            row = connection.execute(statement).first()
            if row is None or row.state != JobState.QUEUED:
                return None
            if row.due_utc > now:
                self._queue.nudge(connection, row)
                return None
            return self._take(connection, row, owner, now)

        return self._database.write(work)

    def nudge(self, job_id: int) -> None:
        """Tell the dispatcher once more of a job, if it is queued."""

        def work(connection: Connection) -> None:
            statement = select(job).where(job.c.id == job_id, job.c.state == JobState.QUEUED)
            if (row := connection.execute(statement).first()) is not None:
                self._queue.nudge(connection, row)

        self._database.write(work)

    def nudge_outbox(self, destination: str) -> None:
        """Tell the dispatcher once more of a destination's outbox, if anything can go out of it."""

        def work(connection: Connection) -> None:
            if (row := next_in_line(connection, destination)) is not None:
                self._queue.nudge(connection, row)

        self._database.write(work)

    def _next(
        self,
        connection: Connection,
        kinds: tuple[JobKind, ...],
        now: datetime,
        name: str,
        lock: bool,
    ) -> Row[Any] | None:
        own = tuple(kind for kind in kinds if kind is not JobKind.DELIVER)
        if own and (row := self._queue.next_job(connection, own, now)) is not None:
            return row
        if JobKind.DELIVER in kinds:
            for place in [name] if name else self._queue.outboxes(connection, now):
                row = self._queue.next_delivery(connection, place, now, lock=lock)
                if row is not None:
                    return row
        return None

    def _take(self, connection: Connection, row: Row[Any], owner: str, now: datetime) -> Job:
        until = now + timedelta(seconds=self._settings.lease_s)
        audited = Audited(AuditEvent.JOB_CLAIMED, actor=owner, detail={"attempt": row.attempts + 1})
        if row.kind == JobKind.DELIVER:
            outbox.note_claim(connection, row.destination, now)
        taken = self._queue.move(
            connection, now, row, JobState.CLAIMED, audited, owner=owner, lease_until_utc=until
        )
        return to_job(taken)

    def renew(self, held: Job) -> Job:
        """Prolong the lease on a job that is being worked on.

        Raises
        ------
        LeaseLost
            If the job is somebody else's by now.
        """
        until = self._now() + timedelta(seconds=self._settings.lease_s)
        own = (job.c.id == held.id, IS_CLAIMED, job.c.token == held.token)
        statement = update(job).where(*own).values(lease_until_utc=until)
        if self._database.write(lambda c: c.execute(statement).rowcount) == 0:
            raise LeaseLost
        return replace(held, lease_until_utc=until)

    # --- finishing ----------------------------------------------------------------------------

    def finish_read(self, held: Job, made: Reading) -> None:
        """Write what was read; the study's report may be due by that.

        Raises
        ------
        LeaseLost
            If the job is somebody else's by now; nothing is written.
        """
        now = self._now()
        found = made.abstention is None
        audited = Audited(
            AuditEvent.IMAGE_READ if found else AuditEvent.IMAGE_ABSTAINED,
            sop_instance_uid=made.sop_instance_uid,
            detail=made.facts(),
        )
        written = {
            "instance_id": held.instance_id,
            "model_set": held.model_set,
            "document": made.to_json().decode(),
            "created_utc": now,
            "abstained": made.abstention.reason if made.abstention else "",
        }

        def work(connection: Connection) -> None:
            owner = due.lock_study(connection, held.study_instance_uid)
            self._queue.move(connection, now, held, JobState.DONE, audited)
            run(connection, _STORE_READING, written)
            due.settle(self._queue, connection, owner)
            reach(Point.READING_WRITTEN)

        self._database.write(work)
        reach(Point.READING_COMMITTED)

    def finish_report(
        self,
        held: Job,
        results: Sequence[NewResult],
        destinations: Sequence[str] = (),
        *,
        reason: str = "",
        mended: Sequence[str] = (),
        attention: Attention = Attention.ROUTINE,
        withdrawn: Sequence[str] = (),
    ) -> None:
        """Write what was made, and queue its deliveries.

        Parameters
        ----------
        held
            The report job.
        results
            The objects, in the order in which they go out. None: the rules say that the study is
            not reported, which goes on the audit log with the reason.
        destinations
            Where objects go that do not say so themselves.
        reason
            Why there are no results.
        mended
            What of the study's identity could not be carried over as it came: attributes by
            keyword, never their values.
        attention
            How soon a person should look: urgent results are sent first.
        withdrawn
            The SOP Instance UIDs of earlier results that the new ones take back.

        Raises
        ------
        LeaseLost
            If the job is somebody else's by now; nothing is written.
        """
        now = self._now()
        audited = Audited(
            products.event_of(results),
            detail={
                "version": held.version,
                "model_set": held.model_set,
                "attention": attention,
                "objects": [[r.kind, r.sop_instance_uid, r.sha256] for r in results],
            }
            | ({"reason": reason} if reason else {})
            | ({"mended": list(mended)} if mended else {})
            | ({"withdrawn": list(withdrawn)} if withdrawn else {}),
        )

        def work(connection: Connection) -> None:
            done = self._queue.move(connection, now, held, JobState.DONE, audited)
            for one in results:
                number = products.store_result(connection, now, held, one)
                where = destinations if one.destinations is None else one.destinations
                for name in where:
                    whose = one.patient_id
                    outbox.enqueue(
                        self._queue, connection, now, done, number, name, attention, whose
                    )
            products.note_patients(connection, now, done, results)
            reach(Point.REPORT_WRITTEN)

        self._database.write(work)
        reach(Point.REPORT_COMMITTED)

    def finish_delivery(
        self,
        held: Job,
        *,
        status: int | str,
        sop_class_uid: str,
        peer: str,
        sop_instance_uid: str = "",
        commit: bool = False,
    ) -> None:
        """Note that the destination has taken the object.

        Parameters
        ----------
        held
            The delivery.
        status
            The DIMSE status that it answered (a warning is in 0xBxxx), or its own words.
        sop_class_uid
            As what it was taken.
        peer
            Its AE title, or its name.
        sop_instance_uid
            Of the object that was taken, where that is another than the job's: the next SOP Class
            that the destination takes.
        commit
            Whether the destination is to be asked for its storage commitment.

        Raises
        ------
        LeaseLost
            If the job is somebody else's by now. The object has been sent all the same; sent again
            it is the same object.
        """
        now = self._now()
        sent = Lookups(self._database).result(held.result_id or 0)
        taken_uid = sop_instance_uid or sent.sop_instance_uid
        audited = Audited(
            AuditEvent.OBJECT_DELIVERED,
            sop_instance_uid=taken_uid,
            ae_title=peer,
            detail={
                "destination": held.destination,
                "status": status if isinstance(status, str) else f"0x{status:04X}",
                "sop_class": sop_class_uid,
                "object": sent.kind,
            },
        )

        def work(connection: Connection) -> None:
            outbox.came_back(connection, held.destination, now, delivered=True)
            self._queue.move(connection, now, held, JobState.DONE, audited)
            if commit:
                promises.expect(connection, now, held, sop_class_uid, taken_uid)
            reach(Point.DELIVERY_WRITTEN)

        self._database.write(work)
        reach(Point.DELIVERY_COMMITTED)


_STORE_READING: Final = in_both(lambda insert: insert(reading).on_conflict_do_nothing())
