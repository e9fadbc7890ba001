"""Files in an S3-compatible object store; the local folder is a cache of it.

A path is given out, and so an image acknowledged, only after the object store has acknowledged the
object; the copy on this machine's disk is made durable before that, and may be deleted at any time
after. Each machine has a cache of its own: nothing but the database and the bucket is shared.
"""

from __future__ import annotations

import os
import time
import tomllib
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from hipnode.errors import SettingsInvalid, StorageUnavailable
from hipnode.settings import BucketSettings
from hipnode.storage.files.disk import DAMAGED, FileStore, replace_durably
from hipnode.storage.files.incoming import IncomingFile
from hipnode.storage.files.names import IMAGES, QUARANTINE, RESULTS, aside_name, was_at

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config

CACHED_S: Final = 86_400.0
"""A copy on this machine goes when nobody has used it for so long, whatever retention says."""
_LOOK_S: Final = 600.0
_CLOCK: Final = "clock"
_TIMEOUTS: Final[ClientConfig] = {"timeout": "60s", "connect_timeout": "10s", "allow_http": True}


def open_bucket(settings: BucketSettings) -> S3Store:
    """Return the object store that the settings name.

    Raises
    ------
    SettingsInvalid
        If the file with the keys cannot be read.
    """
    config: S3Config = {"region": settings.region}
    if settings.endpoint:
        config["endpoint"] = settings.endpoint
    if settings.keys_file:
        try:
            found = tomllib.loads(settings.keys_file.read_text(encoding="utf-8"))
            config["access_key_id"] = str(found["access_key_id"])
            config["secret_access_key"] = str(found["secret_access_key"])
        except (OSError, KeyError, ValueError) as error:
            raise SettingsInvalid(
                f"bucket.keys_file: not usable ({type(error).__name__})"
            ) from None
    return S3Store(
        settings.name,
        config=config,
        prefix=settings.prefix or None,
        client_options=_TIMEOUTS,
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=20)},
    )


class BucketHolder:
    """A bucket, as what carries an identity; see `hipnode.storage.upkeep.identity`."""

    may_be_away = True

    def __init__(self, bucket: S3Store, name: str) -> None:
        self._bucket = bucket
        self._name = name

    def carried(self) -> bytes | None:
        """Return what the bucket carries, or None."""
        try:
            return bytes(obstore.get(self._bucket, self._name).bytes())
        except (NotFoundError, FileNotFoundError):
            return None
        except (BaseError, OSError) as error:
            raise _away(error) from error

    def carry(self, content: bytes) -> None:
        """Put it into the bucket."""
        try:
            obstore.put(self._bucket, self._name, content)
        except (BaseError, OSError) as error:
            raise _away(error) from error

    def some(self) -> list[str]:
        """Return some paths of its files."""
        try:
            return [
                found["path"]
                for top in (IMAGES, RESULTS)
                for found in next(iter(obstore.list(self._bucket, top, chunk_size=25)), [])
            ]
        except (BaseError, OSError) as error:
            raise _away(error) from error


