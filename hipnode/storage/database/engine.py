"""The door to the database: transactions in, `StorageUnavailable` out.

PostgreSQL takes each transaction on a connection of the caller's own. SQLite has one writer: in a
process, a thread gathers the transactions that wait and commits them together, so that one fsync
serves them all; between processes, a lock file makes the writers queue in the kernel instead of
polling the database until one of them starves. A transaction that meets nobody else is committed by
its own thread: two changes of thread cost more than most transactions.
"""

from __future__ import annotations

import fcntl
import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, Row, Select, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError

from hipnode.errors import DatabaseDamaged, SettingsInvalid, StorageUnavailable
from hipnode.storage.database.door import (
    PATIENCE,
    door,
    is_broken,
    is_serialisation,
    translated,
)

T = TypeVar("T")
Work = Callable[[Connection], T]

_PLAN_ONCE: Final = " -c plan_cache_mode=force_generic_plan"
"""What writes goes by one index whatever its values: once prepared, it is planned no more (half
of finding the next job was that). What is asked is: the way to a patient is not that to a day."""
_PLAN_EACH: Final = text("SET LOCAL plan_cache_mode = force_custom_plan")
_BUSY_TIMEOUT_S: Final = 15.0
_GROUP: Final = 64
"""As many transactions share one commit at most."""
_TRIES: Final = 5


class Database:
    """PostgreSQL, and what both engines share.

    No connection is asked whether it still stands, which would cost each transaction a round trip:
    the first statement finds out, and the transaction is run again on another.

    Parameters
    ----------
    url
        SQLAlchemy's URL.
    """

    def __init__(self, url: str) -> None:
        self.engine = self._create_engine(url)

    def _create_engine(self, url: str) -> Engine:
        return create_engine(
            url,
            pool_size=8,
            max_overflow=56,
            pool_timeout=_BUSY_TIMEOUT_S,
            connect_args=PATIENCE | {"options": PATIENCE["options"] + _PLAN_ONCE},
        )

    @property
    def path(self) -> Path | None:
        """SQLite's file; None where the database is none."""
        name = self.engine.url.database
        return Path(name) if self.is_sqlite and name else None

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    def write(self, work: Work[T]) -> T:
        """Run ``work`` in a transaction, and return once that is durable.

        ``work`` may run more than once, the earlier runs without effect.

        Raises
        ------
        StorageUnavailable
            If nothing has been written; where the commit itself broke, if nobody can know.
        """
        for attempt in range(_TRIES):
            committing = False
            try:
                with door(), self.engine.begin() as connection:
                    value = work(connection)
                    committing = True
                return value
            except StorageUnavailable as error:
                again = is_serialisation(error) or (is_broken(error) and not committing)
                if not again or attempt == _TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def read(self, work: Work[T]) -> T:
        """Run ``work``, which must not write, on a consistent view of the database.

        Raises
        ------
        StorageUnavailable
            If the database cannot be reached.
        """
        try:
            return self._read(work)
        except StorageUnavailable as error:
            if not is_broken(error):
                raise
        return self._read(work)

    def rows(self, statement: Select[Any]) -> list[Row[Any]]:
        """Return all that a statement finds; see `read`."""
        return self.read(lambda connection: list(connection.execute(statement).all()))

    def _read(self, work: Work[T]) -> T:
        with door(), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection.execute(_PLAN_EACH)
            return work(connection)

    def written(self) -> int:
        """Return a number that changes when anybody commits; always 0 where nobody needs it."""
        return 0

    def is_damaged(self) -> bool:
        return False

    def mark_damaged(self, *, damaged: bool = True) -> None:
        """Nothing: PostgreSQL says so itself wherever it meets the damage."""

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


@dataclass(slots=True)
class _Submission:
    work: Work[Any]
    future: Future[Any] = field(default_factory=Future)


