"""Seals on the audit log: every second, what is new goes into the epoch's tree.

Writers never wait for each other: a row carries its own keyed hash, and the sealer takes the rows
that are final, in the order of their numbers. The key and the newest head lie outside the database.
A head is only ever replaced by one that goes on from it. Where the log does not, it has been cut,
emptied or rolled back: the head is kept, sealing goes on beside it, and the node says so until a
person acknowledges it in writing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, insert, select, update

from hipnode.errors import StorageUnavailable
from hipnode.faults import Point, reach
from hipnode.storage.audit import chain, epochs, heads
from hipnode.storage.audit import keys as keyring
from hipnode.storage.audit.chain import HEAD, OLD_HEAD
from hipnode.storage.audit.epochs import GENESIS, AuditFault, Epoch
from hipnode.storage.audit.heads import Head
from hipnode.storage.audit.keys import Keys
from hipnode.storage.audit.tree import leaf
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import audit, audit_tree
from hipnode.storage.database.schema import seal as seals
from hipnode.storage.files.disk import replace_durably

SEALER_LOCK: Final = 0x68697002

BESIDE: Final = "audit-head.beside"
GIVEN_UP: Final = "audit-heads.given-up"
_BATCH: Final = 4096


@dataclass(frozen=True, slots=True)
class AuditState:
    """What can be said of the audit log without reading all of it."""

    epoch: int
    unsealed: int
    unsealed_since_utc: datetime | None
    sealed_utc: datetime | None
    fault: str  # why nobody can vouch for it; "" where nothing is known


@dataclass(frozen=True, slots=True)
class _Seal:
    epoch: int
    size: int
    previous: str
    root: str
    leaves: bytes
    first_id: int
    last_id: int
    sealed_utc: datetime


class Sealer:
    """Writes seals, publishes heads, and knows whether the log goes on from the last one.

    Parameters
    ----------
    database
        Where the audit log is.
    folder
        Where heads are kept: outside the database.
    key_file
        Where the log's key lies.
    keys
        The log's key; None where it is not here.
    """

    def __init__(self, database: Database, folder: Path, key_file: Path, keys: Keys | None) -> None:
        self._database = database
        self._folder = folder
        self._key_file = key_file
        self.keys = keys

    # --- sealing ------------------------------------------------------------------------------

    def seal(self, now: datetime) -> int:
        """Seal the rows that are final and not yet sealed; return how many those are.

        Raises
        ------
        StorageUnavailable
            If the database or the folder cannot be used, or the key is not here.
        """
        if self.keys is None:
            raise StorageUnavailable("Nothing can be sealed: the audit log's key is not here.")
        beside = bool(self.head_fault())
        if beside:
            self._keep_numbers_above_the_head()
        elif not (self._folder / HEAD).exists():
            self._publish(beside=False)  # before the first seal, so that none is without a head
        if not self._database.read(chain.is_anything_new):
            return 0
        horizon = self._horizon()
        total = 0
        while True:
            sealed = self._database.write(lambda c: self._seal_batch(c, horizon, now))
            if not sealed:
                return total
            total += sealed
            reach(Point.SEAL_COMMITTED)
            self._publish(beside=beside)

    def _horizon(self) -> int:
        """Return the highest id below which no row can appear any more."""
        if self._database.is_sqlite:  # one writer: ids appear in their order
            return self._database.read(chain.newest_id)
        return self._database.write(chain.newest_id_once_writers_are_done)

    def _seal_batch(self, connection: Connection, horizon: int, now: datetime) -> int:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(SEALER_LOCK)))
        newest = chain.newest_seal(connection)
        last_id, previous = (newest.last_id, newest.hash) if newest else (0, GENESIS)
        rows = connection.execute(
            select(audit.c.id, audit.c.row_hash)
            .where(audit.c.id > last_id, audit.c.id <= horizon)
            .order_by(audit.c.id)
            .limit(_BATCH)
        ).all()
        if not rows or self.keys is None:
            return 0
        this = chain.present_epoch(connection)
        tree = chain.tree_of(connection, this, newest)
        leaves = [leaf(row.id, row.row_hash) for row in rows]
        for entry in leaves:
            tree.add(entry)
        made = _Seal(
            this.id, tree.size, previous, tree.root().hex(), b"".join(leaves),
            rows[0].id, rows[-1].id, now,
        )  # fmt: skip
        chained = chain.seal_hash(made)
        values = {name: getattr(made, name) for name in _Seal.__slots__}
        values |= {"hash": chained, "signature": self.keys.sign(chained)}
        connection.execute(insert(seals).values(values))
        edge = {"epoch": this.id, "size": tree.size, "edge": tree.edge}
        connection.execute(update(audit_tree).values(edge))
        reach(Point.SEAL_WRITTEN)
        return len(rows)

    # --- heads --------------------------------------------------------------------------------

    def head(self) -> Head | None:
        """Return the head of the log as it is now, signed; None where there is no log or key."""
        return None if self.keys is None else self._database.read(self._head)

    def _head(self, connection: Connection) -> Head | None:
        this = epochs.newest(connection)
        if this is None or self.keys is None:
            return None
        newest = chain.newest_seal(connection)
        if newest is None or newest.epoch != this.id:
            root = chain.first_tree(this).root()
            last_id = newest.last_id if newest else this.first_id - 1
            return heads.signed(self.keys, this.id, 1, root, last_id)
        root = bytes.fromhex(newest.root)
        return heads.signed(self.keys, newest.epoch, newest.size, root, newest.last_id)

    def _publish(self, *, beside: bool) -> None:
        head = self.head()
        if head is None:
            return
        path = self._folder / (BESIDE if beside else HEAD)
        try:
            replace_durably(path, head.note().encode())
            if not beside:
                (self._folder / OLD_HEAD).unlink(missing_ok=True)
        except OSError as error:
            raise StorageUnavailable(f"{path} cannot be written: {error.strerror}.") from error

    def kept_heads(self) -> list[Head]:
        """Return the heads that lie in the node's folder, the one beside included."""
        kept = self._kept()
        return [head for name in (HEAD, BESIDE) for head in heads.parse(kept.get(name, ""))]

    def _kept(self) -> dict[str, str]:
        """Return what lies in the folder: read before the database, which is ahead of it then."""
        found = {}
        for name in (HEAD, BESIDE, OLD_HEAD):
            try:
                found[name] = (self._folder / name).read_text(encoding="utf-8", errors="replace")
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StorageUnavailable(f"{name} cannot be read: {error.strerror}.") from error
        return found

    def key_fault(self) -> str:
        """Return what is wrong with the file of the log's key; "" where nothing is."""
        found = keyring.read(self._key_file)
        if found is None:
            return (
                f"{self._key_file.name} is gone: the signature of what it made cannot be verified"
            )
        if self.keys is None or found.name != self.keys.name:
            return f"{self._key_file.name} has been replaced: its signature is not this log's"
        return ""

    def head_fault(self) -> str:
        """Return why the log does not go on from its last head; "" where it does."""
        kept = self._kept()
        return self._database.read(lambda c: self._head_fault(c, kept))

    def _head_fault(self, connection: Connection, kept: dict[str, str]) -> str:
        if self.keys is None:
            return "the log's key is not here"
        this, newest = epochs.newest(connection), chain.newest_seal(connection)
        if this is None or not self.keys.is_signed(this.content, this.signature):
            return "the signature of the present epoch is not this node's"
        if newest is not None and newest.epoch and not chain.is_ours(newest, self.keys):
            return f"the signature of seal {newest.id} is not this node's"
        found = heads.parse(kept.get(HEAD, ""))
        if BESIDE in kept:
            was = (
                f"{found[0]} was published and is gone, or was" if found else f"no {HEAD} was here"
            )
            return f"{was}: heads are kept beside it"
        if HEAD not in kept:
            return chain.fault_without_head(connection, newest, kept.get(OLD_HEAD, ""))
        if len(found) != 1 or not heads.is_signed(found[0], self.keys):
            return f"{HEAD} is not a head of this log"
        return (
            ""
            if chain.is_contained(connection, found[0])
            else f"{found[0]} was published and is gone"
        )

    def _keep_numbers_above_the_head(self) -> None:
        """See to it that no number of a row that is gone comes again."""
        highest = max((head.last_row for head in self.kept_heads()), default=0)
        self._database.write(lambda c: chain.raise_numbers(c, highest))

    # --- what is known of it ------------------------------------------------------------------

    def state(self) -> AuditState:
        """Return what is known of the log without reading all of it."""
        fault, kept = self.key_fault(), self._kept()
        return self._database.read(lambda c: self._state(c, fault, kept))

    def _state(self, connection: Connection, key_fault: str, kept: dict[str, str]) -> AuditState:
        newest, this = chain.newest_seal(connection), epochs.newest(connection)
        last_id = newest.last_id if newest else 0
        count, since = connection.execute(
            select(func.count(), func.min(audit.c.at_utc)).where(audit.c.id > last_id)
        ).one()
        return AuditState(
            this.id if this else 0, count, since, newest.sealed_utc if newest else None,
            key_fault or self._head_fault(connection, kept),
        )  # fmt: skip

    def begin_epoch(
        self,
        connection: Connection,
        now: datetime,
        *,
        actor: str,
        reason: str,
        faults: Sequence[AuditFault],
    ) -> Epoch:
        """Begin another epoch, which gives up the heads that the log does not go on from."""
        if self.keys is None:
            raise StorageUnavailable("No epoch can be begun: the audit log's key is not here.")
        kept = self.kept_heads()
        lost = [head.line() for head in kept if not chain.is_contained(connection, head)]
        above = max((head.last_row for head in kept), default=0)
        return epochs.begin(
            connection, self.keys, now,
            actor=actor, reason=reason, faults=faults, given_up=lost, above=above,
        )  # fmt: skip

    def replace_heads(self) -> None:
        """Publish the head of a new epoch, and keep the others in a file of what was given up."""
        try:
            given_up = "".join(self._kept().values())
            with (self._folder / GIVEN_UP).open("a", encoding="utf-8") as file:
                file.write(given_up)
            self._publish(beside=False)
            (self._folder / BESIDE).unlink(missing_ok=True)
        except OSError as error:
            raise StorageUnavailable(f"Heads cannot be written: {error.strerror}.") from error