class BucketStore(FileStore):
    """The node's files, in a bucket.

    Parameters
    ----------
    root
        The folder of the cache, and of what is being received.
    bucket
        The object store.
    room_bytes
        Copies on this machine go, the longest unused first, while the disk has less than this free.
    """

    def __init__(self, root: Path, bucket: S3Store, room_bytes: int) -> None:
        super().__init__(root)
        self._bucket = bucket
        self._room_bytes = room_bytes
        self._next_look_s = 0.0

    def _keep(self, incoming: IncomingFile, relative: str) -> str:
        """Keep a file; returns once the object store has acknowledged it."""
        super()._keep(incoming, relative)
        try:
            obstore.put(self._bucket, relative, self.root / relative)
        except (BaseError, OSError) as error:
            raise _away(error) from error
        return relative

    def path(self, relative: str) -> Path:
        """Return where a file lies on this machine, fetched if it does not yet.

        Raises
        ------
        StorageUnavailable
            If the object store cannot be asked, or the path leads out of the store.
        """
        path = super().path(relative)
        try:
            os.utime(path)  # in use: the last to go
        except FileNotFoundError:
            self._fetch(relative)
        except OSError as error:
            raise _away(error) from error
        return path

    def exists(self, relative: str) -> bool:
        """Tell whether the file of a row is here or in the bucket; nothing is fetched."""
        return super().path(relative).exists() or self._kept_s(relative) is not None

    def untouched_since(self, time_s: float) -> Iterator[str]:
        """Yield what the bucket has had since before ``time_s``; see `FileStore`."""
        try:
            for top in (IMAGES, RESULTS):
                for page in obstore.list(self._bucket, top):
                    for found in page:
                        if found["last_modified"].timestamp() < time_s:
                            yield found["path"]
        except (BaseError, OSError) as error:
            raise _away(error) from error

    def kept_now_s(self) -> float:
        """Return the moment by the bucket's clock: that of an object which is put for it."""
        try:
            name = f"{_CLOCK}-{uuid.uuid4().hex}"
            obstore.put(self._bucket, name, b"")
            moment = obstore.head(self._bucket, name)["last_modified"]
            obstore.delete(self._bucket, name)
        except (BaseError, OSError) as error:
            raise _away(error) from error
        return moment.timestamp()

    def put_aside(self, relative: str) -> None:
        """Move an object that no row knows into the bucket's quarantine."""
        path = super().path(relative)
        self._rename(relative, aside_name(relative))
        path.unlink(missing_ok=True)

    def aside(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield what was put aside in the bucket; see `FileStore.aside`."""
        try:
            for page in obstore.list(self._bucket, QUARANTINE):
                for found in page:
                    yield from was_at(found["path"])
        except (BaseError, OSError) as error:
            raise _away(error) from error

    def bring_back(self, now_at: str, relative: str) -> None:
        """Move an object that was put aside to where its row says that it is."""
        self._rename(now_at, relative)

    def quarantine_damaged(self, relative: str) -> None:
        """Move an object away that is not what it was, and this machine's copy."""
        path = super().path(relative)
        self._rename(relative, f"{DAMAGED}/{uuid.uuid4().hex[:8]}-{path.name}")
        path.unlink(missing_ok=True)

    def fetch_again(self, relative: str) -> bool:
        """Drop this machine's copy, so that the next look fetches the bucket's."""
        super().path(relative).unlink(missing_ok=True)
        return True

    def quarantined(self) -> Iterator[tuple[str, float, int]]:
        """Yield what is in quarantine, here and in the bucket; see `FileStore.quarantined`."""
        yield from super().quarantined()
        try:
            for page in obstore.list(self._bucket, QUARANTINE):
                for found in page:
                    yield found["path"], found["last_modified"].timestamp(), found["size"]
        except (BaseError, OSError) as error:
            raise _away(error) from error

    def drop(self, name: str) -> None:
        """Delete something in quarantine, here and in the bucket."""
        super().drop(name)
        try:
            obstore.delete(self._bucket, name)
        except (NotFoundError, FileNotFoundError):
            return
        except (BaseError, OSError) as error:
            raise _away(error) from error

    def _rename(self, old: str, new: str) -> None:
        try:
            obstore.rename(self._bucket, old, new)
        except (NotFoundError, FileNotFoundError):
            return  # another host's housekeeper was faster
        except (BaseError, OSError) as error:
            raise _away(error) from error

    def delete(self, relative: str, *, unless_touched_since_s: float | None = None) -> bool:
        """Delete a file here and in the bucket; see `FileStore.delete`."""
        kept_s = self._kept_s(relative)
        if kept_s is None or (
            unless_touched_since_s is not None and kept_s >= unless_touched_since_s
        ):
            return False
        try:
            obstore.delete(self._bucket, relative)
        except (BaseError, OSError) as error:
            raise _away(error) from error
        super().path(relative).unlink(missing_ok=True)
        return True

    def tidy(self) -> None:
        """Drop copies on this machine that are out of use, and further ones until there is room.

        What has not come to the bucket yet can be among them: its upload fails then, and whoever
        sends it is told to send it again.
        """
        now_s = time.time()
        if now_s < self._next_look_s and self.free_bytes() >= self._room_bytes:
            return
        self._next_look_s = now_s + _LOOK_S
        for used_s, path in sorted(self._cached()):
            if used_s > now_s - CACHED_S and self.free_bytes() >= self._room_bytes:
                return
            try:
                if path.stat().st_mtime == used_s:
                    path.unlink()
            except FileNotFoundError:
                continue  # another process was faster
            except OSError as error:
                raise _away(error) from error

    def _cached(self) -> Iterator[tuple[float, Path]]:
        for path in self.files(IMAGES, RESULTS):
            try:
                yield path.stat().st_mtime, path
            except FileNotFoundError:
                continue

    def _kept_s(self, relative: str) -> float | None:
        """Return since when (seconds since 1970) the bucket has a file; None if it has none."""
        try:
            return obstore.head(self._bucket, relative)["last_modified"].timestamp()
        except (NotFoundError, FileNotFoundError):
            self._ask()
            return None
        except (BaseError, OSError) as error:
            raise _away(error) from error

    def _ask(self) -> None:
        """Make sure that it is an object that is missing, and not the whole bucket."""
        try:
            next(iter(obstore.list(self._bucket, QUARANTINE, chunk_size=1)), None)
        except (BaseError, OSError) as error:
            raise _away(error) from error

    def _fetch(self, relative: str) -> None:
        self.tidy()
        try:
            data = bytes(obstore.get(self._bucket, relative).bytes())
        except (NotFoundError, FileNotFoundError):
            self._ask()
            return  # who opens it finds out, and says so
        except (BaseError, OSError) as error:
            raise _away(error) from error
        target = self.root / relative
        try:
            self._folder(target.parent)
            replace_durably(target, data)
        except OSError as error:
            raise StorageUnavailable.of(error) from error


def _away(error: BaseException) -> StorageUnavailable:
    return StorageUnavailable(f"The object store cannot be used: {type(error).__name__}.")
