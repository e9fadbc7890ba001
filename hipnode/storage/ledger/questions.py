"""What can be asked of the ledger. Nothing here writes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, func, select, text

from hipnode.domain import (
    AuditEvent,
    CommitmentState,
    Header,
    Instance,
    Job,
    JobKind,
    JobState,
    Result,
    ResultKind,
)
from hipnode.storage.audit.days import count_of
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import (
    commitment,
    destination,
    instance,
    job,
    result,
    study,
)
from hipnode.storage.ledger.arrivals import header_adapter
from hipnode.storage.ledger.jobs import IS_CLAIMED, IS_DELIVER, IS_QUARANTINED, IS_QUEUED, to_job
from hipnode.storage.ledger.readings import to_instance


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What the ledger knows of a study."""

    study_instance_uid: str
    patient_id: str
    accession_number: str
    received_utc: datetime
    last_received_utc: datetime


@dataclass(frozen=True, slots=True)
class DestinationState:
    """How a destination is doing."""

    name: str
    waiting: int
    last_delivery_utc: datetime | None
    away_since_utc: datetime | None
    paused_until_utc: datetime | None
    error: str
    uncommitted: int = 0  # delivered, and the destination has not committed to them yet
    committed: int = 0
    rejects: bool = False  # it is there, and rejects our associations
    oldest_waiting_utc: datetime | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """The queue at a glance."""

    jobs: Mapping[tuple[JobKind, JobState], int]
    oldest_queued_utc: Mapping[JobKind, datetime]
    destinations: tuple[DestinationState, ...]
    instances: int
    free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """Where every image that was received has got to. The parts add up to ``received``."""

    received: int  # duplicates, which change nothing, not counted
    discarded: int  # by rule
    kept: int  # by rule, unread
    waiting: int  # a reading, a report or a delivery is open
    quarantined: int  # a reading, its report or a delivery was given up
    delivered: int  # and, where that is asked for, not yet committed to
    committed: int  # delivered, and every destination that is asked has committed to all of it
    recorded: int  # reported to the audit log alone, or to no destination


_LONG_S: Final = 0.05
_FOR_S: Final = 60.0
"""What takes so long to count is counted once in so many seconds."""
_AT_ONCE: Final = 500
"""Values in one statement: engines have limits."""
_FEW: Final = {
    JobState.QUEUED: IS_QUEUED,
    JobState.CLAIMED: IS_CLAIMED,
    JobState.QUARANTINED: IS_QUARANTINED,
}
"""Of these there are few beside those that are done, and each has an index of its own."""
_UNCOMMITTED: Final = (CommitmentState.WANTED, CommitmentState.ASKED, CommitmentState.FAILED)


