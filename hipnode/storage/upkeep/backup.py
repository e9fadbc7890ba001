"""Backups by one command, while the node runs, and what a restore could not bring back.

Files have their digest in their names, so all backups in a folder share one pool of them: a backup
copies what is new. The head of the audit log goes first, it must not be newer than the database;
files go last. A backup counts once it has been read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, select, union_all

from hipnode import digests
from hipnode.errors import InputRefused, StorageUnavailable
from hipnode.storage.audit.chain import HEAD
from hipnode.storage.audit.keys import read as read_key
from hipnode.storage.audit.seal import Sealer
from hipnode.storage.audit.verify import Verification
from hipnode.storage.database import check
from hipnode.storage.database.engine import Database, open_database
from hipnode.storage.database.schema import instance, result
from hipnode.storage.files.disk import FileStore, fsync_folder, make_folder, replace_durably
from hipnode.storage.upkeep.identity import NAME as IDENTITY

FILES: Final = "files"
MANIFEST: Final = "manifest.json"
KEY: Final = "audit.key"
SQLITE: Final = "hipnode.db"
DUMP: Final = "hipnode.dump"
UNFINISHED: Final = "restore-unfinished"


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup holds."""

    folder: str
    made_utc: str
    rows: int  # of the audit log, verified in the copy
    files: int
    new_files: int
    missing: int  # files that the node itself does not have, or that are damaged
    database_sha256: str


def back_up(
    database: Database, files: FileStore, key_file: Path, target: Path, now: datetime
) -> BackedUp:
    """Copy everything into a new folder under ``target``, and read it again.

    Raises
    ------
    StorageUnavailable
        If it cannot be written, or what was written cannot be read: then it is no backup.
    """
    folder = target / now.strftime("%Y-%m-%dT%H-%M-%SZ")
    try:
        for made in (target, folder, target / FILES):
            make_folder(made)
        for name, source in (
            (HEAD, files.root / HEAD),
            (KEY, key_file),
            (IDENTITY, files.root / IDENTITY),
        ):
            replace_durably(folder / name, source.read_bytes())
        copy = _copy_database(database, folder)
        count, new, missing = _copy_files(database, files, target / FILES)
        rows = _read_again(copy, folder) if database.is_sqlite else 0
        done = BackedUp(
            str(folder), now.isoformat(), rows, count, new, missing, _sha256(copy)
        )  # fmt: skip
        replace_durably(folder / MANIFEST, json.dumps(asdict(done), indent=1).encode())
    except OSError as error:
        raise StorageUnavailable.of(error) from error
    return done


