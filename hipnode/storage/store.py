"""One door to everything that lasts: database and files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Row, select

from hipnode.domain import AuditEvent, AuditRecord, Job
from hipnode.errors import StorageUnavailable
from hipnode.pulse import Pulse
from hipnode.settings import Settings
from hipnode.storage.audit import entries, keys
from hipnode.storage.audit.archives import Archive
from hipnode.storage.audit.keys import Keys
from hipnode.storage.audit.log import AuditLog
from hipnode.storage.audit.seal import Sealer
from hipnode.storage.database import check
from hipnode.storage.database import migrate as migrations
from hipnode.storage.database.engine import Database, open_database
from hipnode.storage.database.schema import instance
from hipnode.storage.desk.desk import Desk
from hipnode.storage.files.disk import FileStore, make_folder
from hipnode.storage.files.names import IMAGES
from hipnode.storage.ledger.hints import Nudger
from hipnode.storage.ledger.jobs import Queue
from hipnode.storage.ledger.ledger import Ledger
from hipnode.storage.ledger.promises import Commitments
from hipnode.storage.ledger.questions import Lookups
from hipnode.storage.ledger.readings import Readings
from hipnode.storage.ledger.recovery import Recovery
from hipnode.storage.upkeep import backup, faults, identity, private, quarantine
from hipnode.storage.upkeep.archiving import Archiver
from hipnode.storage.upkeep.clock import DatabaseClock
from hipnode.storage.upkeep.feeds import Feeds
from hipnode.storage.upkeep.holds import Holds
from hipnode.storage.upkeep.log_key import log_keys
from hipnode.storage.upkeep.reconcile import Reconciled, Reconciliation, take_up
from hipnode.storage.upkeep.retention import Retired, retire
from hipnode.storage.upkeep.scrub import Scrub, Scrubbed
from hipnode.storage.upkeep.selftests import SelfTests
from hipnode.storage.upkeep.services import Services
from hipnode.storage.upkeep.troubles import Troubles
from hipnode.storage.upkeep.vitals import Vitals, vitals


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


def _holders(settings: Settings) -> list[identity.Holder]:
    """Return what carries the node's identity, the place that all machines share first."""
    folder = identity.FolderHolder(settings.node.data_dir.absolute())
    if not settings.bucket.name:
        return [folder]
    from hipnode.storage.files.bucket import BucketHolder, open_bucket  # noqa: PLC0415 - an option

    return [BucketHolder(open_bucket(settings.bucket), identity.NAME), folder]


def _check_restored(settings: Settings) -> None:
    if (settings.node.data_dir / backup.UNFINISHED).exists():
        why = "A restore was begun here and not finished: run `hipnode restore` again."
        raise StorageUnavailable(why)


def _no_nudge(_connection: Connection, _row: Row[tuple[object, ...]]) -> None:
    """SQLite's dispatcher looks for itself."""