class SQLiteDatabase(Database):
    """SQLite with a single writing thread that commits in groups."""

    def __init__(self, url: str) -> None:
        path = make_url(url).database
        if not path or path == ":memory:":
            raise SettingsInvalid("database.url: an SQLite database needs a file")
        super().__init__(url)
        self._lock_path = Path(f"{path}.writer")
        self._damaged_path = Path(f"{path}.damaged")
        self._waiting: queue.SimpleQueue[_Submission | None] = queue.SimpleQueue()
        self._writing = threading.Lock()  # held by whoever has the next
        self._connection: Connection | None = None
        self._closed = threading.Lock()
        self._writer: threading.Thread | None = None
        self._watch: Any = None
        self._watch_lock = threading.Lock()

    def _create_engine(self, url: str) -> Engine:
        engine = create_engine(
            url,
            pool_size=8,
            max_overflow=56,
            pool_timeout=_BUSY_TIMEOUT_S,
            connect_args={"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False},
        )

        @event.listens_for(engine, "connect")
        def _configure(raw: Any, _record: Any) -> None:
            raw.isolation_level = None  # transactions are begun here, not by the driver's guess
            cursor = raw.cursor()
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")  # a commit survives a loss of power
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.close()

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            mode = connection.get_execution_options().get("hipnode_begin", "DEFERRED")
            connection.exec_driver_sql(f"BEGIN {mode}")

        return engine

    def write(self, work: Work[T]) -> T:
        """Run ``work`` in the next group of transactions; see `Database.write`."""
        if self.is_damaged():
            raise DatabaseDamaged
        submission = _Submission(work)
        if not self._write_at_once(submission):
            self._ensure_writer()
            self._waiting.put(submission)
        try:
            value: T = submission.future.result(_BUSY_TIMEOUT_S + 5)
        except FutureTimeoutError:
            if submission.future.cancel():
                raise StorageUnavailable("The database is busy.") from None
            value = submission.future.result()  # it is running now: its end must be known
        except DatabaseDamaged:
            self.mark_damaged()
            raise
        return value

    def _read(self, work: Work[T]) -> T:
        try:
            return super()._read(work)
        except DatabaseDamaged:
            self.mark_damaged()
            raise

    def is_damaged(self) -> bool:
        """Tell whether somebody has found the database damaged: nothing is written then."""
        return self._damaged_path.exists()

    def mark_damaged(self, *, damaged: bool = True) -> None:
        """Let every process know, without the database, that it is damaged; or that it is whole."""
        with suppress(OSError):
            if damaged:
                self._damaged_path.touch(mode=0o600)
            else:
                self._damaged_path.unlink(missing_ok=True)

    def written(self) -> int:
        """Return a number that changes when anybody commits, this process included."""
        with self._watch_lock, door():
            if self._watch is None:
                self._watch = self.engine.raw_connection()
            row = self._watch.cursor().execute("PRAGMA data_version").fetchone()
            return int(row[0])

    def close(self) -> None:
        """Finish what waits, and close every connection."""
        with self._closed:
            writer, self._writer = self._writer, None
        if writer:
            self._waiting.put(None)
            writer.join(_BUSY_TIMEOUT_S)
        with self._writing:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
        with self._watch_lock:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
        super().close()

    def _ensure_writer(self) -> None:
        if self._writer is None:
            with self._closed:
                if self._writer is None:
                    self._writer = threading.Thread(
                        target=self._write_groups, name="sqlite-writer", daemon=True
                    )
                    self._writer.start()

    def _write_at_once(self, submission: _Submission) -> bool:
        """Commit on the caller's own thread, if nobody else writes here or in another process."""
        if not self._writing.acquire(blocking=False):
            return False
        try:
            with self._turn(fcntl.LOCK_EX | fcntl.LOCK_NB):
                self._commit(submission, alone=True)
        except OSError:  # somebody else's turn, or trouble that the writer's thread will report
            return submission.future.done()
        finally:
            self._writing.release()
        return True

    def _write_groups(self) -> None:
        while (first := self._waiting.get()) is not None:
            if self._write_group(first):
                return

    def _write_group(self, first: _Submission) -> bool:
        """Commit ``first`` with all that wait once it is our turn; tell whether to stop then.

        Until it is our turn, those who wait may still give up: what they were told was not written
        is not written later.
        """
        try:
            with self._writing, self._turn(fcntl.LOCK_EX):
                return self._commit(first)
        except OSError:
            if not first.future.done() and first.future.set_running_or_notify_cancel():
                first.future.set_exception(StorageUnavailable())
            return False

    def _commit(self, first: _Submission, *, alone: bool = False) -> bool:
        """Commit ``first``, unless ``alone`` with all that wait; tell whether to stop then."""
        group: list[_Submission] = []
        done: list[tuple[_Submission, Any]] = []
        stopping = False
        try:
            with door(), self._to_write() as connection, connection.begin():
                stopping = self._gather(first, group, alone=alone)
                self._work(connection, group, done)
        except (StorageUnavailable, OSError) as error:
            failure = error if isinstance(error, StorageUnavailable) else StorageUnavailable()
            if not group and first.future.set_running_or_notify_cancel():
                group.append(first)
            for submission in group:
                if not submission.future.done():
                    submission.future.set_exception(failure)
            return stopping
        for submission, value in done:
            submission.future.set_result(value)
        return stopping

    def _gather(self, first: _Submission, group: list[_Submission], *, alone: bool) -> bool:
        """Move what waits into ``group``; tell whether the end of it all was among it."""
        following: _Submission | None = first
        while following is not None:
            if following.future.set_running_or_notify_cancel():
                group.append(following)
            if alone or len(group) == _GROUP:
                return False
            try:
                following = self._waiting.get_nowait()
            except queue.Empty:
                return False
        return True

    def _work(
        self,
        connection: Connection,
        group: list[_Submission],
        done: list[tuple[_Submission, Any]],
    ) -> None:
        """Run each of a group in a savepoint, so that one's failure is its own."""
        alone = len(group) == 1
        for submission in group:
            try:
                with nullcontext() if alone else connection.begin_nested():
                    done.append((submission, submission.work(connection)))
            except Exception as error:
                submission.future.set_exception(translated(error))
                raw = connection.connection.dbapi_connection
                if alone or not getattr(raw, "in_transaction", False):
                    # SQLite undoes the whole transaction where the disk fails it.
                    raise StorageUnavailable from error

    @contextmanager
    def _to_write(self) -> Iterator[Connection]:
        """Yield the connection that is kept for writing; after any trouble, the next is a new one.

        To fetch it from the pool each time costs a tenth of a small image's ingest.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            connection = self.engine.connect().execution_options(hipnode_begin="IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        self._connection = connection

    @contextmanager
    def _turn(self, how: int) -> Iterator[None]:
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)


def open_database(url: str) -> Database:
    """Return the database at ``url``; nothing is connected to yet.

    Raises
    ------
    SettingsInvalid
        If the URL is neither SQLite's nor PostgreSQL's.
    """
    try:
        backend = make_url(url).get_backend_name()
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise SettingsInvalid("database.url is not a database URL") from error
    if backend not in {"sqlite", "postgresql"}:
        raise SettingsInvalid(f"database.url: {backend} is neither sqlite nor postgresql")
    try:
        return SQLiteDatabase(url) if backend == "sqlite" else Database(url)
    except (ArgumentError, ImportError, ValueError, TypeError) as error:
        raise SettingsInvalid(
            "database.url names a driver that is not here, or what it does not know;"
            " PostgreSQL's is postgresql+psycopg (pip install 'hipnode[postgresql]')"
        ) from error
