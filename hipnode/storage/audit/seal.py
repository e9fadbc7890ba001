"""Seals on the audit log: row hashes gathered into Merkle roots, the roots chained and signed.

Writers never wait for each other: a row carries only its own hash. Every few seconds the sealer
takes the rows that are final, in the order of their ids, and writes one seal over them. The signing
key and the newest seal's hash lie in files outside the database, so that neither a rewritten row,
nor a rewritten chain, nor a log cut off at its end goes unnoticed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from struct import Struct
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, text

from hipnode.errors import StorageUnavailable
from hipnode.faults import Point, reach
from hipnode.storage.audit.entries import row_hash
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import audit, to_us
from hipnode.storage.database.schema import seal as seals
from hipnode.storage.files.disk import replace_durably

WRITERS_LOCK: Final = 0x68697001
"""The advisory lock that PostgreSQL's trigger on ``audit`` takes, shared, for each writer."""
SEALER_LOCK: Final = 0x68697002

_BATCH: Final = 4096
_LEAF: Final = Struct(">q16s")
_GENESIS: Final = "0" * 64


@dataclass(frozen=True, slots=True)
class AuditFault:
    """The first thing that is wrong with the audit log. ``row_id`` is None where a seal is."""

    row_id: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a verification looked at, and the first fault if there is one."""

    rows: int
    seals: int
    fault: AuditFault | None


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over ``leaves``; leaves and nodes are hashed apart (as in RFC 6962 2.1)."""
    level = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        pairs = [
            hashlib.sha256(b"\1" + level[i] + level[i + 1]).digest()
            for i in range(0, len(level) - 1, 2)
        ]
        level = pairs + level[len(pairs) * 2 :]
    return level[0] if level else hashlib.sha256(b"").digest()


def _seal_hash(previous: str, root: str, first_id: int, last_id: int, sealed: datetime) -> str:
    content = f"{previous}:{root}:{first_id}:{last_id}:{to_us(sealed)}"
    return hashlib.sha256(content.encode()).hexdigest()


