"""Old records written to a file and taken out of the log; and such a file verified for itself.

The file is an SQLite database of this schema, whatever engine the node has: the records, every seal
up to them with all leaves, the epochs, and the archive's own row. It verifies by itself, and the
views and questions of docs/audit.md work on it. Order: the file is written, synced and verified;
then the archive is put on the log and sealed; only then are records deleted, some at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, create_engine, delete, func, insert, select

from hipnode.domain import AuditEvent, AuditRecord
from hipnode.errors import InputRefused, StorageUnavailable
from hipnode.storage.audit import archives, epochs, heads
from hipnode.storage.audit.archives import Archive, Span, gathered
from hipnode.storage.audit.entries import append, given
from hipnode.storage.audit.keys import Keys
from hipnode.storage.audit.log import AuditLog
from hipnode.storage.audit.report import VerifyReport
from hipnode.storage.audit.seal import Sealer
from hipnode.storage.audit.verify import Verification
from hipnode.storage.database import marks, migrate
from hipnode.storage.database.engine import Database, open_database
from hipnode.storage.database.schema import audit, audit_day, audit_epoch
from hipnode.storage.database.schema import seal as seals
from hipnode.storage.files.disk import fsync_folder, make_folder
from hipnode.storage.upkeep import holds
from hipnode.storage.upkeep.feeds import position_of
from hipnode.storage.upkeep.holds import Hold

_PAGE: Final = 4096
_NOTHING: Final = "Nothing was sealed before then that may go yet."
_ALL: Final = 2**62
_DELETED: Final = 2000
"""So many numbers at a time, so that whoever writes waits for no more than that."""


class _File(Database):
    """An archive that nobody changes any more; nothing is written beside it."""

    def _create_engine(self, url: str) -> Engine:
        uri = f"{Path(url).absolute().as_uri()}?mode=ro&immutable=1"
        return create_engine(
            "sqlite://", creator=lambda: sqlite3.connect(uri, uri=True, check_same_thread=False)
        )


class Archiver:
    """Takes records out of the log.

    Parameters
    ----------
    database
        Where the log is.
    log
        The log.
    folder
        Where files go.
    """

    def __init__(self, database: Database, log: AuditLog, folder: Path) -> None:
        self._database = database
        self._log = log
        self._folder = folder

    def archive(
        self, before: datetime, now: datetime, *, actor: str, reason: str, feeds: Iterable[str] = ()
    ) -> Archive:
        """Take out what was sealed before a moment and nobody holds.

        Parameters
        ----------
        before
            The moment.
        now, actor, reason
            When, who and why.
        feeds
            Who must have been told of a record before it goes.

        Raises
        ------
        InputRefused
            If the log is not whole, or there is nothing to be taken out.
        StorageUnavailable
            If the file cannot be written, or not be read again.
        """
        reason = given(reason)
        if before > now:
            raise InputRefused("What is to come cannot be archived.")
        if fault := self._log.report(actor=actor).fault:
            raise InputRefused(f"The audit log is not whole, and stays as it is: {fault}")
        self._log.seal()
        self.take_out()  # what an archive that was cut short has left
        told_until = self._database.read(lambda c: _told_until(c, feeds))
        made, kept = self._write_file(before, told_until, now, actor=actor, reason=reason)
        try:
            self._database.write(lambda connection: _put_on_the_log(connection, now, made, kept))
        except InputRefused:
            (self._folder / made.file).unlink()
            raise
        self._log.seal()
        self.take_out()
        return made

    def _write_file(
        self, before: datetime, told_until: int, now: datetime, *, actor: str, reason: str
    ) -> tuple[Archive, list[Hold]]:
        """Write a file, and verify it; return what it holds, and what was held meanwhile."""
        keys = self._keys
        last = self._database.read(lambda c: _last_seal(c, before, told_until))
        if last is None:
            raise InputRefused(_NOTHING)
        kept = self._database.read(holds.active)
        number = len(self._database.read(archives.every)) + 1
        name = f"hipnode-audit-{number:04}-{before:%Y%m%d}.sqlite"
        path = make_folder(self._folder) / name
        if path.exists():
            raise InputRefused(f"{path} is there already: is it of an archive that was cut short?")
        head = heads.signed(keys, last.epoch, last.size, bytes.fromhex(last.root), last.last_id)
        made = Archive(
            number, now, before, actor, reason, last.id, last.hash, last.last_id, 0,
            head.line() if last.epoch else "", "{}", name, (),
        )  # fmt: skip
        made = self._written(path, made)
        made = replace(made, size_bytes=path.stat().st_size, sha256=sha256_of(path))
        made = replace(made, signature=keys.sign(made.content))
        if faults := verified(path, keys, made).faults:
            path.unlink()
            raise StorageUnavailable(f"The archive cannot be read again: {faults[0]}")
        return made, kept

    def _written(self, path: Path, made: Archive) -> Archive:
        temporary = path.with_name(f".{path.name}.part")
        temporary.unlink(missing_ok=True)
        try:
            made = self._fill(temporary, made)
            _let_go(temporary)
            temporary.rename(path)
            fsync_folder(path.parent)
        except OSError as error:
            raise StorageUnavailable.of(error) from error
        finally:
            for ending in ("", "-wal", "-shm", "-journal", ".writer"):
                temporary.with_name(temporary.name + ending).unlink(missing_ok=True)
        return made

    @property
    def _keys(self) -> Keys:
        return self._log.keys()

    def _fill(self, path: Path, made: Archive) -> Archive:
        file = open_database(f"sqlite:///{path}")
        try:
            migrate.upgrade(file, told=False)
            made = self._copy_rows(file, made)
            if not made.rows:
                raise InputRefused(_NOTHING)
            made = replace(made, signature=self._keys.sign(made.content))
            self._copy(file, seals, seals.c.id <= made.seal_id)
            self._copy(file, audit_epoch, audit_epoch.c.id > 0)
            file.write(lambda connection: archives.write(connection, made))
        finally:
            file.close()
        return made

    def _copy_rows(self, file: Database, made: Archive) -> Archive:
        """Copy the records that nobody holds; say which those are."""
        spans: list[Span] = []
        writers: dict[str, list[Span]] = {}
        after = rows = 0
        is_held = self._database.read(holds.of_records)
        wanted = select(audit).where(audit.c.id <= made.last_id, ~is_held).order_by(audit.c.id)
        while True:
            statement = wanted.where(audit.c.id > after).limit(_PAGE)
            page = self._database.read(lambda c, s=statement: c.execute(s).all())  # type: ignore[misc]
            if not page:
                break
            values = [_values(row) for row in page]
            file.write(lambda c, values=values: c.execute(insert(audit), values))  # type: ignore[misc]
            for row in page:
                gathered(spans, row.id)
                writer, _, number = row.writer.partition(":")
                if number.isdecimal():
                    gathered(writers.setdefault(writer, []), int(number))
            rows += len(page)
            after = page[-1].id
        said = json.dumps(writers, sort_keys=True)
        return replace(made, rows=rows, spans=tuple(spans), writers=said)

    def _copy(self, file: Database, table: Any, wanted: Any) -> None:
        after = 0
        while True:
            statement = select(table).where(wanted, table.c.id > after).order_by(table.c.id)
            page = self._database.read(
                lambda c, s=statement: list(c.execute(s.limit(64)).mappings())  # type: ignore[misc]
            )
            if not page:
                return
            values = [dict(row) for row in page]
            file.write(lambda c, values=values: c.execute(insert(table), values))  # type: ignore[misc]
            after = values[-1]["id"]

    def take_out(self) -> int:
        """Delete the records that archives have, some at a time; return how many those were."""
        count = 0
        for made in self._database.read(archives.every):
            if not archives.is_signed(made, self._keys):
                raise StorageUnavailable(f"archive {made.id} is not signed by this log's key.")
            for first, last in made.spans:
                while done := self._database.write(_delete_some(first, last)):
                    count += done
        return count


def _told_until(connection: Connection, feeds: Iterable[str]) -> int:
    """Return up to which record all feeds have been told; one that was never told begins later."""
    told = [marks.get(connection, position_of(name)) for name in feeds]
    return min((number for number in told if number is not None), default=_ALL)


def _put_on_the_log(connection: Connection, now: datetime, made: Archive, kept: list[Hold]) -> None:
    """Say on the log what has been archived, from when on it may be deleted."""
    if holds.active(connection) != kept:
        raise InputRefused("Something was held or let go meanwhile: begin again.")
    if len(archives.every(connection)) + 1 != made.id:
        raise InputRefused("Somebody else has archived meanwhile: begin again.")
    archives.write(connection, made)
    detail = {
        "archive": made.id,
        "rows": made.rows,
        "last_id": made.last_id,
        "seal": made.seal_id,
        "before_utc": made.before_utc.isoformat(),
        "file": made.file,
        "sha256": made.sha256,
        "reason": made.reason,
        "held": len(kept),
    }
    record = AuditRecord(AuditEvent.AUDIT_ARCHIVED, actor=made.actor, detail=detail)
    append(connection, now, [record])


def _delete_some(first: int, last: int) -> Callable[[Connection], int]:
    def work(connection: Connection) -> int:
        within = (audit.c.id >= first) & (audit.c.id <= last)
        lowest = connection.execute(select(func.min(audit.c.id)).where(within)).scalar()
        if lowest is None:
            return 0
        those = within & (audit.c.id < lowest + _DELETED)
        return int(connection.execute(delete(audit).where(those)).rowcount)

    return work


def _values(row: Row[Any]) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in audit.c}


def _last_seal(connection: Connection, before: datetime, told_until: int) -> Row[Any] | None:
    """Return the newest seal from before then that covers only what was told and counted."""
    counted = connection.execute(select(func.max(audit_day.c.last_id))).scalar() or 0
    until = min(counted, told_until)
    columns = [column for column in seals.c if column is not seals.c.leaves]
    return connection.execute(
        select(*columns)
        .where(seals.c.sealed_utc < before, seals.c.last_id <= until)
        .order_by(seals.c.id.desc())
        .limit(1)
    ).first()


def _let_go(path: Path) -> None:
    """Leave one file that needs nothing beside it, synced."""
    raw = sqlite3.connect(path)
    try:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        raw.execute("PRAGMA journal_mode = DELETE")
    finally:
        raw.close()
    path.chmod(0o400)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256.

    Raises
    ------
    StorageUnavailable
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be read: {error.strerror}.") from error


def verified(path: Path, keys: Keys | None, known: Archive | None = None) -> VerifyReport:
    """Verify an archive for itself and, where the log knows of it, against what the log says.

    Parameters
    ----------
    path
        The file.
    keys
        The log's key; without it, the tree and what is signed cannot be compared with it.
    known
        What the log says of this archive.

    Raises
    ------
    StorageUnavailable
        If it cannot be read, or is no archive.
    """
    digest = sha256_of(path)
    file = _File(str(path))
    try:
        own = file.read(archives.every)
        if len(own) != 1:
            raise StorageUnavailable(f"{path} is no archive of an audit log.")
        (part,) = own
        sealer = Sealer(file, path.parent, path.parent / "audit.key", keys)
        report = Verification(file, sealer, part=part).run()
        newest = file.read(lambda c: c.execute(select(func.max(seals.c.id))).scalar())
    finally:
        file.close()
    wrong: list[str] = []
    if report.rows != part.rows:
        wrong.append(f"archive {part.id} has {report.rows} records instead of {part.rows}")
    if newest != part.seal_id:
        wrong.append(f"archive {part.id} does not end with seal {part.seal_id}")
    if known is not None:
        if digest != known.sha256:
            wrong.append(f"archive {part.id} has been changed: its sha256 is {digest}")
        same = replace(known, size_bytes=0, sha256="", signature="")
        if replace(part, signature="") != same:
            wrong.append(f"archive {part.id} does not hold what the log says that it does")
    faults = tuple(epochs.AuditFault(None, text) for text in wrong)
    return replace(report, faults=(*report.faults, *faults))
