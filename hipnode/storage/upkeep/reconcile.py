"""Rows and files compared: a crash may leave one without the other.

A row is written only once its file is durable, so a row without a file means that somebody, or the
disk, has lost it: its reading is given up with that reason. A file without a row was never
acknowledged: the sender sends it again, and the file is put aside, from where it comes back by
itself once it has a row. A crash leaves few of either. Where there are many, something else is
wrong: nothing is moved, nothing given up, and a person is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, Row, Table, func, select

from hipnode.domain import JobKind, JobState
from hipnode.errors import LeaseLost
from hipnode.log import Event, get_logger
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import instance, job, result
from hipnode.storage.files.disk import INCOMING, YOUNG_S, FileStore
from hipnode.storage.files.names import digest_in, is_named_for
from hipnode.storage.ledger.jobs import to_job
from hipnode.storage.ledger.recovery import Recovery
from hipnode.storage.upkeep import faults

MISSING: Final = "the image's file is missing"
DAMAGED: Final = "the image's file is not the one that was received"
FEW: Final = 20
_SHARE: Final = 100
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was put right."""

    rows_without_file: int
    files_without_row: int
    abandoned: int  # half-received files deleted
    retired: int  # files deleted that retention had let go (a crash had kept them), or kept twice
    brought_back: int  # files that had been put aside, and have a row
    asks: str = ""  # what was left as it is, until a person says that it is right