class Sealer:
    """Writes seals and checks them.

    Parameters
    ----------
    database
        Where the audit log is.
    folder
        Where the signing key and the newest seal's hash are kept: outside the database.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._key_path = folder / "audit.key"
        self._head_path = folder / "audit-head.json"

    # --- sealing ------------------------------------------------------------------------------

    def seal(self, now: datetime) -> int:
        """Seal the rows that are final and not yet sealed; return how many those are.

        Raises
        ------
        StorageUnavailable
            If the database or the folder cannot be used.
        """
        horizon = self._horizon()
        key = self._key()
        total = 0
        while True:
            sealed = self._database.write(lambda c: self._seal_batch(c, horizon, now, key))
            if not sealed:
                return total
            total += sealed
            reach(Point.SEAL_COMMITTED)
            self._publish()

    def _horizon(self) -> int:
        """Return the highest id below which no row can appear any more."""
        if self._database.is_sqlite:  # one writer: ids appear in their order
            return self._database.read(_newest_id)
        return self._database.write(_newest_id_once_writers_are_done)

    def _seal_batch(self, connection: Connection, horizon: int, now: datetime, key: bytes) -> int:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(SEALER_LOCK)))
        newest = connection.execute(
            select(seals.c.last_id, seals.c.hash).order_by(seals.c.id.desc()).limit(1)
        ).first()
        last_id, previous = (newest.last_id, newest.hash) if newest else (0, _GENESIS)
        rows = connection.execute(
            select(audit.c.id, audit.c.row_hash)
            .where(audit.c.id > last_id, audit.c.id <= horizon)
            .order_by(audit.c.id)
            .limit(_BATCH)
        ).all()
        if not rows:
            return 0
        leaves = [_leaf(row.id, row.row_hash) for row in rows]
        root = merkle_root(leaves).hex()
        chained = _seal_hash(previous, root, rows[0].id, rows[-1].id, now)
        connection.execute(
            insert(seals).values(
                first_id=rows[0].id,
                last_id=rows[-1].id,
                leaves=b"".join(leaves),
                root=root,
                previous=previous,
                hash=chained,
                signature=_sign(key, chained),
                sealed_utc=now,
            )
        )
        reach(Point.SEAL_WRITTEN)
        return len(rows)

    def _key(self) -> bytes:
        """Return the signing key; the first time, make it."""
        try:
            if not self._key_path.exists():
                temporary = self._key_path.with_name(f".{secrets.token_hex(8)}.key")
                replace_durably(temporary, secrets.token_hex(32).encode())
                try:
                    os.link(temporary, self._key_path)
                except FileExistsError:
                    pass  # another process was faster: its key counts
                finally:
                    temporary.unlink()
            return self._key_path.read_bytes().strip()
        except OSError as error:
            raise StorageUnavailable(f"{self._key_path} cannot be used.") from error

    def _publish(self) -> None:
        newest = self._database.read(
            lambda c: c.execute(
                select(seals.c.id, seals.c.hash, seals.c.last_id).order_by(seals.c.id.desc())
            ).first()
        )
        if newest:
            document = {"seal": newest.id, "hash": newest.hash, "last_row": newest.last_id}
            try:
                replace_durably(self._head_path, json.dumps(document).encode())
            except OSError as error:
                raise StorageUnavailable(f"{self._head_path} cannot be written.") from error

    # --- verifying ----------------------------------------------------------------------------

    def verify(self) -> VerifyReport:
        """Recompute every row's hash, every root, the chain and its signatures.

        Returns
        -------
        VerifyReport
            With the first fault in the order of the rows: a row that was changed, removed or
            slipped in, or a seal that does not follow from the one before.
        """
        key = self._key_path.read_bytes().strip() if self._key_path.exists() else None
        rows = sealed = last_id = 0
        previous = _GENESIS
        newest_id = 0
        for seal in self._seals():
            fault = _seal_fault(seal, previous, key) or self._batch_fault(seal, last_id)
            sealed += 1
            if fault:
                return VerifyReport(rows, sealed, fault)
            rows += len(seal.leaves) // _LEAF.size
            previous, last_id, newest_id = seal.hash, seal.last_id, seal.id
        if fault := self._head_fault(newest_id):
            return VerifyReport(rows, sealed, fault)
        for row in self._rows(last_id, None):
            rows += 1
            if _recomputed(row) != row.row_hash:
                return VerifyReport(rows, sealed, AuditFault(row.id, "the row has been changed"))
        return VerifyReport(rows, sealed, None)

    def _batch_fault(self, seal: Row[Any], last_id: int) -> AuditFault | None:
        """Compare the rows that a seal covers with its leaves."""
        leaves = list(_LEAF.iter_unpack(seal.leaves))
        expected = iter(leaves)
        for row in self._rows(last_id, seal.last_id):
            leaf = next(expected, None)
            if leaf is None or row.id < leaf[0]:
                return AuditFault(row.id, "the row has been slipped in")
            if row.id > leaf[0]:
                return AuditFault(leaf[0], "the row has been removed")
            if _recomputed(row) != row.row_hash:
                return AuditFault(row.id, "the row has been changed")
            if bytes.fromhex(row.row_hash)[:16] != leaf[1]:
                return AuditFault(row.id, "the row and its hash have been changed")
        if (leaf := next(expected, None)) is not None:
            return AuditFault(leaf[0], "the row has been removed")
        return None

    def _head_fault(self, newest_id: int) -> AuditFault | None:
        """Compare the newest seal with the one published: the end may have been cut off."""
        if not self._head_path.exists():
            return AuditFault(None, f"{self._head_path.name} is missing") if newest_id else None
        head = json.loads(self._head_path.read_bytes())
        found = self._database.read(
            lambda c: c.execute(select(seals.c.hash).where(seals.c.id == head["seal"])).scalar()
        )
        if found != head["hash"]:
            return AuditFault(
                None,
                f"seal {head['seal']}, up to row {head['last_row']}, was published and is gone",
            )
        return None

    def _seals(self) -> Iterator[Row[Any]]:
        last = 0
        while True:
            statement = select(seals).where(seals.c.id > last).order_by(seals.c.id).limit(16)
            page = self._database.read(lambda c, s=statement: c.execute(s).all())  # type: ignore[misc]
            if not page:
                return
            yield from page
            last = page[-1].id

    def _rows(self, after: int, until: int | None) -> Iterator[Row[Any]]:
        while True:
            statement = select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(_BATCH)
            if until is not None:
                statement = statement.where(audit.c.id <= until)
            page = self._database.read(lambda c, s=statement: c.execute(s).all())  # type: ignore[misc]
            if not page:
                return
            yield from page
            after = page[-1].id


def _seal_fault(seal: Row[Any], previous: str, key: bytes | None) -> AuditFault | None:
    leaves = [seal.leaves[i : i + _LEAF.size] for i in range(0, len(seal.leaves), _LEAF.size)]
    where = f"seal {seal.id}, rows {seal.first_id} to {seal.last_id}"
    if seal.previous != previous:
        return AuditFault(None, f"{where}: the seal before it is missing or changed")
    if len(seal.leaves) % _LEAF.size or merkle_root(leaves).hex() != seal.root:
        return AuditFault(None, f"{where}: the root does not follow from its rows")
    if seal.hash != _seal_hash(previous, seal.root, seal.first_id, seal.last_id, seal.sealed_utc):
        return AuditFault(None, f"{where}: the seal has been changed")
    if key is None or not hmac.compare_digest(seal.signature, _sign(key, seal.hash)):
        return AuditFault(None, f"{where}: the signature is not this node's")
    return None


def _recomputed(row: Row[Any]) -> str:
    return row_hash({column.name: getattr(row, column.name) for column in audit.c})


def _leaf(row_id: int, hexadecimal: str) -> bytes:
    return _LEAF.pack(row_id, bytes.fromhex(hexadecimal)[:16])


def _sign(key: bytes, content: str) -> str:
    return hmac.new(key, content.encode(), hashlib.sha256).hexdigest()


def _newest_id(connection: Connection) -> int:
    return connection.execute(select(func.max(audit.c.id))).scalar() or 0


def _newest_id_once_writers_are_done(connection: Connection) -> int:
    """Wait for the writers at work, whose ids come in any order; hold off new ones meanwhile."""
    connection.execute(text("SET LOCAL lock_timeout = '2s'"))
    connection.execute(select(func.pg_advisory_xact_lock(WRITERS_LOCK)))
    return _newest_id(connection)
