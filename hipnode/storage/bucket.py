"""Files in an S3-compatible object store; the local folder is a cache of it.

A path is given out, and so an image acknowledged, only after the object store has acknowledged the
object; the copy on this machine's disk is made durable before that, and may be deleted at any time
after. Each machine has a cache of its own: nothing but the database and the bucket is shared.
"""

from __future__ import annotations

import shutil
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from hipnode.errors import SettingsInvalid, StorageUnavailable
from hipnode.settings import BucketSettings
from hipnode.storage.files import IMAGES, RESULTS, FileStore, IncomingFile, replace_durably

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config

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


class BucketStore(FileStore):
    """The node's files, in a bucket.

    Parameters
    ----------
    root
        The folder of the cache, and of what is being received.
    bucket
        The object store.
    room_bytes
        Cached files go, the oldest first, while the disk has less than this free.
    """

    def __init__(self, root: Path, bucket: S3Store, room_bytes: int) -> None:
        super().__init__(root)
        self._bucket = bucket
        self._room_bytes = room_bytes

    def keep(self, incoming: IncomingFile, sop_instance_uid: str, sha256: str) -> str:
        """Keep a received file; returns once the object store has acknowledged it."""
        relative = super().keep(incoming, sop_instance_uid, sha256)
        self._upload(relative)
        return relative

    def write_result(self, sop_instance_uid: str, data: bytes) -> str:
        """Write a result's file; returns once the object store has acknowledged it."""
        relative = super().write_result(sop_instance_uid, data)
        self._upload(relative)
        return relative

    def path(self, relative: str) -> Path:
        """Return where a file lies on this machine, fetched if it does not yet.

        Raises
        ------
        StorageUnavailable
            If the object store cannot be asked, or the path leads out of the store.
        """
        path = super().path(relative)
        if not path.exists():
            self._fetch(relative, path)
        return path

    def delete(self, relative: str, *, unless_touched_since_s: float | None = None) -> bool:
        """Delete a file here and in the bucket; see `FileStore.delete`."""
        try:
            if unless_touched_since_s is not None:
                touched = obstore.head(self._bucket, relative)["last_modified"]
                if touched.timestamp() >= unless_touched_since_s:
                    return False
            obstore.delete(self._bucket, relative)
        except (NotFoundError, FileNotFoundError):
            return False
        except (BaseError, OSError) as error:
            raise _away(error) from error
        super().path(relative).unlink(missing_ok=True)
        return True

    def _upload(self, relative: str) -> None:
        try:
            obstore.put(self._bucket, relative, self.root / relative)
        except (BaseError, OSError) as error:
            raise _away(error) from error

    def _fetch(self, relative: str, path: Path) -> None:
        self._make_room()
        try:
            data = bytes(obstore.get(self._bucket, relative).bytes())
        except (NotFoundError, FileNotFoundError):
            return  # who opens it finds out, and says so
        except (BaseError, OSError) as error:
            raise _away(error) from error
        self._folder(path.parent)
        replace_durably(path, data)

    def _make_room(self) -> None:
        """Drop cached files until there is room; they are all in the bucket."""
        if self.free_bytes() >= self._room_bytes:
            return
        cached = sorted(self.files(IMAGES, RESULTS), key=lambda path: path.stat().st_mtime)
        for path in cached:
            path.unlink(missing_ok=True)
            if shutil.disk_usage(self.root).free >= self._room_bytes:
                return


def _away(error: BaseException) -> StorageUnavailable:
    return StorageUnavailable(f"The object store cannot be used: {type(error).__name__}.")
