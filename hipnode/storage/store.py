"""One door to everything that lasts: database and files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, Row, select

from hipnode.errors import StorageUnavailable
from hipnode.pulse import Pulse
from hipnode.settings import Settings
from hipnode.storage.audit.log import AuditLog
from hipnode.storage.audit.seal import Sealer
from hipnode.storage.database import migrate as migrations
from hipnode.storage.database.engine import Database, open_database
from hipnode.storage.database.schema import instance
from hipnode.storage.files.disk import IMAGES, FileStore, make_folder
from hipnode.storage.ledger.hints import Nudger
from hipnode.storage.ledger.jobs import Nudge, Queue
from hipnode.storage.ledger.ledger import Ledger
from hipnode.storage.ledger.promises import Commitments
from hipnode.storage.upkeep.reconcile import Reconciled, reconcile
from hipnode.storage.upkeep.retention import Retired, retire
from hipnode.storage.upkeep.services import Services
from hipnode.storage.upkeep.troubles import Troubles
from hipnode.storage.upkeep.vitals import Vitals, vitals


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


def _files(settings: Settings) -> FileStore:
    if not settings.bucket.name:
        return FileStore(settings.node.data_dir)
    from hipnode.storage.files.bucket import BucketStore, open_bucket  # noqa: PLC0415 - an option

    room_bytes = settings.retention.disk_low_bytes
    return BucketStore(settings.node.data_dir, open_bucket(settings.bucket), room_bytes)


def _check_new(connection: Connection) -> None:
    """Refuse a folder without images where the database has some: its queue would be given up."""
    kept = select(instance.c.id).where(instance.c.retired_utc.is_(None), instance.c.path != "")
    if connection.execute(kept.limit(1)).first() is not None:
        raise StorageUnavailable(
            f"node.data_dir has no folder '{IMAGES}', but the database knows of images in it. Is it"
            " mounted? If they are lost, make that folder, and their readings are given up."
        )


def _no_nudge(_connection: Connection, _row: Row[tuple[object, ...]]) -> None:
    """SQLite's dispatcher looks for itself."""


class Store:
    """The node's memory: one for each process, safe for all of its threads.

    Attributes
    ----------
    ledger
        What was received, what is to be done, what came of it.
    commitments
        What destinations have promised to keep.
    audit
        The audit log.
    files
        The files.
    services
        Who is alive.
    troubles
        What is wrong as far as alerts know, and who is to be told.
    pulse
        The signs of life of this process.
    """

    def __init__(self, settings: Settings, database: Database, now: Callable[[], datetime]) -> None:
        self.settings = settings
        self.database = database
        self.now = now
        self.pulse = Pulse()
        self.services = Services(database, now)
        self.troubles = Troubles(database, now)
        self.files = _files(settings)
        ageing_s = settings.queue.ageing_s
        self._nudger = None if database.is_sqlite else Nudger(ageing_s)
        nudge: Nudge = self._nudger or _no_nudge
        queue = Queue(settings.queue, nudge)
        self.ledger = Ledger(database, queue, settings.queue, now)
        self.commitments = Commitments(database, queue, settings.queue, now)
        self.audit = AuditLog(database, Sealer(database, self.files.root), now)

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        migrate: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> Store:
        """Open the store that the settings name.

        Parameters
        ----------
        settings
            The effective settings.
        migrate
            Bring the database's schema up to date first, creating it if need be.
        now
            The clock.

        Raises
        ------
        StorageUnavailable
            If the database or the folder cannot be used, its schema is not this version's, or the
            folder is not the one that the database's images lie in.
        SettingsInvalid
            If the database's URL cannot be used.
        """
        folder = make_folder(settings.node.data_dir)  # SQLite's file may be in it
        database = open_database(settings.database_url)
        try:
            if migrate:
                migrations.upgrade(database)
            migrations.check(database)
            if not settings.bucket.name and not (folder / IMAGES).exists():
                database.read(_check_new)
            return cls(settings, database, now)
        except BaseException:
            database.close()
            raise

    def sweep_dispatch(self, *, thorough: bool = False) -> int:
        """Put right what a dispatcher that died has left behind; return how much.

        ``thorough`` also looks for waiting jobs that no dispatcher has been told of.
        """
        if self._nudger is None:
            return 0
        count = self.database.write(self._nudger.sweep)
        if thorough:
            count += self.database.write(self._nudger.restore)
        return count

    def reconcile(self) -> Reconciled:
        """Compare rows and files after a crash, and put right what can be; see `reconcile`."""
        return reconcile(self.database, self.ledger, self.files)

    def retire(self) -> Retired:
        """Delete old files that nothing needs any more; see `hipnode.storage.upkeep.retention`."""
        return retire(self.database, self.files, self.settings.retention, self.now())

    def vitals(self) -> Vitals:
        """Return how the audit log is, and how many images were not assessed, and why."""
        return self.database.read(lambda connection: vitals(connection, self.now()))

    def close(self) -> None:
        """Finish what is being written, and close every connection."""
        self.database.close()
