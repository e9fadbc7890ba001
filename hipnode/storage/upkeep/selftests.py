"""The node's self-tests, and which images are theirs.

An image is a self-test's where the node itself made its SOP Instance UID, and every file that ever
came under that UID holds the picture that the node drew for it. So nobody can hide a patient's
image among them by copying a UID, a Patient ID or any other value of a header.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, Row, func, select, update

from hipnode.domain import AuditEvent, AuditRecord, JobKind, JobState, Outcome
from hipnode.domain.selftest import OPEN, SelfTest, SelfTestState
from hipnode.storage.audit.entries import append
from hipnode.storage.database.dialects import in_both, run
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import NEVER, audit, instance, job
from hipnode.storage.database.selftests import self_test
from hipnode.storage.ledger import withdrawals
from hipnode.storage.ledger.jobs import Queue
from hipnode.storage.upkeep import faults

FAULT: Final = "self-test"
_MISSES: Final = 2
_AT_ONCE: Final = 500
_TAKEN_BACK: Final = timedelta(days=7)
"""So long after its end an image that comes late is still taken back."""
_LEVELS: Final = ("study", "series", "sop")
"""Each has a UID that nobody can guess (PS3.5 B.2)."""
_ENDED: Final = (SelfTestState.PASSED, SelfTestState.MISSED)
_ASK: Final = in_both(
    lambda insert: (
        insert(self_test)
        .on_conflict_do_nothing(index_elements=["day", "number"])
        .returning(self_test.c.id)
    )
)


class SelfTests:
    """What was asked for, how far it has come, and what came of it.

    Parameters
    ----------
    database, queue
        Where rows and jobs are.
    now
        The clock.
    """

    def __init__(self, database: Database, queue: Queue, now: Callable[[], datetime]) -> None:
        self._database = database
        self._queue = queue
        self._now = now

    # --- its way ------------------------------------------------------------------------------

    def ask(self, day: date, matter: str, *, actor: str, by_clock: bool = False) -> SelfTest | None:
        """Ask for a self-test; None where the clock has asked for that day already.

        Raises
        ------
        StorageUnavailable
            If it cannot be written.
        """
        now = self._now()

        def work(connection: Connection) -> Row[Any] | None:
            of_day = select(func.max(self_test.c.number)).where(self_test.c.day == day.isoformat())
            newest = connection.execute(of_day).scalar()
            values = {
                "day": day.isoformat(),
                "number": 0 if by_clock else (newest or 0) + 1,
                "matter": matter,
                "state": SelfTestState.ASKED.value,
                "asked_by": actor,
                "asked_utc": now,
                **{f"{what}_instance_uid": f"2.25.{uuid4().int}" for what in _LEVELS},
            }
            number = run(connection, _ASK, values).scalar()
            if number is None:
                return None
            row = connection.execute(select(self_test).where(self_test.c.id == number)).one()
            append(connection, now, [_record(AuditEvent.SELF_TEST_ASKED, _to_test(row), actor)])
            return row

        row = self._database.write(work)
        return None if row is None else _to_test(row)

    def note(self, test: SelfTest, **values: Any) -> None:
        """Note how far an open self-test has come."""
        is_open = (self_test.c.id == test.id, self_test.c.state.in_(OPEN))
        statement = update(self_test).where(*is_open).values(values)
        self._database.write(lambda connection: connection.execute(statement))

    def end(self, test: SelfTest, why: str = "") -> None:
        """End it: passed, or missed where ``why`` says so. Two misses in a row are a fault."""
        now = self._now()
        state = SelfTestState.MISSED if why else SelfTestState.PASSED

        def work(connection: Connection) -> None:
            ended = connection.execute(
                update(self_test)
                .where(self_test.c.id == test.id, self_test.c.state.in_(OPEN))
                .values(state=state.value, ended_utc=now, why=why)
            )
            if not ended.rowcount:
                return  # another courier was faster
            outcome = Outcome.FAILED if why else Outcome.OK
            record = _record(
                AuditEvent.SELF_TEST_ENDED, test, "courier", outcome, why=why or "passed"
            )
            append(connection, now, [record])
            newest = connection.execute(
                select(self_test.c.state, self_test.c.why)
                .where(self_test.c.state.in_(_ENDED))
                .order_by(self_test.c.ended_utc.desc(), self_test.c.id.desc())
                .limit(_MISSES)
            ).all()
            missed = [row.why for row in newest if row.state == SelfTestState.MISSED]
            text = f"the last {_MISSES} were missed: {missed[0]}" if len(missed) == _MISSES else ""
            faults.note(connection, now, FAULT, text)

        self._database.write(work)

    def expire(self, after_s: float) -> None:
        """End those that nobody has gone on with: no courier runs, say."""
        late = self._now() - timedelta(seconds=after_s)
        for test in self.open():
            if test.asked_utc < late:
                self.end(test, test.why or "no courier has run it")

    def withdrawn(self, test: SelfTest, why_not: str = "") -> None:
        """Note that the PACS has the note that takes the image back, or why it has not."""
        now = self._now()
        values = {"not_withdrawn": why_not} if why_not else {"withdrawn_utc": now}

        def work(connection: Connection) -> None:
            not_yet = (self_test.c.id == test.id, self_test.c.withdrawn_utc.is_(None))
            connection.execute(update(self_test).where(*not_yet).values(values))
            if not why_not:
                event = AuditEvent.SELF_TEST_WITHDRAWN
                append(connection, now, [_record(event, test, "courier")])

        self._database.write(work)

    def take_back(self, code: str, ae_title: str) -> int:
        """Take back here what has ended, so that its reports are withdrawn; return how many."""
        now = self._now()
        ended = self_test.c.ended_utc > now - _TAKEN_BACK
        here = _kept().where(ended, instance.c.action == "read")

        def work(connection: Connection) -> int:
            rows = connection.execute(here).all()
            mine = images_of(connection, [row.sop_instance_uid for row in rows])
            for row in rows:
                if row.sop_instance_uid in mine:
                    withdrawals.reject(
                        self._queue, connection, now, row.study_instance_uid,
                        [row.sop_instance_uid], code, by="self-test", ae_title=ae_title,
                    )  # fmt: skip
            return len(mine)

        some = self._database.read(lambda connection: connection.execute(here.limit(1)).first())
        return 0 if some is None else self._database.write(work)  # seldom: writers stand in line

    # --- what came back -----------------------------------------------------------------------

    def made(self, sop_uid: str) -> SelfTest | None:
        """Return the self-test for which the node has made a SOP Instance UID, or None."""
        found = self._all(select(self_test).where(self_test.c.sop_instance_uid == sop_uid))
        return found[0] if found else None

    def recognise(self, test: SelfTest, digest: str, pixels: str) -> bool:
        """Tell whether a file that came under its UID holds its picture, and note it if so.

        Parameters
        ----------
        digest
            BLAKE3 of the file.
        pixels
            SHA-256 of the picture in it.
        """
        if not test.pixels or pixels != test.pixels:
            return False

        def work(connection: Connection) -> None:
            mine = self_test.c.id == test.id
            known = connection.execute(
                select(self_test.c.digests).where(mine).with_for_update()
            ).scalar_one()
            if digest not in known.split():
                both = f"{known} {digest}".strip()
                connection.execute(update(self_test).where(mine).values(digests=both))

        self._database.write(work)
        return True

    def images(self, among: Iterable[str] | None = None) -> frozenset[str]:
        """Return the SOP Instance UIDs of images that are self-tests', of all or of some."""
        some = None if among is None else list(among)
        return self._database.read(lambda connection: images_of(connection, some))

    def studies(self) -> frozenset[str]:
        """Return the studies that hold such images and no other."""

        def work(connection: Connection) -> frozenset[str]:
            mine = images_of(connection)
            made = select(self_test.c.study_instance_uid)
            rows = connection.execute(
                select(instance.c.study_instance_uid, instance.c.sop_instance_uid).where(
                    instance.c.study_instance_uid.in_(made)
                )
            ).all()
            others = {row[0] for row in rows if row[1] not in mine}
            return frozenset(row[0] for row in rows) - others

        return self._database.read(work)

    # --- questions ----------------------------------------------------------------------------

    def open(self) -> list[SelfTest]:
        """Return those that have not ended, oldest first."""
        return self._all(
            select(self_test).where(self_test.c.state.in_(OPEN)).order_by(self_test.c.id)
        )

    def newest(self, limit: int) -> list[SelfTest]:
        """Return the newest, the newest first."""
        return self._all(select(self_test).order_by(self_test.c.id.desc()).limit(limit))

    def last(self) -> SelfTest | None:
        """Return the newest that has ended, or None."""
        ended = select(self_test).where(self_test.c.state.in_(_ENDED))
        found = self._all(ended.order_by(self_test.c.ended_utc.desc()).limit(1))
        return found[0] if found else None

    def to_withdraw(self) -> list[SelfTest]:
        """Return those that the PACS may have, and has no note about, of the last days."""
        wanted = (
            self_test.c.sent_utc.is_not(None),
            self_test.c.withdrawn_utc.is_(None),
            self_test.c.ended_utc > self._now() - _TAKEN_BACK,
        )
        return self._all(select(self_test).where(*wanted).order_by(self_test.c.id))

    def reported(self, test: SelfTest) -> str | None:
        """Return the digest of the model set that reports on it, once its image has been read."""
        statement = select(job.c.model_set, job.c.due_utc).where(
            job.c.study_instance_uid == test.study_uid, job.c.kind == JobKind.REPORT
        )
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        return next((row.model_set for row in rows if row.due_utc != NEVER), None)

    def delivered(self, test: SelfTest, destination: str) -> tuple[datetime | None, frozenset[str]]:
        """Return when all of its results had reached a destination, and their UIDs there."""
        uid = test.study_uid

        def work(connection: Connection) -> tuple[datetime | None, frozenset[str]]:
            jobs = connection.execute(
                select(job.c.kind, job.c.state, job.c.finished_utc, job.c.destination).where(
                    job.c.study_instance_uid == uid
                )
            ).all()
            reports = [row for row in jobs if row.kind == JobKind.REPORT]
            mine = [
                row
                for row in jobs
                if row.kind == JobKind.DELIVER and row.destination == destination
            ]
            if not mine or any(row.state != JobState.DONE for row in [*reports, *mine]):
                return None, frozenset()
            said = connection.execute(
                select(audit.c.event, audit.c.sop_instance_uid, audit.c.detail).where(
                    audit.c.study_instance_uid == uid
                )
            ).all()
            taken = frozenset(
                row.sop_instance_uid
                for row in said
                if row.event == AuditEvent.OBJECT_DELIVERED
                and json.loads(row.detail).get("destination") == destination
            )
            return max(row.finished_utc for row in mine), taken

        return self._database.read(work)

    def _all(self, statement: Any) -> list[SelfTest]:
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        return [_to_test(row) for row in rows]