class Store:
    """The node's memory: one for each process, safe for all of its threads.

    Attributes
    ----------
    ledger
        What was received, what is to be done, what came of it: written as it goes.
    recovery
        What is done where it does not go well.
    lookups
        What is known of images, studies, jobs and results.
    readings
        What the models made of the images.
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
    holds
        What must be kept, whatever its age.
    feeds
        How far the hospital's own logs have been told what is on this one.
    desk
        What the desk asks and keeps.
    self_tests
        The node's tests of its own way.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        now: Callable[[], datetime] | DatabaseClock,
        audit_keys: Keys | None,
    ) -> None:
        self.settings = settings
        self.database = database
        self.now = now
        self.pulse = Pulse()
        clock = (now.machine, now.follow) if isinstance(now, DatabaseClock) else ()
        self.services = Services(database, now, *clock)
        self.troubles = Troubles(database, now)
        self.files = _files(settings)
        self._nudger = None if database.is_sqlite else Nudger(settings.queue.ageing_s)
        queue = Queue(settings.queue, self._nudger or _no_nudge)
        self.ledger = Ledger(database, queue, settings.queue, now)
        self.recovery = Recovery(database, queue, settings.queue, now)
        self.lookups = Lookups(database)
        self.readings = Readings(database)
        self.commitments = Commitments(database, queue, settings.queue, now)
        self.self_tests = SelfTests(database, queue, now)
        if audit_keys:
            entries.prepare(database.engine, audit_keys)
        sealer = Sealer(database, self.files.root, settings.audit_key_file, audit_keys)
        self.audit = AuditLog(database, sealer, now, settings.audit_archive_dir)
        self.holds = Holds(database, now)
        self.feeds = Feeds(database, self.audit, now)
        self.desk = Desk(database, lambda: sealer.keys, now)

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        migrate: bool = False,
        vouch: bool = True,
        now: Callable[[], datetime] | None = None,
    ) -> Store:
        """Open the store that the settings name.

        Parameters
        ----------
        settings
            The effective settings.
        migrate
            Bring the database's schema up to date first, creating it if need be.
        vouch
            Whether database, files and the audit log's key must belong together. Only what puts
            that right, or reads without believing, does without.
        now
            Another clock than the database's.

        Raises
        ------
        StorageUnavailable
            If the database or the folder cannot be used, its schema is not this version's, or they
            do not belong together: then nothing has been touched.
        SettingsInvalid
            If the database's URL cannot be used.
        """
        if vouch:
            _check_restored(settings)
            identity.check_before(settings.database_url, settings.node.data_dir)
        folder = make_folder(settings.node.data_dir)  # SQLite's file may be in it
        database = open_database(settings.database_url)
        try:
            if database.path is not None and migrate:
                private.make_private(database.path)
            private.close_to_others(folder, database.path, settings.audit_key_file)
            holders = _holders(settings)
            if vouch:
                identity.check(database, holders[0])
            if migrate:
                migrations.upgrade(database)
            migrations.check(database)
            if vouch and not settings.bucket.name and not (folder / IMAGES).exists():
                database.read(_check_new)
            if vouch:
                identity.join(database, *holders)
            clock = now or DatabaseClock(database)
            if isinstance(clock, DatabaseClock):
                clock.ask()
            return cls(
                settings, database, clock, log_keys(settings, database, clock(), vouch=vouch)
            )
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

    def reconcile(self, *, yes: bool = False) -> Reconciled:
        """Compare rows and files after a crash, and put right what can be.

        ``yes``: also where it is so much that a person must say that it is right.
        """
        identity.check(self.database, _holders(self.settings)[0])  # it may have been away at start
        return Reconciliation(self.database, self.recovery, self.files, self.now(), yes=yes).run()

    def take_up(self) -> int:
        """Queue again what was given up for want of a file that is there by now; count it."""
        return take_up(self.database, self.recovery, self.files)

    def scrub(self, share: float = 1.0) -> Scrubbed:
        """Compare the next ``share`` of what is stored with its digests."""
        return Scrub(self.database, self.files, self.now()).some(share)

    def set_damaged_aside(self, held: Job) -> int:
        """Set the images aside that a job works on and that are not what was received; count them.

        Only a damaged copy of what a bucket has is fetched again, and not counted.
        """
        scrub = Scrub(self.database, self.files, self.now())
        ids = instance.c.study_instance_uid == held.study_instance_uid
        if held.instance_id:
            ids = instance.c.id == held.instance_id
        statement = select(instance).where(ids, instance.c.retired_utc.is_(None))
        rows = self.database.rows(statement)
        return sum(not scrub.look(instance, row) for row in rows if row.path)

    def quarantined(self) -> tuple[int, int]:
        """Return how many files are in quarantine, and their bytes."""
        sizes = [size for _, _, size in self.files.quarantined()]
        return len(sizes), sum(sizes)

    def trim_quarantine(self) -> int:
        """Delete the oldest of what is in quarantine, down to the settings; return how much."""
        return quarantine.trim(self.database, self.files, self.settings.retention, self.now())

    def retire(self) -> Retired:
        """Delete old files that nothing needs any more; see `hipnode.storage.upkeep.retention`."""
        return retire(self.database, self.files, self.settings.retention, self.now())

    def archive(self, before: datetime, *, actor: str, reason: str) -> Archive:
        """Take old records out of the audit log; see `hipnode.storage.upkeep.archiving`."""
        archiver = Archiver(self.database, self.audit, self.settings.audit_archive_dir)
        feeds = [feed.name for feed in self.settings.feeds]
        return archiver.archive(before, self.now(), actor=actor, reason=reason, feeds=feeds)

    def take_key(self) -> None:
        """Take the key that lies in its file, or a new one, as the audit log's from now on.

        To be followed by `AuditLog.acknowledge`, which says so on the log.
        """
        made = keys.make(self.settings.audit_key_file)
        entries.prepare(self.database.engine, made)
        self.audit.take_key(made)

    def adopt(self, *, actor: str, reason: str) -> list[str]:
        """Join database and files on purpose; return which identities were given up.

        Raises
        ------
        StorageUnavailable
            If they cannot be used.
        InputRefused
            If no reason is given.
        """
        reason = entries.given(reason)
        given_up = identity.adopt(self.database, *_holders(self.settings))
        detail = {"given_up": given_up, "reason": reason}
        self.audit.append(AuditRecord(AuditEvent.NODE_ADOPTED, actor=actor, detail=detail))
        if self.audit.state().fault:  # its head is the other node's
            self.audit.acknowledge(actor=actor, reason=reason)
        return given_up

    def check_database(self, *, thorough: bool = False) -> list[str]:
        """Look for damage in the database itself; from then on nothing is written to it.

        Returns
        -------
        list of str
            What is wrong; empty where nothing is.
        """
        found = check.problems(self.database, thorough=thorough)
        self.database.mark_damaged(damaged=bool(found))
        if not self.database.is_sqlite:  # where nobody writes to a damaged one, nor a note
            why = f"it is damaged: {found[0]}" if found else ""
            self.database.write(lambda c: faults.note(c, self.now(), "database", why))
        return found

    def can_check_database(self) -> bool:
        """Tell whether anything here looks for such damage."""
        return check.can_look(self.database)

    def back_up(self, target: Path, *, actor: str) -> backup.BackedUp:
        """Copy database, files, key and head, and read the copy again; it is audited."""
        self.audit.seal()
        key_file = self.settings.audit_key_file
        done = backup.back_up(self.database, self.files, key_file, target, self.now())
        detail = {"files": done.files, "missing": done.missing, "sha256": done.database_sha256}
        self.audit.append(AuditRecord(AuditEvent.BACKUP_MADE, actor=actor, detail=detail))
        return done

    @classmethod
    def restore(
        cls,
        settings: Settings,
        source: Path,
        *,
        actor: str,
        reason: str,
        now: Callable[[], datetime] | None = None,
    ) -> backup.Lost:
        """Bring a backup back, and return what could not be; the log says so in a new epoch.

        Raises
        ------
        InputRefused
            If there is no such backup, it has been changed, or no reason is given.
        StorageUnavailable
            If it cannot be put where the settings say.
        """
        reason = entries.given(reason)
        chosen, folder = backup.newest(source), settings.node.data_dir.absolute()
        backup.bring_back(chosen, settings.database_url, folder, settings.audit_key_file)
        store = cls.open(settings, migrate=True, vouch=False, now=now)
        try:
            for holder in _holders(settings):
                identity.adopt(store.database, holder)
            lost = backup.compare(store.database, store.files, chosen.parent / backup.FILES)
            report = store.audit.report(actor=actor)
            store.audit.begin_epoch(
                AuditEvent.BACKUP_RESTORED,
                actor=actor,
                reason=f"{reason} (backup {chosen.name})",
                faults=(*report.acknowledged, *report.faults),
            )
        finally:
            store.close()
        (folder / backup.UNFINISHED).unlink()
        return lost

    def faults(self) -> list[str]:
        """Return what a person must see to, in words; the first is the oldest."""
        damaged = "database: it is damaged, nothing is taken in: `hipnode check`"
        found = [damaged] if self.database.is_damaged() else []
        noted = self.database.read(faults.every)
        try:
            if broken := self.audit.state().fault:
                found.append(f"audit log: {broken}")
        except StorageUnavailable as error:  # PostgreSQL meets damage where it lies
            found.append(f"audit log: it cannot be read: {error}")
        return found + noted

    def note_fault(self, name: str, why: str) -> None:
        """Note what a person must see to, or that it is mended, where ``why`` is empty."""
        self.database.write(lambda c: faults.note(c, self.now(), name, why))

    def noted_fault(self, name: str) -> str:
        """Return why a fault was noted that stands; "" where none does."""
        return self.database.read(lambda connection: faults.reason(connection, name))

    def known_files(self) -> tuple[int, int]:
        """Return how many of some files here the database knows, and how many those are."""
        some = _holders(self.settings)[0].some()
        return identity.known_of(self.database, some), len(some)

    def vitals(self) -> Vitals:
        """Return how the audit log is, and how many images were not assessed, and why."""
        return self.database.read(lambda connection: vitals(connection, self.now()))

    def close(self) -> None:
        """Finish what is being written, and close every connection."""
        self.database.close()
