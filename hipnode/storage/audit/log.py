"""The audit log: who sent what, what was read with which models, what went where.

Rows are only ever added, each with its own hash; `seal` beside this chains them. What is done
to the audit log itself, a query included, is on the audit log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, select

from hipnode.domain import AuditEvent, AuditRecord, Outcome
from hipnode.errors import InputRefused, StorageUnavailable
from hipnode.storage.audit import archives, days
from hipnode.storage.audit.archives import Archive
from hipnode.storage.audit.days import DayCount
from hipnode.storage.audit.entries import append, given
from hipnode.storage.audit.epochs import AuditFault, Epoch
from hipnode.storage.audit.heads import Head
from hipnode.storage.audit.keys import Keys
from hipnode.storage.audit.report import VerifyReport, named
from hipnode.storage.audit.seal import AuditState, Sealer
from hipnode.storage.audit.verify import Verification
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import audit

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A row as it stands in the audit log."""

    id: int
    at_utc: datetime
    record: AuditRecord
    row_hash: str


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows are wanted: all that is given must fit."""

    since_utc: datetime | None = None  # inclusive
    until_utc: datetime | None = None  # exclusive
    accession_number: str | None = None
    patient_id: str | None = None
    study_instance_uid: str | None = None
    ae_title: str | None = None
    event: AuditEvent | None = None
    outcome: Outcome | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the filter as SQL."""
        wanted = []
        if self.since_utc is not None:
            wanted.append(audit.c.at_utc >= self.since_utc)
        if self.until_utc is not None:
            wanted.append(audit.c.at_utc < self.until_utc)
        for name in ("accession_number", "patient_id", "study_instance_uid", "ae_title"):
            if (value := getattr(self, name)) is not None:
                wanted.append(audit.c[name] == value)
                if value:
                    wanted.append(audit.c[name] != "")  # so that the partial index is used
        if self.event is not None:
            wanted.append(audit.c.event == self.event)
        if self.outcome is not None:
            wanted.append(audit.c.outcome == self.outcome)
            if self.outcome is not Outcome.OK:
                wanted.append(audit.c.outcome != Outcome.OK)
        return wanted

    def described(self) -> dict[str, str]:
        """Return what was asked for, without what identifies a patient."""
        given = {
            "since_utc": self.since_utc and self.since_utc.isoformat(),
            "until_utc": self.until_utc and self.until_utc.isoformat(),
            "ae_title": self.ae_title,
            "event": self.event,
            "outcome": self.outcome,
        }
        return {name: str(value) for name, value in given.items() if value is not None}


def as_entry(row: Row[Any]) -> AuditEntry:
    """Return a row of the table."""
    record = AuditRecord(
        event=AuditEvent(row.event),
        outcome=Outcome(row.outcome),
        actor=row.actor,
        study_instance_uid=row.study_instance_uid,
        sop_instance_uid=row.sop_instance_uid,
        patient_id=row.patient_id,
        accession_number=row.accession_number,
        ae_title=row.ae_title,
        job_id=row.job_id,
        detail=json.loads(row.detail),
    )
    return AuditEntry(row.id, row.at_utc, record, row.row_hash)