def _copy_database(database: Database, folder: Path) -> Path:
    if database.path is None:
        copy = folder / DUMP
        _run_on(database, "pg_dump", "--format=custom", f"--file={copy}")
        _run("pg_restore", "--file=/dev/null", str(copy))  # reads all of it
    else:
        copy = folder / SQLITE
        raw = database.engine.raw_connection()
        try:
            raw.cursor().execute("VACUUM INTO ?", (str(copy),))
        except Exception as error:
            raise StorageUnavailable(
                f"The database cannot be copied: {type(error).__name__}."
            ) from (error)
        finally:
            raw.close()
    copy.chmod(0o600)
    descriptor = os.open(copy, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fsync_folder(folder)
    return copy


def _run_on(database: Database, *command: str) -> None:
    """Run a program of PostgreSQL's on a database; the password is on no command line."""
    url = database.engine.url.set(drivername="postgresql")
    where = url._replace(password=None).render_as_string()
    _run(*command, f"--dbname={where}", password=url.password)


def _run(*command: str, password: str | None = None) -> None:
    env = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    try:
        subprocess.run(command, check=True, capture_output=True, env=env)  # noqa: S603 - our words
    except FileNotFoundError as error:
        raise StorageUnavailable(f"{command[0]} is not installed.") from error
    except subprocess.CalledProcessError as error:
        raise StorageUnavailable(f"{command[0]} ended with {error.returncode}.") from None


def _needed(connection: Connection) -> list[Any]:
    """Return path and digest of all that is kept, images and results."""
    parts = [
        select(table.c.path, column.label("digest")).where(
            table.c.retired_utc.is_(None), table.c.path != ""
        )
        for table, column in ((instance, instance.c.digest), (result, result.c.sha256))
    ]
    return list(connection.execute(union_all(*parts)).all())


def _copy_files(database: Database, files: FileStore, pool: Path) -> tuple[int, int, int]:
    """Copy what the pool lacks, compared with its digest; count all, the new, the missing."""
    count = new = missing = 0
    for path, digest in database.read(_needed):
        count += 1
        copy = pool / path
        if _is(copy, digest):
            continue
        source = files.path(path)
        if not _is(source, digest):
            missing += 1
            continue
        make_folder(copy.parent.parent)
        make_folder(copy.parent)
        replace_durably(copy, source.read_bytes())
        new += 1
    return count, new, missing


def _is(path: Path, digest: str) -> bool:
    try:
        return digests.is_image(path, digest)
    except OSError:
        return False


def _read_again(copy: Path, folder: Path) -> int:
    """Check the copied database and verify the audit log in it; return how many rows that has."""
    database = open_database(f"sqlite:///{copy}")
    try:
        if found := check.problems(database, thorough=True):
            raise StorageUnavailable(f"The copy of the database is damaged: {found[0]}")
        sealer = Sealer(database, folder, folder / KEY, read_key(folder / KEY))
        report = Verification(database, sealer).run()
    finally:
        database.close()
        for ending in ("-wal", "-shm", ".writer"):
            copy.with_name(copy.name + ending).unlink(missing_ok=True)
    if report.faults:
        raise StorageUnavailable(f"The audit log in the copy is broken: {report.faults[0]}")
    return report.rows


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- the way back -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lost:
    """What a restore could not bring back."""

    rows_without_file: tuple[str, ...]  # paths that neither the node nor the backup has
    files_without_row: tuple[str, ...]  # paths of what came after the backup


def newest(target: Path) -> Path:
    """Return the folder of the newest backup that was finished.

    Raises
    ------
    InputRefused
        If there is none.
    """
    found = sorted(path.parent for path in target.glob(f"*/{MANIFEST}"))
    if (target / MANIFEST).exists():
        return target
    if not found:
        raise InputRefused(f"There is no finished backup in {target}.")
    return found[-1]


def bring_back(backup: Path, url: str, folder: Path, key_file: Path) -> None:
    """Put a backup's database, key and identity where the node's are; those there are set aside.

    ``UNFINISHED`` lies in the folder meanwhile: nothing starts on a half of a restore.

    Raises
    ------
    InputRefused
        If the backup is not what it was when it was made.
    StorageUnavailable
        If it cannot be put there.
    """
    try:
        manifest = json.loads((backup / MANIFEST).read_bytes())
        database = open_database(url)
        copy = backup / (SQLITE if database.path else DUMP)
        if _sha256(copy) != manifest["database_sha256"]:
            raise InputRefused(f"{copy} is not what it was when the backup was made.")
        make_folder(folder)
        replace_durably(folder / UNFINISHED, str(backup).encode())
        if database.path is None:
            _run_on(database, "pg_restore", "--clean", "--if-exists", str(copy))
        else:
            _set_aside(database.path, folder)
            replace_durably(database.path, copy.read_bytes())
        database.close()
        replace_durably(folder / IDENTITY, (backup / IDENTITY).read_bytes())
        if not key_file.exists():
            replace_durably(key_file, (backup / KEY).read_bytes())
        if not (folder / HEAD).exists():
            replace_durably(folder / HEAD, (backup / HEAD).read_bytes())
    except OSError as error:
        raise StorageUnavailable.of(error) from error
    except (ValueError, KeyError) as error:
        raise InputRefused(f"{backup / MANIFEST} cannot be read.") from error


def _set_aside(database: Path, folder: Path) -> None:
    aside = folder / "before-restore"
    number = 1
    while aside.exists():
        number += 1
        aside = folder / f"before-restore-{number}"
    make_folder(aside)
    for ending in ("", "-wal", "-shm", ".damaged"):
        path = database.with_name(database.name + ending)
        if path.exists():
            shutil.move(path, aside / path.name)


def compare(database: Database, files: FileStore, pool: Path) -> Lost:
    """Copy back the files that the node lacks, and return what nobody has."""
    lost: list[str] = []
    known: set[str] = set()
    for path, digest in database.read(_needed):
        known.add(path)
        if files.exists(path) and _is(files.path(path), digest):
            continue
        if not _is(pool / path, digest):
            lost.append(path)
            continue
        incoming = files.incoming()
        incoming.write((pool / path).read_bytes())
        files.put_back(incoming, path)
    unknown = sorted(path for path in files.untouched_since(float("inf")) if path not in known)
    return Lost(tuple(sorted(lost)), tuple(_only_new(database, unknown)))


def _only_new(database: Database, unknown: list[str]) -> Iterator[str]:
    """Leave out the files of rows that retention has let go."""
    for path in unknown:
        statement = select(instance.c.id).where(instance.c.path == path)
        other = select(result.c.id).where(result.c.path == path)
        both = union_all(statement, other)
        if database.read(lambda c, s=both: c.execute(s).first()) is None:  # type: ignore[misc]
            yield path
