"""Rows and files compared at start: a crash may leave one without the other.

A row is written only once its file is durable, so a row without a file means that somebody, or the
disk, has lost it: its reading is given up with that reason. A file without a row was never
acknowledged: the sender sends it again, and the file is put aside for a person to look at. A file
that retention had let go when the crash came is deleted.
"""

from __future__ import annotations

import time
from dataclasses import astuple, dataclass
from itertools import islice
from typing import Final

from sqlalchemy import select

from hipnode.domain import JobKind, JobState
from hipnode.errors import LeaseLost
from hipnode.log import Event, get_logger
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import instance, job, result
from hipnode.storage.files.disk import INCOMING, YOUNG_S, FileStore
from hipnode.storage.ledger.jobs import to_job
from hipnode.storage.ledger.ledger import Ledger

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was put right."""

    rows_without_file: int
    files_without_row: int
    abandoned: int  # half-received files deleted
    retired: int  # files deleted that retention had let go: a crash had kept them


def reconcile(database: Database, ledger: Ledger, files: FileStore) -> Reconciled:
    """Compare rows and files, and put right what can be.

    Raises
    ------
    StorageUnavailable
        If the database or the disk cannot be used.
    """
    missing = _give_up_missing(database, ledger, files)
    unknown, retired = _look_at_files(database, files)
    done = Reconciled(missing, unknown, _delete_abandoned(files), retired)
    if count := sum(astuple(done)):
        get_logger(service="storage").warning(
            Event.RECONCILED,
            count=count,
            reason=f"{done.rows_without_file} rows without file, "
            f"{done.files_without_row} files without row, {done.abandoned} half-received files, "
            f"{done.retired} files past their retention",
        )
    return done


def _give_up_missing(database: Database, ledger: Ledger, files: FileStore) -> int:
    """Quarantine the queued readings whose image is gone."""
    count = last = 0
    while True:
        statement = (
            select(job, instance.c.path)
            .join(instance, job.c.instance_id == instance.c.id)
            .where(job.c.kind == JobKind.READ, job.c.state == JobState.QUEUED, job.c.id > last)
            .order_by(job.c.id)
            .limit(_PAGE)
        )
        rows = database.read(lambda c, s=statement: c.execute(s).all())  # type: ignore[misc]
        if not rows:
            return count
        for row in rows:
            if not files.exists(row.path):
                try:
                    ledger.quarantine(to_job(row), "the image's file is missing")
                except LeaseLost:
                    continue  # a worker has it in hand, and will find out by itself
                count += 1
        last = rows[-1].id


def _look_at_files(database: Database, files: FileStore) -> tuple[int, int]:
    """Put files aside that no row knows, and delete what only retired rows do; count both."""
    before_s = time.time() - YOUNG_S
    names = files.untouched_since(before_s)
    unknown = retired = 0
    while page := list(islice(names, _PAGE)):
        needed: dict[str, bool] = {}
        for table in (instance, result):
            statement = select(table.c.path, table.c.retired_utc).where(table.c.path.in_(page))
            for row in database.read(lambda c, s=statement: c.execute(s).all()):  # type: ignore[misc]
                needed[row.path] = needed.get(row.path, False) or row.retired_utc is None
        for name in page:
            if name not in needed:
                files.put_aside(name)
                unknown += 1
            elif not needed[name]:
                retired += files.delete(name, unless_touched_since_s=before_s)
    return unknown, retired


def _delete_abandoned(files: FileStore) -> int:
    """Delete what was half received when its listener died, and old views, which nobody misses."""
    count = 0
    for path in files.files(INCOMING):
        try:
            if time.time() - path.stat().st_mtime > YOUNG_S:
                path.unlink()
                count += path.parent != files.views_folder
        except FileNotFoundError:
            continue
    return count