class AuditLog:
    """The audit log of one node.

    Parameters
    ----------
    database
        Where it is.
    keeper
        What seals and verifies it.
    now
        The clock.
    archives
        Where the files are that records were taken out to.
    """

    def __init__(
        self, database: Database, keeper: Sealer, now: Callable[[], datetime], archives: Path
    ) -> None:
        self._database = database
        self._keeper = keeper
        self._now = now
        self._archives = archives

    def append(self, record: AuditRecord) -> None:
        """Add a record and return once it is durable.

        Raises
        ------
        StorageUnavailable
            If it could not be written.
        """
        now = self._now()
        self._database.write(lambda connection: append(connection, now, [record]))

    def query(
        self,
        wanted: AuditFilter,
        *,
        actor: str,
        limit: int | None = 1000,
        newest_first: bool = True,
    ) -> Iterator[AuditEntry]:
        """Yield the matching rows. That it was asked is audited before the first is read.

        Parameters
        ----------
        wanted
            Which rows.
        actor
            Who asks: the operating system's user.
        limit
            As many rows at most; None for all (they are read page by page).
        newest_first
            The order.
        """
        self.append(
            AuditRecord(
                AuditEvent.AUDIT_QUERIED,
                actor=actor,
                study_instance_uid=wanted.study_instance_uid or "",
                patient_id=wanted.patient_id or "",
                accession_number=wanted.accession_number or "",
                detail={"filter": wanted.described(), "limit": limit},
            )
        )
        yield from self._pages(wanted, limit, newest_first)

    def get(self, entry_id: int, *, actor: str) -> AuditEntry | None:
        """Return one row, or None; that it was asked for is audited."""
        self.append(
            AuditRecord(AuditEvent.AUDIT_QUERIED, actor=actor, detail={"entry_id": entry_id})
        )
        statement = select(audit).where(audit.c.id == entry_id)
        row = self._database.read(lambda connection: connection.execute(statement).first())
        return None if row is None else as_entry(row)

    def _pages(
        self, wanted: AuditFilter, limit: int | None, newest_first: bool
    ) -> Iterator[AuditEntry]:
        conditions = wanted.conditions()
        left = limit
        last: AuditEntry | None = None
        while left is None or left > 0:
            statement = select(audit).where(*conditions)
            if newest_first:
                statement = statement.order_by(audit.c.at_utc.desc(), audit.c.id.desc())
            else:
                statement = statement.order_by(audit.c.at_utc, audit.c.id)
            if last is not None:
                statement = statement.where(_beyond(last, newest_first))
            size = _PAGE if left is None else min(_PAGE, left)
            rows = self._page(statement.limit(size))
            for row in rows:
                last = as_entry(row)
                yield last
            if len(rows) < size:
                return
            left = None if left is None else left - size

    def _page(self, statement: Any) -> Sequence[Row[Any]]:
        return self._database.read(lambda connection: connection.execute(statement).all())

    def seal(self) -> int:
        """Seal what has been written since the last time, and count it; return how many rows."""
        sealed = self._keeper.seal(self._now())
        while self._database.write(days.count):
            pass
        return sealed

    def days(self, number: int, *, actor: str) -> list[DayCount]:
        """Return how often what happened on each of the newest days (UTC), oldest first."""
        self.append(AuditRecord(AuditEvent.AUDIT_QUERIED, actor=actor, detail={"days": number}))
        now = self._now()
        return self._database.read(lambda connection: days.days(connection, now, number))

    def keys(self) -> Keys:
        """Return the log's key.

        Raises
        ------
        StorageUnavailable
            If it is not here.
        """
        if self._keeper.keys is None:
            raise StorageUnavailable("The audit log's key is not here.")
        return self._keeper.keys

    def archived(self) -> list[Archive]:
        """Return what has been taken out of the log, the first archive first."""
        return self._database.read(archives.every)

    def take_key(self, keys: Keys) -> None:
        """Seal with another key from now on."""
        self._keeper.keys = keys

    def state(self) -> AuditState:
        """Return what is known of the log without reading all of it."""
        return self._keeper.state()

    def head(self) -> Head | None:
        """Return the log's newest head, signed, for those who keep it elsewhere."""
        return self._keeper.head()

    def verify(self, *, actor: str = "") -> AuditFault | None:
        """Verify the log as `report` does; return the first fault, or None."""
        return self.report(actor=actor).fault

    def report(self, *, actor: str = "", against: Sequence[Head] = ()) -> VerifyReport:
        """Recompute every hash, the trees and the heads, and name all that is wrong. It is audited.

        Parameters
        ----------
        actor
            Who asks.
        against
            Heads that were kept elsewhere: the log must go on from each.
        """
        report = Verification(self._database, self._keeper, against, self._archives).run()
        if self._keeper.keys is not None:
            self.append(
                AuditRecord(
                    AuditEvent.AUDIT_VERIFIED,
                    Outcome.OK if report.fault is None else Outcome.FAILED,
                    actor=actor,
                    detail=report.detail(),
                )
            )
        return report

    def acknowledge(self, *, actor: str, reason: str) -> Epoch:
        """Begin another epoch, in writing: what is wrong by now stays named, and the log goes on.

        Parameters
        ----------
        actor
            Who does so.
        reason
            Why, in their words.

        Raises
        ------
        InputRefused
            If nothing is wrong, or no reason is given.
        """
        report = Verification(self._database, self._keeper, folder=self._archives).run()
        if not report.faults:
            raise InputRefused("Nothing is wrong with the audit log that nobody has acknowledged.")
        return self.begin_epoch(
            AuditEvent.AUDIT_ACKNOWLEDGED,
            actor=actor,
            reason=reason,
            faults=(*report.acknowledged, *report.faults),
        )

    def begin_epoch(
        self, event: AuditEvent, *, actor: str, reason: str, faults: Sequence[AuditFault]
    ) -> Epoch:
        """Begin another epoch because of what ``event`` says; see `acknowledge`."""
        now, reason = self._now(), given(reason)

        def work(connection: Connection) -> Epoch:
            begun = self._keeper.begin_epoch(
                connection, now, actor=actor, reason=reason, faults=faults
            )
            detail = {"epoch": begun.id, "reason": begun.reason, "given_up": len(begun.given_up)}
            record = AuditRecord(event, actor=actor, detail=detail | named(faults))
            append(connection, now, [record])
            return begun

        begun = self._database.write(work)
        self._keeper.replace_heads()
        self.seal()
        return begun


def _beyond(last: AuditEntry, newest_first: bool) -> ColumnElement[bool]:
    at, number = audit.c.at_utc, audit.c.id
    if newest_first:
        return (at < last.at_utc) | ((at == last.at_utc) & (number < last.id))
    return (at > last.at_utc) | ((at == last.at_utc) & (number > last.id))
