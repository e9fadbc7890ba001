"""What is stored is compared with its digest, bit by bit of the store, again and again.

What does not fit is moved into quarantine: nobody reads it or sends it on. The sender may send such
an image again; it takes its place then, and the work on it goes on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Row, Table, func, select

from hipnode import digests
from hipnode.domain import AuditEvent, AuditRecord, Outcome
from hipnode.errors import StorageUnavailable
from hipnode.storage.audit import entries
from hipnode.storage.database import marks
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import instance, result
from hipnode.storage.files.disk import FileStore
from hipnode.storage.upkeep import faults

FAULT: Final = "stored files"
_AT_LEAST: Final = 50


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """How many files were looked at, and how many of them were not what they should be."""

    looked_at: int
    damaged: int


class Scrub:
    """Compares files with their rows.

    Parameters
    ----------
    database, files
        What is compared.
    now
        The moment.
    """

    def __init__(self, database: Database, files: FileStore, now: datetime) -> None:
        self._database = database
        self._files = files
        self._now = now

    def some(self, share: float) -> Scrubbed:
        """Look at the next ``share`` of images and results (1: all that are left of this pass).

        Raises
        ------
        StorageUnavailable
            If the database or the disk cannot be used.
        """
        looked = damaged = 0
        ended = False
        for table in (instance, result):
            begun = self._database.read(lambda c, t=table: marks.get(c, t.name) or 0)  # type: ignore[misc]
            rows = self._database.read(lambda c, t=table, b=begun: _next(c, t, b, share))  # type: ignore[misc]
            found = [row for row in rows if not self.look(table, row)]
            looked, damaged = looked + len(rows), damaged + len(found)
            last = rows[-1].id if rows else 0
            ended = ended or (table is instance and not rows)
            self._database.write(lambda c, t=table, n=last: marks.put(c, t.name, n))  # type: ignore[misc]
        self._database.write(lambda c: self._tell(c, damaged, ended=ended))
        return Scrubbed(looked, damaged)

    def _tell(self, connection: Connection, damaged: int, *, ended: bool) -> None:
        """Keep the fault until all images were looked at once and none was damaged or missing."""
        count = (marks.get(connection, FAULT) or 0) + damaged
        if count:
            reason = "some are damaged or missing: hipnode audit list --event image_damaged"
            faults.note(connection, self._now, FAULT, reason)
        elif ended:
            faults.note(connection, self._now, FAULT, "")
        marks.put(connection, FAULT, 0 if ended else count)

    def look(self, table: Table, row: Row[Any]) -> bool:
        """Compare one file with its row; return whether it is what it was."""
        compare = digests.is_image if table is instance else digests.is_result
        expected = row.digest if table is instance else row.sha256
        path = self._files.path(row.path)
        try:
            if compare(path, expected):
                return True
            if self._files.fetch_again(row.path) and compare(self._files.path(row.path), expected):
                return True  # only the copy on this machine was damaged
            self._files.quarantine_damaged(row.path)
            what = "changed"
        except FileNotFoundError:
            what = "missing"
        except OSError as error:
            raise StorageUnavailable.of(error) from error
        self._database.write(lambda c: self._audit(c, table, row, what))
        return False

    def _audit(self, connection: Connection, table: Table, row: Row[Any], what: str) -> None:
        event = AuditEvent.IMAGE_DAMAGED if table is instance else AuditEvent.RESULT_DAMAGED
        known = marks.get(connection, f"{table.name} {row.id}")
        if what == "missing" and known:
            return  # said once
        record = AuditRecord(
            event,
            Outcome.FAILED,
            actor="hipnode",
            study_instance_uid=row.study_instance_uid,
            sop_instance_uid=row.sop_instance_uid,
            detail={"table": table.name, "row": row.id, "what": what},
        )
        marks.put(connection, f"{table.name} {row.id}", 1)
        entries.append(connection, self._now, [record])


def intact(path: Path, digest: str) -> bool:
    """Tell whether an image's file is there and what it was."""
    try:
        return digests.is_image(path, digest)
    except OSError:
        return False


def _next(connection: Connection, table: Table, after: int, share: float) -> list[Row[Any]]:
    kept = (table.c.retired_utc.is_(None)) & (table.c.path != "")
    total = connection.execute(select(func.count()).select_from(table).where(kept)).scalar_one()
    count = max(_AT_LEAST, math.ceil(total * share))
    statement = select(table).where(kept, table.c.id > after).order_by(table.c.id).limit(count)
    return list(connection.execute(statement).all())
