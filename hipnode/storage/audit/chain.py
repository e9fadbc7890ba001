"""What the log's seals say: the newest, the tree that they make, the heads that they contain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select, text

from hipnode.errors import StorageUnavailable
from hipnode.storage.audit import epochs
from hipnode.storage.audit.epochs import Epoch
from hipnode.storage.audit.heads import Head
from hipnode.storage.audit.keys import Keys
from hipnode.storage.audit.tree import Tree, split
from hipnode.storage.database.schema import audit, audit_tree, to_us
from hipnode.storage.database.schema import seal as seals

WRITERS_LOCK: Final = 0x68697001
"""The advisory lock that PostgreSQL's trigger on ``audit`` takes, shared, for each writer."""
HEAD: Final = "audit-head"
OLD_HEAD: Final = "audit-head.json"  # before schema 0021


def seal_hash(seal: Any) -> str:
    """Return what chains a seal to the one before (a row or a namespace of its values)."""
    leaves = hashlib.sha256(seal.leaves).hexdigest()
    content = (
        f"{seal.epoch}:{seal.size}:{seal.previous}:{seal.root}:{leaves}"
        f":{seal.first_id}:{seal.last_id}:{to_us(seal.sealed_utc)}"
    )
    return hashlib.sha256(content.encode()).hexdigest()


def fault_without_head(connection: Connection, newest: Row[Any] | None, old: str) -> str:
    if newest is None:
        return f"{OLD_HEAD} was published and all seals are gone" if old else ""
    if not old or newest.epoch > 0:
        return f"{HEAD} is missing"
    try:
        head = json.loads(old)
        number, hexadecimal, last = head["seal"], head["hash"], head["last_row"]
    except (ValueError, KeyError, TypeError):
        return f"{OLD_HEAD} is not a head of this log"
    if connection.execute(select(seals.c.hash).where(seals.c.id == number)).scalar() != hexadecimal:
        return f"seal {number}, up to row {last}, was published and is gone"
    return ""


def is_ours(seal: Row[Any], keys: Keys) -> bool:
    return keys.is_signed(seal.hash, seal.signature)


def is_contained(connection: Connection, head: Head) -> bool:
    """Tell whether the log's seals say that it goes on from a head; nothing is recomputed."""
    if head.size == 1:
        begun = next((e for e in epochs.every(connection) if e.id == head.epoch), None)
        return begun is not None and first_tree(begun).root() == head.root
    statement = select(seals.c.root).where(
        seals.c.epoch == head.epoch, seals.c.size == head.size, seals.c.last_id == head.last_row
    )
    return connection.execute(statement).scalar() == head.root.hex()


def first_tree(begun: Epoch) -> Tree:
    """Return an epoch's tree before any row is in it."""
    tree = Tree()
    tree.add(begun.entry)
    return tree


def present_epoch(connection: Connection) -> Epoch:
    this = epochs.newest(connection)
    if this is None:
        raise StorageUnavailable("The audit log has no epoch: somebody has removed it.")
    return this


def tree_of(connection: Connection, this: Epoch, newest: Row[Any] | None) -> Tree:
    """Return the epoch's tree; made again from its seals where its kept edge does not fit them."""
    is_new = newest is None or newest.epoch != this.id
    if newest is None or is_new:
        return first_tree(this)
    row = connection.execute(select(audit_tree)).one()
    if (row.epoch, row.size) == (this.id, newest.size):
        try:
            tree = Tree(row.size, row.edge)
        except ValueError:
            pass
        else:
            if tree.root().hex() == newest.root:
                return tree
    tree = first_tree(this)
    for leaves in _leaves(connection, this.id):
        for entry in split(leaves):
            tree.add(entry)
    return tree


def _leaves(connection: Connection, number: int) -> Iterator[bytes]:
    last = 0
    while True:
        page = connection.execute(
            select(seals.c.id, seals.c.leaves)
            .where(seals.c.epoch == number, seals.c.id > last)
            .order_by(seals.c.id)
            .limit(64)
        ).all()
        if not page:
            return
        for row in page:
            yield row.leaves
        last = page[-1].id


def newest_seal(connection: Connection) -> Row[Any] | None:
    columns = [column for column in seals.c if column is not seals.c.leaves]
    return connection.execute(select(*columns).order_by(seals.c.id.desc()).limit(1)).first()


def raise_numbers(connection: Connection, highest: int) -> None:
    newest = connection.execute(select(func.max(audit.c.id))).scalar() or 0
    if newest < highest:
        epochs.raise_numbers(connection, highest)


def is_anything_new(connection: Connection) -> bool:
    newest = newest_seal(connection)
    return newest_id(connection) > (newest.last_id if newest else 0)


def newest_id(connection: Connection) -> int:
    return connection.execute(select(func.max(audit.c.id))).scalar() or 0


def newest_id_once_writers_are_done(connection: Connection) -> int:
    """Wait for the writers at work, whose ids come in any order; hold off new ones meanwhile."""
    connection.execute(text("SET LOCAL lock_timeout = '2s'"))
    connection.execute(select(func.pg_advisory_xact_lock(WRITERS_LOCK)))
    return newest_id(connection)
