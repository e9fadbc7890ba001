"""What people say of what the node said. Each is on the audit log in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, literal, select, tuple_

from hipnode.domain import AuditRecord
from hipnode.domain.opinions import Feedback, Opinion, OpinionSource
from hipnode.storage.audit.entries import append
from hipnode.storage.database.engine import Database
from hipnode.storage.database.opinions import feedback
from hipnode.storage.database.schema import Moment

Place = tuple[datetime, int]


class Opinions:
    """What was said; nothing is ever taken back, the newest counts.

    Parameters
    ----------
    database
        Where the rows are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, given: Sequence[Feedback], records: Sequence[AuditRecord]) -> None:
        """Keep what somebody says, and put it on the audit log; both or neither."""
        rows = [
            {
                column.name: getattr(each, column.name)
                for column in feedback.c
                if column.name != "id"
            }
            for each in given
        ]

        def work(connection: Connection) -> None:
            connection.execute(insert(feedback), rows)
            append(connection, given[0].given_utc, records)

        if rows:
            self._database.write(work)

    def of_study(self, uid: str) -> list[Feedback]:
        """Return all that was said of a study, oldest first."""
        statement = (
            select(feedback)
            .where(feedback.c.study_instance_uid == uid)
            .order_by(feedback.c.id)
            .limit(1000)
        )
        return [_feedback(row) for row in self._all(statement)]

    def disagreements(self, before: Place | None = None, limit: int = 50) -> list[Feedback]:
        """Return where somebody disagreed, the newest first."""
        statement = select(feedback).where(feedback.c.opinion == Opinion.DISAGREE.value)
        if before is not None:
            place = tuple_(feedback.c.given_utc, feedback.c.id)
            statement = statement.where(
                place < tuple_(literal(before[0], Moment), literal(before[1]))
            )
        ordered = statement.order_by(feedback.c.given_utc.desc(), feedback.c.id.desc())
        return [_feedback(row) for row in self._all(ordered.limit(limit))]

    def since(self, moment: datetime, limit: int = 100_000) -> list[Feedback]:
        """Return what was said since then, oldest first; of each hip and question the newest."""
        statement = (
            select(feedback)
            .where(feedback.c.given_utc >= moment)
            .order_by(feedback.c.given_utc.desc(), feedback.c.id.desc())
            .limit(limit)
        )
        newest: dict[tuple[str, str, str], Feedback] = {}
        for row in reversed(self._all(statement)):
            newest[row.study_instance_uid, row.side, row.task] = _feedback(row)
        return list(newest.values())

    def _all(self, statement: Any) -> list[Any]:
        return list(self._database.read(lambda connection: connection.execute(statement).all()))


def _feedback(row: Any) -> Feedback:
    return Feedback(
        study_instance_uid=row.study_instance_uid,
        side=row.side,
        task=row.task,
        opinion=Opinion(row.opinion),
        said=row.said,
        truth=row.truth,
        model=row.model,
        model_version=row.model_version,
        model_digest=row.model_digest,
        source=OpinionSource(row.source),
        given_by=row.given_by,
        given_utc=row.given_utc,
        comment=row.comment,
        id=row.id,
    )
