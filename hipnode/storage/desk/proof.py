"""That a record is in the log: the path from its leaf to the root of a signed head.

Whoever has a record's number and hash, the path and the head recomputes the root with any library
for RFC 6962, or with a few lines of SHA-256.

References
----------
RFC 6962 2.1.1, Merkle Audit Paths.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from hipnode.storage.audit import epochs, heads
from hipnode.storage.audit.heads import Head
from hipnode.storage.audit.keys import Keys
from hipnode.storage.audit.tree import LEAF, split
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import seal


@dataclass(frozen=True, slots=True)
class Proof:
    """A record's place in the log."""

    row_id: int
    entry: bytes  # what the leaf is made of
    index: int  # the leaf's number, from 0
    path: tuple[bytes, ...]  # from the leaf's sibling to the root's child


@dataclass(frozen=True, slots=True)
class Proven:
    """Proofs, and the head that they lead to."""

    head: Head
    verifier: str  # the head's public key
    proofs: dict[int, Proof]  # by the number of the record


class Prover:
    """Makes proofs; each reads all leaves of the epoch once.

    Parameters
    ----------
    database
        Where the seals are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def prove(self, row_ids: Iterable[int], keys: Keys) -> Proven | None:
        """Return proofs of those records that the present epoch has sealed; None without any seal.

        Parameters
        ----------
        row_ids
            The numbers of the records.
        keys
            The log's key, which signs the head.
        """
        wanted = set(row_ids)

        def work(connection: Connection) -> Proven | None:
            this = epochs.newest(connection)
            if this is None:
                return None
            newest = select(seal).where(seal.c.epoch == this.id).order_by(seal.c.id.desc()).limit(1)
            last = connection.execute(newest).first()
            if last is None:
                return None
            places: dict[int, int] = {}
            entries: dict[int, bytes] = {}
            for index, entry in enumerate(_entries(connection, this.id, last.id), 1):
                row_id = LEAF.unpack(entry)[0]
                if row_id in wanted:
                    places[index], entries[index] = row_id, entry
            leaves = _with_first(this.entry, _entries(connection, this.id, last.id))
            paths = audit_paths(leaves, sorted(places))
            root = bytes.fromhex(last.root)
            head = heads.signed(keys, this.id, last.size, root, last.last_id)
            proofs = {
                places[index]: Proof(places[index], entries[index], index, tuple(path))
                for index, path in paths.items()
            }
            return Proven(head, heads.verifier(keys, this.id), proofs)

        return self._database.read(work)


def _with_first(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others


def _entries(connection: Connection, epoch: int, last: int) -> Iterator[bytes]:
    after = 0
    while True:
        page = connection.execute(
            select(seal.c.id, seal.c.leaves)
            .where(seal.c.epoch == epoch, seal.c.id > after, seal.c.id <= last)
            .order_by(seal.c.id)
            .limit(64)
        ).all()
        if not page:
            return
        for row in page:
            yield from split(row.leaves)
        after = page[-1].id


def audit_paths(leaves: Iterable[bytes], wanted: Sequence[int]) -> dict[int, list[bytes]]:
    """Return the audit path of each wanted leaf, all in one pass.

    Parameters
    ----------
    leaves
        All entries of the tree, in order.
    wanted
        The numbers of the leaves, from 0, in order.
    """
    paths: dict[int, list[bytes]] = {index: [] for index in wanted}
    stack: list[tuple[int, int, bytes]] = []  # first leaf, number of leaves, root of a subtree

    def merge() -> None:
        begin, size, left = stack[-2]
        middle, more, right = stack[-1]
        for index in wanted[bisect_left(wanted, begin) : bisect_left(wanted, middle)]:
            paths[index].append(right)
        for index in wanted[bisect_left(wanted, middle) : bisect_left(wanted, middle + more)]:
            paths[index].append(left)
        root = hashlib.sha256(b"\1" + left + right).digest()
        stack[-2:] = [(begin, size + more, root)]

    for number, entry in enumerate(leaves):
        stack.append((number, 1, hashlib.sha256(b"\0" + entry).digest()))
        while len(stack) > 1 and stack[-1][1] == stack[-2][1]:
            merge()
    while len(stack) > 1:
        merge()
    return paths