def _kept() -> Any:
    """Return the question for what came under the UIDs of self-tests."""
    return select(
        self_test.c.study_instance_uid,
        self_test.c.sop_instance_uid,
        self_test.c.digests,
        instance.c.digest,
        instance.c.study_instance_uid.label("came_in"),
    ).join(instance, instance.c.sop_instance_uid == self_test.c.sop_instance_uid)


def images_of(
    connection: Connection,
    among: list[str] | None = None,
    since_utc: datetime | None = None,
) -> frozenset[str]:
    """Return the SOP Instance UIDs of self-tests' images: all, of some, or since they were asked.

    One under whose UID anything else has come, or that came in another study, is none.
    """
    sent = select(self_test.c.sop_instance_uid)
    if among is not None:
        sent = sent.where(self_test.c.sop_instance_uid.in_(among))
    if since_utc is not None:
        sent = sent.where(self_test.c.asked_utc >= since_utc)
    uids = list(connection.execute(sent).scalars())
    rows: list[Any] = []
    for first in range(0, len(uids), _AT_ONCE):  # so that no engine walks through all images
        some = uids[first : first + _AT_ONCE]
        rows += connection.execute(_kept().where(instance.c.sop_instance_uid.in_(some))).all()
    foreign = {
        row.sop_instance_uid
        for row in rows
        if row.digest not in row.digests.split() or row.came_in != row.study_instance_uid
    }
    return frozenset(row.sop_instance_uid for row in rows) - foreign


