"""Files on disk: images as they arrived, results as they were made.

Everything lies under one folder; rows hold paths relative to it. Names derive from hashes, never
from text that a peer chose. A file is complete and fsynced, and so is its folder's entry, before
its path is given out.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from hipnode.errors import StorageUnavailable
from hipnode.faults import Point, reach
from hipnode.storage.files.incoming import IncomingFile
from hipnode.storage.files.names import IMAGES, QUARANTINE, RESULTS, aside_name, was_at

INCOMING: Final = "incoming"
_VIEWS: Final = f"{INCOMING}/views"
DAMAGED: Final = f"{QUARANTINE}/damaged"
_GOING: Final = ".going"
YOUNG_S: Final = 3600.0
"""A file this young may belong to an association that is still open, here or on another host."""


def make_folder(folder: Path) -> Path:
    """Make a folder that only the node may enter, unless it is there.

    Raises
    ------
    DiskFull, StorageUnavailable
        If it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageUnavailable.of(error) from error
    return folder


def fsync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put ``data`` at ``path`` so that a crash leaves the old or the new content, never a mix."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


class FileStore:
    """The node's files.

    Parameters
    ----------
    root
        The folder that everything lies under; it is created.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        for name in (IMAGES, RESULTS, INCOMING, _VIEWS, QUARANTINE):
            make_folder(self.root / name)

    @property
    def incoming_folder(self) -> Path:
        """Where files lie that are being received or made."""
        return self.root / INCOMING

    @property
    def views_folder(self) -> Path:
        """Where pictures lie that only save work; old ones go, as all in `incoming_folder`."""
        return self.root / _VIEWS

    def incoming(self) -> IncomingFile:
        """Return a new file to receive into."""
        try:
            return IncomingFile(self.incoming_folder / f"{os.getpid()}-{uuid.uuid4().hex}")
        except OSError as error:
            raise StorageUnavailable.of(error) from error

    def keep(self, incoming: IncomingFile, sop_instance_uid: str, digest: str) -> str:
        """Give a received file its lasting name, durably; return its relative path.

        The same content of the same instance has the same name, and is kept once.

        Raises
        ------
        DiskFull, StorageUnavailable
            If the file, or its folder's entry, cannot be made durable. It is not to be used then.
        """
        return self._keep(incoming, self._name(IMAGES, sop_instance_uid, digest))

    def keep_result(self, path: Path, sop_instance_uid: str, sha256: str) -> str:
        """Give a result's file its lasting name, durably; return its relative path.

        Parameters
        ----------
        path
            Where it lies now: in `incoming_folder`.
        sop_instance_uid
            Of the result.
        sha256
            Of the file's content.

        Raises
        ------
        DiskFull, StorageUnavailable
            If it cannot be made durable.
        """
        try:
            incoming = IncomingFile(path, made=True)
        except OSError as error:
            raise StorageUnavailable.of(error) from error
        return self._keep(incoming, self._name(RESULTS, sop_instance_uid, sha256))

    def _keep(self, incoming: IncomingFile, relative: str) -> str:
        target = self.root / relative
        try:
            self._folder(target.parent)
            try:
                # Named first, so that one commit of the file system's journal takes both. What a
                # crash or a failure leaves under the name has no row, so nobody reads it; the
                # image replaces it when it comes again.
                os.link(incoming.path, target)
                reach(Point.FILE_NAMED)
                incoming.sync()
            except FileExistsError:
                incoming.sync()
                incoming.path.replace(target)
            reach(Point.FILE_SYNCED)
            fsync_folder(target.parent)
        except OSError as error:
            raise StorageUnavailable.of(error) from error
        finally:
            incoming.abort()
        return relative

    def put_back(self, incoming: IncomingFile, relative: str) -> None:
        """Keep a file under the name that its row has, as `keep` does."""
        self._keep(incoming, relative)

    def path(self, relative: str) -> Path:
        """Return where a relative path of a row lies.

        Raises
        ------
        StorageUnavailable
            If the path leads out of the store: somebody has changed the row. If the folder that it
            lies in is gone altogether: one file is lost, a whole folder comes back.
        """
        path = (self.root / relative).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise StorageUnavailable("A row names a file outside of the store.")
        if not path.exists() and not (self.root / relative.partition("/")[0]).is_dir():
            raise StorageUnavailable("The folder of the node's files is gone.")
        return path

    def delete(self, relative: str, *, unless_touched_since_s: float | None = None) -> bool:
        """Delete a file; tell whether it has been.

        Parameters
        ----------
        relative
            Its path in the row.
        unless_touched_since_s
            Leave it alone if somebody has kept the same content since then (seconds since 1970).
        """
        path = self.path(relative)
        going = path.with_name(f"{path.name}{_GOING}")
        try:
            if _is_touched(path, unless_touched_since_s):
                return False
            # What is renamed can be looked at once more: nobody keeps a file under that name.
            path.rename(going)
            if _is_touched(going, unless_touched_since_s):
                _bring_back(going, path)
                return False
            going.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageUnavailable.of(error) from error
        return True

    def finish_deletions(self) -> None:
        """Bring back what a crash has kept from being deleted: whoever wants it gone says so."""
        for path in list(self.files(IMAGES, RESULTS)):
            if path.suffix == _GOING:
                try:
                    _bring_back(path, path.with_suffix(""))
                except OSError as error:
                    raise StorageUnavailable.of(error) from error

    def exists(self, relative: str) -> bool:
        """Tell whether the file of a row is there.

        Raises
        ------
        StorageUnavailable
            If that cannot be found out, or the path leads out of the store.
        """
        return self.path(relative).exists()

    def untouched_since(self, time_s: float) -> Iterator[str]:
        """Yield the relative path of each image and result kept before ``time_s`` (since 1970)."""
        for path in self.files(IMAGES, RESULTS):
            try:
                if path.stat().st_mtime < time_s:
                    yield str(path.relative_to(self.root))
            except FileNotFoundError:
                continue

    def put_aside(self, relative: str) -> None:
        """Move a kept file that no row knows out of the way; `bring_back` undoes it."""
        target = self.root / aside_name(relative)
        try:
            for folder in (target.parent.parent.parent, target.parent.parent, target.parent):
                make_folder(folder)
            (self.root / relative).replace(target)
        except FileNotFoundError:
            return  # another housekeeper was faster
        except OSError as error:
            raise StorageUnavailable.of(error) from error

    def aside(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield what was put aside: its path now, and what its path may have been."""
        for path in self.files(QUARANTINE):
            yield from was_at(str(path.relative_to(self.root)))

    def bring_back(self, now_at: str, relative: str) -> None:
        """Move a file that was put aside to where its row says that it is."""
        try:
            self._folder((self.root / relative).parent)
            (self.root / now_at).replace(self.root / relative)
            fsync_folder((self.root / relative).parent)
        except FileNotFoundError:
            return  # another housekeeper was faster
        except OSError as error:
            raise StorageUnavailable.of(error) from error

    def quarantine(self, path: Path) -> None:
        """Move a file of this machine out of the way, for a person to look at."""
        try:
            target = self.root / QUARANTINE / f"{path.parent.name}-{path.name}"
            path.replace(target)
        except OSError as error:
            raise StorageUnavailable.of(error) from error

    def quarantine_damaged(self, relative: str) -> None:
        """Move a kept file away that is not what it was; nothing brings it back."""
        path = self.root / relative
        try:
            make_folder(self.root / DAMAGED)
            path.replace(self.root / DAMAGED / f"{uuid.uuid4().hex[:8]}-{path.name}")
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageUnavailable.of(error) from error

    def fetch_again(self, relative: str) -> bool:  # noqa: ARG002 - where there is a bucket
        """Drop this machine's copy and fetch another, if it is only a copy; tell whether it is."""
        return False

    def quarantined(self) -> Iterator[tuple[str, float, int]]:
        """Yield what is in quarantine: its path, since when (since 1970), and its bytes."""
        for path in self.files(QUARANTINE):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            yield str(path.relative_to(self.root)), found.st_mtime, found.st_size

    def drop(self, name: str) -> None:
        """Delete something in quarantine."""
        try:
            (self.root / name).unlink(missing_ok=True)
        except OSError as error:
            raise StorageUnavailable.of(error) from error

    def files(self, *folders: str) -> Iterator[Path]:
        """Yield every file under ``folders`` of the store (`IMAGES`, `RESULTS`, `INCOMING`)."""
        for name in folders:
            for folder, _, names in os.walk(self.root / name):
                for file in sorted(names):
                    yield Path(folder, file)

    def tidy(self) -> None:
        """Drop copies that can be had again; where there is no bucket, there are none."""

    def now_s(self) -> float:
        """Return the moment (seconds since 1970) by the clock that dates files on the disk.

        A file server's may differ from this machine's and from the database's.
        """
        try:
            os.utime(self.incoming_folder)
            return self.incoming_folder.stat().st_mtime
        except OSError as error:
            raise StorageUnavailable.of(error) from error

    def kept_now_s(self) -> float:
        """Return the same by the clock that dates what is kept, which may lie elsewhere."""
        return self.now_s()

    def free_bytes(self) -> int:
        """Return how much the disk still takes."""
        try:
            return shutil.disk_usage(self.root).free
        except OSError as error:
            raise StorageUnavailable.of(error) from error

    def _name(self, top: str, uid: str, digest: str) -> str:
        of_uid = hashlib.sha256(uid.encode()).hexdigest()
        return f"{top}/{of_uid[:2]}/{of_uid[2:32]}-{digest}.dcm"

    def _folder(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
            fsync_folder(folder.parent)


def _is_touched(path: Path, since_s: float | None) -> bool:
    return since_s is not None and path.stat().st_mtime >= since_s


def _bring_back(going: Path, path: Path) -> None:
    with suppress(FileExistsError):  # the same content has come again meanwhile
        os.link(going, path)
    going.unlink()