class Lookups:
    """What is known of images, studies, jobs and results.

    Parameters
    ----------
    database
        Where the ledger is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: tuple[float, _Finished] | None = None

    def instance(self, instance_id: int) -> Instance:
        """Return a stored image.

        Raises
        ------
        KeyError
            If there is none with this id.
        """
        row = self._one(select(instance).where(instance.c.id == instance_id))
        return to_instance(row)

    def headers(self, sop_instance_uids: Sequence[str]) -> dict[str, Header]:
        """Return the headers of images, by SOP Instance UID; of several contents the newest."""
        found: dict[str, Header] = {}
        for start in range(0, len(sop_instance_uids), _AT_ONCE):
            some = sop_instance_uids[start : start + _AT_ONCE]
            columns = instance.c.sop_instance_uid, instance.c.header
            wanted = select(*columns).where(instance.c.sop_instance_uid.in_(some))
            for row in self._database.rows(wanted.order_by(instance.c.id)):
                found[row.sop_instance_uid] = header_adapter().validate_json(row.header)
        return found

    def instances(self, study_uid: str) -> list[Instance]:
        """Return the images of a study, in the order in which they came."""
        statement = select(instance).where(instance.c.study_instance_uid == study_uid)
        return [to_instance(row) for row in self._database.rows(statement.order_by(instance.c.id))]

    def study(self, study_uid: str) -> StudyFacts:
        """Return a study.

        Raises
        ------
        KeyError
            If there is none with this UID.
        """
        row = self._one(select(study).where(study.c.study_instance_uid == study_uid))
        return StudyFacts(
            row.study_instance_uid,
            row.patient_id,
            row.accession_number,
            row.received_utc,
            row.last_received_utc,
        )

    def rejected(self, study_uid: str) -> dict[str, str]:
        """Return the images of a study that have been taken back: code by SOP Instance UID."""
        statement = select(instance.c.sop_instance_uid, instance.c.action).where(
            instance.c.study_instance_uid == study_uid, instance.c.action.not_in(("read", "keep"))
        )
        return {row.sop_instance_uid: row.action for row in self._database.rows(statement)}

    def receivers(self, results: Iterable[Result]) -> set[str]:
        """Return the destinations that any of these objects has been meant for."""
        statement = select(job.c.destination).where(job.c.result_id.in_([r.id for r in results]))
        return {row.destination for row in self._database.rows(statement.distinct())}

    def job(self, job_id: int) -> Job:
        """Return a job as it stands.

        Raises
        ------
        KeyError
            If there is none with this id.
        """
        return to_job(self._one(select(job).where(job.c.id == job_id)))

    def jobs(
        self,
        *,
        kind: JobKind | None = None,
        state: JobState | None = None,
        study_uid: str | None = None,
        destination: str | None = None,
        limit: int = 1000,
    ) -> list[Job]:
        """Return the jobs that fit all that is given, oldest first."""
        wanted = {"kind": kind, "study_instance_uid": study_uid, "destination": destination}
        conditions = [job.c[name] == value for name, value in wanted.items() if value is not None]
        order: ColumnElement[int] = job.c.id
        if state in _FEW:
            conditions.append(_FEW[state])
            order = job.c.id + 0  # ordered by the key itself, SQLite reads every job there is
        elif state is not None:
            conditions.append(job.c.state == state)
        statement = select(job).where(*conditions).order_by(order).limit(limit)
        return [to_job(row) for row in self._database.rows(statement)]

    def result(self, result_id: int) -> Result:
        """Return an object that was made.

        Raises
        ------
        KeyError
            If there is none with this id.
        """
        return _to_result(self._one(select(result).where(result.c.id == result_id)))

    def results(
        self, study_uid: str, *, model_set: str | None = None, version: int | None = None
    ) -> list[Result]:
        """Return what was made for a study, in the order in which it was made."""
        statement = select(result).where(result.c.study_instance_uid == study_uid)
        if model_set is not None:
            statement = statement.where(result.c.model_set == model_set)
        if version is not None:
            statement = statement.where(result.c.version == version)
        return [_to_result(row) for row in self._database.rows(statement.order_by(result.c.id))]

    def _one(self, statement: Any) -> Row[Any]:
        rows = self._database.rows(statement)
        if not rows:
            raise KeyError("there is no such row in the ledger")
        return rows[0]

    def predecessors(self, report: Job) -> list[Result]:
        """Return the objects of the newest version before this one (none for the first)."""
        earlier = [
            r
            for r in self.results(report.study_instance_uid, model_set=report.model_set)
            if r.version < (report.version or 0)
        ]
        newest = max((r.version for r in earlier), default=0)
        return [r for r in earlier if r.version == newest]

    # --- at a glance --------------------------------------------------------------------------

    def overview(self) -> Overview:
        """Return counts by kind and state, the oldest waiting job, and each destination's state.

        Where it takes long to count what is finished, those counts are up to a minute old.
        """
        return self._database.read(lambda c: _overview(c, self._counted(c)))

    def _counted(self, connection: Connection) -> _Finished:
        begun_s = time.monotonic()
        if self._known is not None and begun_s < self._known[0]:
            return self._known[1]
        found = _finished(connection)
        took_s = time.monotonic() - begun_s
        self._known = (begun_s + (_FOR_S if took_s > _LONG_S else 0.0), found)
        return found

    def account(self) -> Account:
        """Return where every received image has got to. It reads every row: not for hot paths."""
        return self._database.read(_account)


def _to_result(row: Row[Any]) -> Result:
    return Result(
        id=row.id,
        kind=ResultKind(row.kind),
        study_instance_uid=row.study_instance_uid,
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        path=row.path,
        sha256=row.sha256,
        version=row.version,
        destination=row.destination,
    )


def _overview(connection: Connection, finished: _Finished) -> Overview:
    counts = dict(finished.jobs)
    for open_ in (IS_QUEUED, IS_CLAIMED, IS_QUARANTINED):  # each by its partial index
        grouped = select(job.c.kind, job.c.state, func.count()).where(open_)
        for kind, state, count in connection.execute(grouped.group_by(job.c.kind, job.c.state)):
            counts[JobKind(kind), JobState(state)] = count
    oldest = connection.execute(
        select(job.c.kind, func.min(job.c.created_utc)).where(IS_QUEUED).group_by(job.c.kind)
    ).all()
    lengths: Counter[str] = Counter()
    oldest_of: dict[str, datetime] = {}
    for open_ in (IS_QUEUED, IS_CLAIMED):
        waiting = select(job.c.destination, func.count(), func.min(job.c.created_utc)).where(
            open_, IS_DELIVER
        )
        for name, count, first in connection.execute(waiting.group_by(job.c.destination)):
            lengths[name] += count
            oldest_of[name] = min(first, oldest_of.get(name, first))
    promises = connection.execute(_by_destination.where(_IS_OPEN)).all()
    promised = dict(finished.promises) | {(name, state): n for name, state, n in promises}
    places = connection.execute(select(destination).order_by(destination.c.name)).all()
    return Overview(
        jobs=counts,
        oldest_queued_utc={JobKind(kind): moment for kind, moment in oldest},
        destinations=tuple(
            DestinationState(
                row.name,
                lengths[row.name],
                row.last_delivery_utc,
                row.away_since_utc,
                row.paused_until_utc,
                row.error,
                uncommitted=sum(promised.get((row.name, state), 0) for state in _UNCOMMITTED),
                committed=promised.get((row.name, CommitmentState.COMMITTED), 0),
                rejects=row.rejects,
                oldest_waiting_utc=oldest_of.get(row.name),
            )
            for row in places
        ),
        instances=finished.instances,
    )


@dataclass(frozen=True, slots=True)
class _Finished:
    """How much there is of what does not wait: to count it, all of it is walked through."""

    jobs: Mapping[tuple[JobKind, JobState], int]
    promises: Mapping[tuple[str, str], int]
    instances: int


def _finished(connection: Connection) -> _Finished:
    grouped = select(job.c.kind, job.c.state, func.count()).where(
        job.c.state.in_((JobState.DONE, JobState.SUPERSEDED))
    )
    jobs = connection.execute(grouped.group_by(job.c.kind, job.c.state))
    promises = connection.execute(_by_destination.where(commitment.c.state.not_in(_OPEN)))
    return _Finished(
        {(JobKind(kind), JobState(state)): count for kind, state, count in jobs},
        {(name, state): count for name, state, count in promises},
        connection.execute(select(func.count()).select_from(instance)).scalar() or 0,
    )


_OPEN: Final = (CommitmentState.WANTED, CommitmentState.ASKED)
_IS_OPEN: Final = text("state IN ('wanted', 'asked')")  # in so many words: its partial index
_by_destination: Final = select(
    commitment.c.destination, commitment.c.state, func.count()
).group_by(commitment.c.destination, commitment.c.state)


def _account(connection: Connection) -> Account:
    discarded = count_of(connection, AuditEvent.INSTANCE_DISCARDED)
    open_states = (JobState.QUEUED, JobState.CLAIMED)
    names = ("kept", "waiting", "quarantined", "delivered", "committed", "recorded")
    ends = dict.fromkeys(names, 0)
    promises: dict[str, set[str]] = {}
    asked = select(commitment.c.study_instance_uid, commitment.c.state)
    for study_uid, state in connection.execute(asked).all():
        promises.setdefault(study_uid, set()).add(state)
    work: dict[str, list[Row[Any]]] = {}
    for row in connection.execute(select(job)).all():
        work.setdefault(row.study_instance_uid, []).append(row)
    images = connection.execute(select(instance)).all()
    for image in images:
        mine = [
            row
            for row in work.get(image.study_instance_uid, [])
            if row.kind != JobKind.READ or row.instance_id == image.id
        ]
        reads = [row for row in mine if row.kind == JobKind.READ]
        deliveries = [row for row in mine if row.kind == JobKind.DELIVER]
        states = {row.state for row in mine}
        if not reads:
            ends["kept"] += 1
        elif states & set(open_states):
            ends["waiting"] += 1
        elif JobState.QUARANTINED in states:
            ends["quarantined"] += 1
        elif any(row.state == JobState.DONE for row in deliveries):
            promise = promises.get(image.study_instance_uid)
            ends["committed" if promise == {CommitmentState.COMMITTED} else "delivered"] += 1
        else:
            ends["recorded"] += 1
    return Account(received=len(images) + (discarded or 0), discarded=discarded or 0, **ends)