def _record(
    event: AuditEvent, test: SelfTest, actor: str, outcome: Outcome = Outcome.OK, **more: str
) -> AuditRecord:
    detail = {"matter": test.matter, "day": test.day.isoformat(), "number": test.number, **more}
    return AuditRecord(
        event,
        outcome,
        actor=actor,
        study_instance_uid=test.study_uid,
        sop_instance_uid=test.sop_uid,
        accession_number=test.accession_number,
        detail=detail,
    )


def _to_test(row: Row[Any]) -> SelfTest:
    return SelfTest(
        id=row.id,
        day=date.fromisoformat(row.day),
        number=row.number,
        matter=row.matter,
        state=SelfTestState(row.state),
        asked_by=row.asked_by,
        asked_utc=row.asked_utc,
        study_uid=row.study_instance_uid,
        series_uid=row.series_instance_uid,
        sop_uid=row.sop_instance_uid,
        pixels=row.pixels,
        digests=tuple(row.digests.split()),
        sent_utc=row.sent_utc,
        came_utc=row.came_utc,
        read_utc=row.read_utc,
        said=row.said,
        is_right=row.is_right,
        delivered_utc=row.delivered_utc,
        seen_utc=row.seen_utc,
        ended_utc=row.ended_utc,
        why=row.why,
        withdrawn_utc=row.withdrawn_utc,
        not_withdrawn=row.not_withdrawn,
    )
