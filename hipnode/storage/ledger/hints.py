"""How the PostgreSQL dispatcher hears of work: rows of procrastinate's table, in our transaction.

A read or a report has one nudge at most, which carries its id; a destination has one at most, which
says that its outbox should be looked at. A nudge is a hint: the ledger decides, and a repeated or
late one finds that there is nothing to do.

The table is that of procrastinate 3.10, which the migrations create; its version is pinned.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, select, text

from hipnode.domain import JobKind
from hipnode.storage.database.schema import EPOCH, NEVER, destination, job, to_us
from hipnode.storage.ledger.jobs import IS_QUEUED, next_in_line, outbox_head

RUN: Final = "hipnode.run"
LOOK: Final = "hipnode.look"
_SILENT_S: Final = 30.0  # procrastinate's own patience; its heart beats every 10 s
_BASE_S: Final = 1_767_225_600  # 2026-01-01: so that the order fits procrastinate's 32-bit priority

_PUT: Final = text(
    """
    WITH put AS (
        INSERT INTO procrastinate_jobs
            (queue_name, task_name, priority, queueing_lock, args, scheduled_at)
        VALUES
            (:queue, :task, :priority, :lock, CAST(:args AS jsonb), :at)
        ON CONFLICT (queueing_lock) WHERE status = 'todo' DO UPDATE
            SET priority = EXCLUDED.priority, scheduled_at = EXCLUDED.scheduled_at
        RETURNING id, xmax <> 0 AS moved
    )
    SELECT pg_notify(
        'procrastinate_queue_v1#' || :queue,
        json_build_object('type', 'job_inserted', 'job_id', id)::text
    ) FROM put WHERE moved
    """
)


def queue_name(kind: JobKind, destination: str = "") -> str:
    """Return the name of procrastinate's queue for a kind of job, or for a destination."""
    return f"{kind}#{destination}" if kind is JobKind.DELIVER else kind.value


class Nudger:
    """Writes nudges.

    Parameters
    ----------
    ageing_s
        Waiting this long counts as one step of priority.
    """

    def __init__(self, ageing_s: float) -> None:
        self._ageing = timedelta(seconds=ageing_s)

    def __call__(self, connection: Connection, row: Row[Any]) -> None:
        """Nudge the dispatcher about a queued job, or about the outbox that a delivery is in."""
        if row.kind == JobKind.DELIVER:
            self._look(connection, row.destination)
        elif row.due_utc != NEVER:
            queue = queue_name(JobKind(row.kind))
            urgency = self._urgency(row.due_utc, row.priority)
            arguments = {"job_id": row.id}
            _put(connection, queue, RUN, urgency, f"job:{row.id}", arguments, row.due_utc)

    def _look(self, connection: Connection, name: str) -> None:
        head = outbox_head(connection, name)
        if head is None:
            return
        # Also while a delivery is under way: its end may be committed without having seen the head.
        paused_until = connection.execute(
            select(destination.c.paused_until_utc).where(destination.c.name == name)
        ).scalar()
        at = max(head.due_utc, paused_until or EPOCH)
        queue = queue_name(JobKind.DELIVER, name)
        arguments = {"destination": name}
        _put(connection, queue, LOOK, 0, f"outbox:{name}", arguments, at)

    def _urgency(self, due: datetime, priority: int) -> int:
        """Return procrastinate's priority (higher first): the same order as `Queue.heads`."""
        order_s = to_us(due - priority * self._ageing) // 1_000_000
        return max(-(2**31), min(2**31 - 1, _BASE_S - order_s))

    def sweep(self, connection: Connection) -> int:
        """Nudge again where a dispatcher died between hearing of a job and claiming it.

        A worker of procrastinate's whose heart stopped beating is forgotten here (procrastinate
        itself does so only when another one starts); the hints that it held are deleted, and given
        anew where their job still waits. Returns how many those were.
        """
        connection.execute(_FORGET, {"silent_s": _SILENT_S})
        orphans = connection.execute(_ORPHANS).all()
        for orphan in orphans:
            connection.execute(
                text("DELETE FROM procrastinate_jobs WHERE id = :id"), {"id": orphan.id}
            )
            if orphan.task_name == LOOK:
                self._look(connection, orphan.args["destination"])
                continue
            waiting = select(job).where(job.c.id == orphan.args["job_id"], IS_QUEUED)
            if (row := connection.execute(waiting).first()) is not None:
                self(connection, row)
        return len(orphans) + self._look_again(connection)

    def _look_again(self, connection: Connection) -> int:
        """Nudge where an outbox waits and nobody has been told; return how many those were."""
        names = connection.execute(_OUTBOXES_UNHEARD).scalars().all()
        heads = [head for name in names if (head := next_in_line(connection, name)) is not None]
        for head in heads:
            self(connection, head)
        return len(heads)

    def restore(self, connection: Connection) -> int:
        """Nudge for each read and report that waits unheard; return how many. Reads the backlog."""
        rows = connection.execute(_UNHEARD).all()
        for row in rows:
            self(connection, row)
        return len(rows)


_FORGET: Final = text("SELECT procrastinate_prune_stalled_workers_v1(:silent_s)")
_ORPHANS: Final = text(
    "SELECT id, task_name, args FROM procrastinate_jobs "
    "WHERE (status = 'doing' AND worker_id IS NULL) OR status = 'failed' "
    "LIMIT 1000 FOR UPDATE SKIP LOCKED"
)
_NO_HINT: Final = (
    "NOT EXISTS (SELECT 1 FROM procrastinate_jobs AS hint"
    " WHERE hint.status = 'todo' AND hint.queueing_lock = {})"
)
_OUTBOXES_UNHEARD: Final = select(destination.c.name).where(
    text(_NO_HINT.format("'outbox:' || destination.name"))
)
_UNHEARD: Final = (
    select(job)
    .where(
        IS_QUEUED,
        job.c.kind != JobKind.DELIVER,
        job.c.due_utc < NEVER,
        text(_NO_HINT.format("'job:' || job.id")),
    )
    .limit(10_000)
)


def _put(
    connection: Connection,
    queue: str,
    task: str,
    priority: int,
    lock: str,
    arguments: dict[str, Any],
    at: datetime,
) -> None:
    connection.execute(
        _PUT,
        {
            "queue": queue,
            "task": task,
            "priority": priority,
            "lock": lock,
            "args": json.dumps(arguments),
            "at": at,
        },
    )