class Reconciliation:
    """One comparison of rows and files.

    Parameters
    ----------
    database, recovery, files
        What is compared.
    now
        The moment.
    yes
        Whether a person has said that it is right, however much it is.
    """

    def __init__(
        self, database: Database, recovery: Recovery, files: FileStore, now: datetime, *, yes: bool
    ) -> None:
        self._database = database
        self._recovery = recovery
        self._files = files
        self._now = now
        self._yes = yes
        self._before_s = files.kept_now_s() - YOUNG_S
        self._asks: list[str] = []

    def run(self) -> Reconciled:
        """Compare, and put right what can be.

        Raises
        ------
        StorageUnavailable
            If the database or the disk cannot be used.
        """
        self._files.finish_deletions()
        back = self._bring_back()
        missing = self._give_up_missing()
        unknown, retired = self._look_at_files()
        done = Reconciled(
            missing, unknown, _delete_abandoned(self._files), retired, back, "; ".join(self._asks)
        )
        self._database.write(lambda c: faults.note(c, self._now, "files", done.asks))
        if done.asks or sum(astuple(done)[:-1]):
            self._say(done)
        return done

    def _say(self, done: Reconciled) -> None:
        log = get_logger(service="storage")
        told = log.error if done.asks else log.warning
        told(
            Event.RECONCILED,
            count=sum(astuple(done)[:-1]),
            reason=f"{done.rows_without_file} rows without file, "
            f"{done.files_without_row} files without row, {done.abandoned} half-received files, "
            f"{done.retired} files past their retention or kept twice, "
            f"{done.brought_back} files brought back{'; ' if done.asks else ''}{done.asks}",
        )

    def _is_much(self, count: int, of: int, what: str) -> bool:
        if self._yes or count <= max(FEW, of // _SHARE):
            return False
        self._asks.append(
            f"{count} of {of} {what}: nothing was done about them. Is it the right database, and"
            " are all files there? If so: `hipnode reconcile --yes`"
        )
        return True

    # --- what comes back ----------------------------------------------------------------------

    def _bring_back(self) -> int:
        """Move files to where their rows say that they are, and take up what was given up."""
        count = 0
        aside = self._files.aside()
        while page := list(islice(aside, _PAGE)):
            needed = self._needed([name for _, names in page for name in names])
            for now_at, names in page:
                for name in names:
                    if needed.get(name) and not self._files.exists(name):
                        self._files.bring_back(now_at, name)
                        count += 1
        take_up(self._database, self._recovery, self._files)
        return count

    # --- rows without files -------------------------------------------------------------------

    def _give_up_missing(self) -> int:
        """Quarantine the queued readings whose image is gone."""
        missing: list[Row[Any]] = []
        total = last = 0
        while rows := self._queued_after(last):
            total += len(rows)
            missing += [row for row in rows if not self._files.exists(row.path)]
            last = rows[-1].id
        if self._is_much(len(missing), total, "queued images have no file"):
            return 0
        count = 0
        for row in missing:
            try:
                self._recovery.quarantine(to_job(row), MISSING)
            except LeaseLost:
                continue  # a worker has it in hand, and will find out by itself
            count += 1
        return count

    def _queued_after(self, last: int) -> list[Row[Any]]:
        statement = (
            select(job, instance.c.path)
            .join(instance, job.c.instance_id == instance.c.id)
            .where(job.c.kind == JobKind.READ, job.c.state == JobState.QUEUED, job.c.id > last)
            .order_by(job.c.id)
            .limit(_PAGE)
        )
        return list(self._database.rows(statement))

    # --- files without rows -------------------------------------------------------------------

    def _look_at_files(self) -> tuple[int, int]:
        """Put files aside that no row knows, delete what only retired rows do; count both."""
        names = self._files.untouched_since(self._before_s)
        unknown: list[str] = []
        total = retired = 0
        while page := list(islice(names, _PAGE)):
            total += len(page)
            needed = self._needed(page)
            for name in page:
                if name not in needed:
                    unknown.append(name)
                elif not needed[name]:
                    retired += self._files.delete(name, unless_touched_since_s=self._before_s)
        twice = [name for name in unknown if self._is_kept_twice(name)]
        for name in twice:
            retired += self._files.delete(name, unless_touched_since_s=self._before_s)
        unknown = [name for name in unknown if name not in set(twice)]
        if self._is_much(len(unknown), total, "files have no row"):
            return 0, retired
        for name in unknown:
            self._files.put_aside(name)
        return len(unknown), retired

    def _needed(self, names: list[str]) -> dict[str, bool]:
        """Return of these paths those that rows know, and whether one of the rows needs it."""
        needed: dict[str, bool] = {}
        for table in (instance, result):
            for row in self._database.read(lambda c, t=table: _rows_of(c, t, names)):  # type: ignore[misc]
                needed[row.path] = needed.get(row.path, False) or row.retired_utc is None
        return needed

    def _is_kept_twice(self, name: str) -> bool:
        """Tell whether a row has the same content under another name: an earlier release's."""
        if not (digest := digest_in(name)):
            return False
        statement = select(instance.c.sop_instance_uid, instance.c.path).where(
            instance.c.digest.startswith(digest), instance.c.retired_utc.is_(None)
        )
        rows = self._database.rows(statement)
        return any(
            is_named_for(name, row.sop_instance_uid) and self._files.exists(row.path)
            for row in rows
        )


def take_up(database: Database, recovery: Recovery, files: FileStore) -> int:
    """Queue again what was given up for want of a file that is there by now; return how much."""
    given_up = database.read(_given_up)
    mended = {number for number, paths in given_up if all(map(files.exists, paths))}
    return recovery.requeue(mended, actor="housekeeper") if mended else 0


def _rows_of(connection: Connection, table: Table, names: list[str]) -> Sequence[Row[Any]]:
    columns: list[Any] = [table.c.path, table.c.retired_utc]
    return connection.execute(select(*columns).where(table.c.path.in_(names))).all()


def _given_up(connection: Connection) -> list[tuple[int, list[str]]]:
    """Return the jobs in quarantine for want of a file, each with the paths that it needs."""
    columns: list[Any] = [job.c.id, job.c.kind, job.c.study_instance_uid]
    columns.append(func.coalesce(instance.c.path, result.c.path).label("path"))
    statement = (
        select(*columns)
        .outerjoin(instance, job.c.instance_id == instance.c.id)
        .outerjoin(result, job.c.result_id == result.c.id)
        .where(job.c.state == JobState.QUARANTINED, job.c.error.in_(GIVEN_UP_FOR))
    )
    found = []
    for row in connection.execute(statement).all():
        paths = [row.path]
        if row.kind == JobKind.REPORT:
            of_study = select(instance.c.path).where(
                instance.c.study_instance_uid == row.study_instance_uid,
                instance.c.retired_utc.is_(None),
                instance.c.action == "read",
            )
            paths = list(connection.execute(of_study).scalars())
        if all(paths):
            found.append((row.id, paths))
    return found


GIVEN_UP_FOR: Final = (MISSING, DAMAGED, "The result's file is gone.")
"""What a job in quarantine says that goes on once the file is there."""


def _delete_abandoned(files: FileStore) -> int:
    """Delete what was half received when its listener died, and old views, which nobody misses."""
    count, now_s = 0, files.now_s()
    for path in files.files(INCOMING):
        try:
            if now_s - path.stat().st_mtime > YOUNG_S:
                path.unlink()
                count += path.parent != files.views_folder
        except FileNotFoundError:
            continue
    return count
