"""Database and files belong together: both carry one identity, and nothing is touched before.

A database that is not that of the files would take every image for a stray, and every one of its
own rows for a loss. So a service does not start on such a pair; `join` brings two together that are
new, or that an upgrade finds together, and `adopt` on purpose.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import Connection, func, inspect, make_url, select, update
from sqlalchemy.exc import ArgumentError

from hipnode.errors import StorageUnavailable
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import instance, node, result
from hipnode.storage.files.disk import replace_durably
from hipnode.storage.files.names import IMAGES, RESULTS

NAME: Final = "node-identity"
_SAMPLE: Final = 50


@dataclass(frozen=True, slots=True)
class Carried:
    """What a folder or a bucket says of itself."""

    identity: str
    engine: str  # of the database that it was joined with: "sqlite" or "postgresql"

    def to_bytes(self) -> bytes:
        """Return it as it is kept."""
        return json.dumps({"identity": self.identity, "database": self.engine}).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a folder or a bucket answered: what it carries, or that it is away for now."""

    carried: Carried | None = None
    away: bool = False

    @property
    def nothing(self) -> bool:
        """Whether it is there, and says nothing of whose it is."""
        return self.carried is None and not self.away


class Holder(Protocol):
    """Where files lie that carry an identity: a folder, or a bucket."""

    may_be_away: bool
    """Whether a node may start while it cannot be asked."""

    def carried(self) -> bytes | None:
        """Return what is kept as the identity."""

    def carry(self, content: bytes) -> None:
        """Keep it, durably."""

    def some(self) -> list[str]:
        """Return the paths of some of its images and results, relative to it."""


class FolderHolder:
    """The node's folder."""

    may_be_away = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def carried(self) -> bytes | None:
        """Return what the folder carries, or None."""
        try:
            return (self._folder / NAME).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageUnavailable.of(error) from error

    def carry(self, content: bytes) -> None:
        """Write it into the folder."""
        try:
            replace_durably(self._folder / NAME, content)
        except OSError as error:
            raise StorageUnavailable.of(error) from error

    def some(self) -> list[str]:
        """Return some paths of its files."""
        found = (
            str(path.relative_to(self._folder))
            for top in (IMAGES, RESULTS)
            for path in (self._folder / top).rglob("*.dcm")
        )
        return list(islice(found, _SAMPLE))


def parse(content: bytes | None) -> Carried | None:
    """Return what a folder or bucket carries.

    Raises
    ------
    StorageUnavailable
        If it is not an identity.
    """
    if content is None:
        return None
    try:
        found = json.loads(content)
        return Carried(str(found["identity"]), str(found["database"]))
    except (ValueError, KeyError, TypeError) as error:
        raise StorageUnavailable(f"{NAME} of the node's files cannot be read.") from error


def check_before(url: str, folder: Path) -> None:
    """Refuse to make an empty SQLite database where the files belong to one that exists.

    Raises
    ------
    StorageUnavailable
        Saying with which engine the node ran.
    """
    carried = parse(FolderHolder(folder).carried())
    if carried is None or not url.startswith("sqlite"):
        return
    try:
        path = make_url(url).database
    except (ArgumentError, ValueError):
        return  # whoever opens it says so
    if path and Path(path).exists():
        return
    raise StorageUnavailable(
        f"There is no database at {path}, and {folder} belongs to one ({carried.engine},"
        f" {carried.identity}). Is database.url what it was, and its secret there? If the database"
        " is lost: `hipnode restore`."
    )


def identity(connection: Connection) -> str:
    """Return who the database is; "" where it does not know yet."""
    if not inspect(connection).has_table(node.name):
        return ""
    return str(connection.execute(select(node.c.identity)).scalar() or "")


def check(database: Database, holder: Holder) -> Asked:
    """Refuse a database and files of which each is another node's; return what the files say.

    A bucket that was this node's before may be away: nothing of it can be moved either, and it is
    asked again before anything is.

    Raises
    ------
    StorageUnavailable
        Naming both; or the folder or a new bucket cannot be asked.
    """
    known = database.read(identity)
    try:
        content = holder.carried()
    except StorageUnavailable:
        if not (holder.may_be_away and known and database.read(_has_joined)):
            raise
        return Asked(away=True)
    carried = parse(content)
    if carried and known and carried.identity != known:
        raise StorageUnavailable(
            f"The database ({known}) is not that of the node's files ({carried.identity},"
            f" {carried.engine}): nothing has been touched. Check database.url and node.data_dir;"
            " to join them on purpose: `hipnode adopt`."
        )
    return Asked(carried)


def _has_joined(connection: Connection) -> bool:
    return bool(connection.execute(select(node.c.joined)).scalar())


def join(database: Database, *holders: Holder) -> None:
    """Let files that carry no identity yet carry the database's, where they are its own.

    Raises
    ------
    StorageUnavailable
        If they carry another, or are not what the database knows.
    """
    asked = [check(database, holder) for holder in holders]
    known, joined = database.read(identity), database.read(_has_joined)
    if asked[0].nothing:
        if joined:
            raise StorageUnavailable(
                "The database has files elsewhere: here, nothing says whose they are. Is the folder"
                " mounted? To join them on purpose: `hipnode adopt`."
            )
        _check_sample(database, holders[0].some())
    for holder, found in zip(holders, asked, strict=True):
        if found.nothing:
            _carry(database, holder, known)
    if not joined:
        database.write(lambda c: c.execute(update(node).values(joined=True)))


def adopt(database: Database, *holders: Holder) -> list[str]:
    """Join database and files whatever they say; return which identities are given up."""
    known = database.read(identity)
    given_up = []
    for holder in holders:
        carried = parse(holder.carried())
        if carried is None or carried.identity != known:
            given_up.append(carried.identity if carried else "none")
        _carry(database, holder, known)
    database.write(lambda c: c.execute(update(node).values(joined=True)))
    return given_up


def known_of(database: Database, names: list[str]) -> int:
    """Return how many of these paths the database has rows of."""

    def count(connection: Connection) -> int:
        return sum(
            connection.execute(
                select(func.count(table.c.path.distinct())).where(table.c.path.in_(names))
            ).scalar_one()
            for table in (instance, result)
        )

    return database.read(count)


def _carry(database: Database, holder: Holder, known: str) -> None:
    engine = "sqlite" if database.is_sqlite else "postgresql"
    holder.carry(Carried(known, engine).to_bytes())


def _check_sample(database: Database, names: list[str]) -> None:
    """Before the first release that knows identities: the files must be those of the rows."""
    known = known_of(database, names)
    if 2 * known < len(names):
        raise StorageUnavailable(
            f"Of {len(names)} files looked at, the database knows {known}: it is not theirs."
            " Nothing has been touched. Check database.url and node.data_dir; to join them on"
            " purpose: `hipnode adopt`."
        )
