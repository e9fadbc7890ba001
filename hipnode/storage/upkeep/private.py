"""What the node keeps is closed to others, however it was made, or the node does not start.

*Others* are those who are neither the node's account nor in its group: who shares a folder with a
group does so on purpose (a volume that an orchestrator hands out, say).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hipnode.errors import StorageUnavailable

_OTHERS: Final = stat.S_IRWXO
_BESIDE: Final = ("", "-wal", "-shm", "-journal", ".writer")


def close_to_others(folder: Path, database: Path | None, key_file: Path) -> None:
    """Take what others may do with the folder, the database's files, keys and heads.

    Raises
    ------
    StorageUnavailable
        If something is open to others and cannot be closed.
    """
    for path in (folder, *_files(folder, database, key_file)):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & _OTHERS:
                path.chmod(mode & ~_OTHERS)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageUnavailable(
                f"{path} is open to every account of this machine (mode {mode:04o}) and cannot be"
                f" closed: {error.strerror}. Close it: chmod o-rwx."
            ) from error


def _files(folder: Path, database: Path | None, key_file: Path) -> Iterator[Path]:
    yield key_file
    if database is not None:
        yield from (database.with_name(database.name + ending) for ending in _BESIDE)
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if not path.is_symlink())


def make_private(database: Path) -> None:
    """Make SQLite's file before SQLite does: it gives the files beside it the same mode."""
    try:
        os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise StorageUnavailable.of(error) from error
