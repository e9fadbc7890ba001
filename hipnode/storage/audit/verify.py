"""The whole audit log recomputed: every row's hash, every seal, every tree, every head.

All that is wrong is named, not only the first of it. What a person has acknowledged in writing (a
signed epoch) stays named, apart.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Row, select

from hipnode.storage.audit import archives, epochs, heads
from hipnode.storage.audit.archives import Archive, Span, Spans
from hipnode.storage.audit.chain import first_tree, seal_hash
from hipnode.storage.audit.entries import keyed_hash, plain_hash
from hipnode.storage.audit.epochs import GENESIS, AuditFault, Epoch
from hipnode.storage.audit.heads import Head
from hipnode.storage.audit.keys import Keys
from hipnode.storage.audit.report import VerifyReport
from hipnode.storage.audit.seal import Sealer
from hipnode.storage.audit.tree import LEAF, Tree, batch_root, split
from hipnode.storage.database.engine import Database
from hipnode.storage.database.schema import audit, to_us
from hipnode.storage.database.schema import seal as seals

_PAGE: Final = 4096


@dataclass
class _Writer:
    """The newest row of one connection."""

    number: int = 0
    row_id: int = 0


@dataclass
class Verification:
    """One pass over the log.

    Parameters
    ----------
    database
        Where the log is.
    sealer
        What keeps its heads and its key.
    against
        Heads that were kept elsewhere.
    folder
        Where archives must be; None where nobody looks for them.
    part
        The archive whose own file this is: it has these records alone, and seals and no heads.
    """

    database: Database
    sealer: Sealer
    against: Sequence[Head] = ()
    folder: Path | None = None
    part: Archive | None = None
    report: VerifyReport = field(default_factory=VerifyReport)
    _faults: list[AuditFault] = field(default_factory=list)
    _epochs: dict[int, Epoch] = field(default_factory=dict)
    _writers: dict[str, _Writer] = field(default_factory=dict)
    _removed: list[int] = field(default_factory=list)
    _reached: dict[tuple[int, int], bytes] = field(default_factory=dict)
    _wanted: set[tuple[int, int]] = field(default_factory=set)
    _away: Spans = field(default_factory=Spans)
    _written: dict[str, list[Spans]] = field(default_factory=dict)
    _closing: dict[int, str] = field(default_factory=dict)  # seals that archives name
    _tree: Tree | None = None
    _epoch: int = 0
    _previous: str = GENESIS
    _last_sealed: int = 0
    _last_id: int = 0

    @property
    def _keys(self) -> Keys | None:
        return self.sealer.keys

    def run(self) -> VerifyReport:
        """Look at everything once, and return what was found."""
        head_fault = "" if self.part else self.sealer.head_fault()
        kept = heads.parse(self.part.head) if self.part else self.sealer.kept_heads()
        self._wanted = {(head.epoch, head.size) for head in (*kept, *self.against)}
        self._look_at_epochs()
        self._look_at_archives()
        for seal in self._seals():
            self._look_at_seal(seal)
        for number in sorted(set(self._closing) - {0}):
            self._wrong(None, f"seal {number}, up to which records were archived, is not the same")
        self._look_at_the_rest()
        key_fault = "" if self.part else self.sealer.key_fault()
        for fault in filter(None, (head_fault, key_fault)):
            self._wrong(None, fault)
        for head in kept if not head_fault else ():
            self._look_at_head(head)
        for head in self.against:
            self._look_at_head(head, outside=True)
        return self._sorted_out()

    def _wrong(self, row_id: int | None, reason: str, last_id: int | None = None) -> None:
        self._faults.append(AuditFault(row_id, reason, last_id))

    # --- epochs -------------------------------------------------------------------------------

    def _look_at_epochs(self) -> None:
        found = self.database.read(epochs.every)
        self._epochs = {begun.id: begun for begun in found}
        self.report.epochs = len(found)
        for number, begun in enumerate(found, 1):
            if begun.id != number:
                self._wrong(None, f"epoch {number} is missing")
            if self._keys is None:
                continue
            if begun.key_name != self._keys.name:
                self._wrong(
                    None, f"epoch {begun.id} has another key, {begun.key_name}: of its rows, only"
                    " their places in the tree can be verified",
                )  # fmt: skip
            elif not self._keys.is_signed(begun.content, begun.signature):
                self._wrong(None, f"epoch {begun.id} has been changed, or is not this node's")

    def _key_of(self, row_id: int) -> Keys | None:
        """Return the key of a row's hash, if it is here."""
        begun = [e for e in self._epochs.values() if e.first_id <= row_id]
        name = max(begun, key=lambda e: e.id).key_name if begun else ""
        return self._keys if self._keys and name in {self._keys.name, ""} else None

    # --- archives -----------------------------------------------------------------------------

    def _look_at_archives(self) -> None:
        """Learn which records are away: what is not signed is not believed."""
        away: list[Span] = []
        believed: list[Archive] = []
        for made in self.database.read(archives.every):
            if self._keys is not None and not archives.is_signed(made, self._keys):
                self._wrong(None, f"archive {made.id} has been changed, or is not this node's")
                continue
            believed.append(made)
            away += made.spans
            self._closing[made.seal_id] = made.seal_hash
            for name, numbers in made.written().items():
                self._written.setdefault(name, []).append(numbers)
            if self.folder is not None and (fault := made.fault_of(self.folder / made.file)):
                self._wrong(None, fault)
        self._away = Spans(away)
        self.report.archives = tuple(believed)
        if self.part and [one.content for one in believed] != [self.part.content]:
            self._wrong(None, f"archive {self.part.id} does not say of itself what the log says")

    def _is_elsewhere(self, row_id: int) -> bool:
        """Tell whether it is right that a record that is sealed is not here."""
        return (row_id in self._away) is not bool(self.part)

    # --- seals --------------------------------------------------------------------------------

    def _look_at_seal(self, seal: Row[Any]) -> None:
        self.report.seals += 1
        where = f"seal {seal.id}, rows {seal.first_id} to {seal.last_id}"
        if seal.epoch != self._epoch:
            self._enter(seal.epoch, where)
        after = self._last_sealed
        if seal.previous != self._previous:
            self._wrong(None, f"{where}: the seal before it is missing or changed")
            self._tree = None
            self._look_at_rows(self._rows(after, seal.first_id - 1))
            after = max(after, seal.first_id - 1)
        if seal.epoch:
            self._look_at_tree(seal, where)
        else:
            self._look_at_old_seal(seal, where)
        self._compare(seal, after)
        if self._closing.get(seal.id) == seal.hash:
            del self._closing[seal.id]
        self._previous, self._last_sealed = seal.hash, max(after, seal.last_id)

    def _enter(self, number: int, where: str) -> None:
        begun = self._epochs.get(number)
        if number < self._epoch or begun is None:
            self._wrong(None, f"{where}: it belongs to no epoch that follows")
        self._epoch = number
        self._tree = first_tree(begun) if begun else None
        if begun and self._tree:
            self._reached[number, 1] = self._tree.root()

    def _look_at_tree(self, seal: Row[Any], where: str) -> None:
        if seal.hash != seal_hash(seal):
            self._wrong(None, f"{where}: the seal has been changed")
            self._tree = None
        else:
            self._look_at_signature(seal, where)
        if self._tree is None:
            return
        for entry in split(seal.leaves):
            self._tree.add(entry)
        root = self._tree.root()
        if (self._tree.size, root.hex()) != (seal.size, seal.root):
            self._wrong(None, f"{where}: the root does not follow from its rows")
            self._tree = None
        elif (seal.epoch, seal.size) in self._wanted:
            self._reached[seal.epoch, seal.size] = root

    def _look_at_old_seal(self, seal: Row[Any], where: str) -> None:
        """Look at a seal from before schema 0021: each has a root of its own."""
        sealed = f"{seal.previous}:{seal.root}:{seal.first_id}:{seal.last_id}"
        if batch_root(split(seal.leaves)).hex() != seal.root:
            self._wrong(None, f"{where}: the root does not follow from its rows")
        if seal.hash != epochs.sha256(f"{sealed}:{to_us(seal.sealed_utc)}"):
            self._wrong(None, f"{where}: the seal has been changed")
        else:
            self._look_at_signature(seal, where)

    def _look_at_signature(self, seal: Row[Any], where: str) -> None:
        begun = self._epochs.get(seal.epoch)
        if self._keys is None or (begun and begun.key_name != self._keys.name):
            return  # named once, for the whole epoch
        if not self._keys.is_signed(seal.hash, seal.signature):
            self._wrong(None, f"{where}: the signature is not this node's")

    def _compare(self, seal: Row[Any], after: int) -> None:
        """Compare the rows that a seal covers with its leaves."""
        if len(seal.leaves) % LEAF.size:
            return  # its root does not follow from it either
        expected: dict[int, bytes] = dict(LEAF.iter_unpack(seal.leaves))
        there: list[Row[Any]] = []
        for row in self._rows(after, seal.last_id):
            there.append(row)
            if row.id not in expected:
                self._wrong(row.id, "the row has been slipped in")
            elif bytes.fromhex(row.row_hash)[:16] != expected.pop(row.id):
                self._wrong(row.id, "the row and its hash have been changed")
        for row_id in sorted(expected):
            if not self._is_elsewhere(row_id):
                self._wrong(row_id, "the row has been removed")
                insort(self._removed, row_id)
        self._look_at_rows(there, known=expected)

    # --- rows ---------------------------------------------------------------------------------

    def _look_at_rows(self, rows: Iterable[Row[Any]], known: Iterable[int] = ()) -> int:
        """Look at rows in the order of their numbers; return how many those are."""
        gone = sorted(known)
        count = 0
        for row in rows:
            count += 1
            self.report.first_utc = self.report.first_utc or row.at_utc
            self.report.last_utc = row.at_utc
            keyed_from = self._epochs[1].keyed_from if 1 in self._epochs else 0
            if row.id >= keyed_from and self.part is None:
                self._look_at_number(row.id, gone)
                self._look_at_writer(row)
            self._look_at_hash(row, keyed_from)
            self._last_id = row.id
        if gone:
            self._last_id = max(self._last_id, gone[-1])
        self.report.rows += count
        return count

    def _look_at_hash(self, row: Row[Any], keyed_from: int) -> None:
        values = {column.name: getattr(row, column.name) for column in audit.c}
        if row.id < keyed_from:
            right = plain_hash(values) == row.row_hash
        else:
            keys = self._key_of(row.id)
            right = keys is None or keyed_hash(values, keys.rows) == row.row_hash
        if not right:
            self._wrong(row.id, "the row has been changed, or is not this node's")

    def _look_at_number(self, row_id: int, gone: Sequence[int]) -> None:
        """SQLite's numbers follow on each other: one that is missing was a row."""
        if not self.database.is_sqlite:
            return
        place = bisect_right(gone, row_id)
        last = max(self._last_id, gone[place - 1] if place else 0)
        if row_id > last + 1 and not self._begins_an_epoch(row_id):
            self._wrong(last + 1, "the row has been removed before it was sealed", row_id - 1)
            insort(self._removed, last + 1)

    def _begins_an_epoch(self, row_id: int) -> bool:
        return any(begun.first_id == row_id for begun in self._epochs.values())

    def _look_at_writer(self, row: Row[Any]) -> None:
        """A connection counts its rows: none is missing, none comes twice."""
        name, _, number = row.writer.partition(":")
        last = self._writers.setdefault(name, _Writer())
        if (
            not number.isdecimal()
            or int(number) <= last.number
            or self._has_gone(name, number, row)
        ):
            self._wrong(row.id, "the row has been put in twice, or moved")
            return
        is_whole = int(number) == last.number + 1
        if not (
            is_whole
            or self._is_explained(last.row_id, row.id)
            or self._were_archived(name, last.number + 1, int(number) - 1)
        ):
            self._wrong(row.id, "rows of the same writer before it have been removed")
        last.number, last.row_id = int(number), row.id

    def _were_archived(self, writer: str, first: int, last: int) -> bool:
        """Tell whether archives have all of a connection's records from one count to another."""
        spans = self._written.get(writer, [])
        while first <= last:
            end = next((e for of in spans if (e := of.end_of(first)) is not None), None)
            if end is None:
                return False
            first = end + 1
        return True

    def _has_gone(self, writer: str, number: str, row: Row[Any]) -> bool:
        """Tell whether an archive has a connection's record, and this is another of its count."""
        return row.id not in self._away and self._were_archived(writer, int(number), int(number))

    def _is_explained(self, after: int, until: int) -> bool:
        """Tell whether a row between these two is known to be missing."""
        place = bisect_right(self._removed, after)
        return place < len(self._removed) and self._removed[place] < until

    def _look_at_the_rest(self) -> None:
        """Look at the rows that no seal covers yet, and at the last number that was given."""
        given = self.database.read(epochs.given_numbers) if self.database.is_sqlite else 0
        first = self.report.rows
        rest = iter(self._rows(self._last_sealed, None))
        newest = next(rest, None)
        if newest is not None:
            self.report.unsealed_since_utc = newest.at_utc
            self._look_at_rows([newest])
            self._look_at_rows(rest)
        self.report.unsealed = self.report.rows - first
        last = max([self._last_id, *(e.first_id - 1 for e in self._epochs.values())])
        if given > last and self.part is None:
            self._wrong(last + 1, "the row has been removed before it was sealed", given)

    # --- heads --------------------------------------------------------------------------------

    def _look_at_head(self, head: Head, *, outside: bool = False) -> None:
        self.report.heads += 1
        for number, begun in self._epochs.items():
            self._reached.setdefault((number, 1), first_tree(begun).root())
        if self._keys is None:
            return
        where = f"{head}, kept elsewhere," if outside else str(head)
        if not heads.is_signed(head, self._keys):
            self._wrong(None, f"{where} is not signed by this log's key")
        elif self._reached.get((head.epoch, head.size)) != head.root:
            given_up = [
                e for e in self._epochs.values()
                if any(lost.epoch == head.epoch for lost in heads.parse("\n".join(e.given_up)))
            ]  # fmt: skip
            why = "".join(f"; {e.actor} gave it up with epoch {e.id}: {e.reason}" for e in given_up)
            self._wrong(None, f"{where} was published and is not in this log{why}")

    # --- the end ------------------------------------------------------------------------------

    def _sorted_out(self) -> VerifyReport:
        signed = [
            e for e in self._epochs.values()
            if self._keys and self._keys.is_signed(e.content, e.signature)
        ]  # fmt: skip
        self.report.sort_out(self._faults, signed)
        return self.report

    # --- reading ------------------------------------------------------------------------------

    def _seals(self) -> Iterator[Row[Any]]:
        last = 0
        while True:
            statement = select(seals).where(seals.c.id > last).order_by(seals.c.id).limit(16)
            page = self.database.read(lambda c, s=statement: c.execute(s).all())  # type: ignore[misc]
            if not page:
                return
            yield from page
            last = page[-1].id

    def _rows(self, after: int, until: int | None) -> Iterator[Row[Any]]:
        while until is None or after < until:
            statement = select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(_PAGE)
            if until is not None:
                statement = statement.where(audit.c.id <= until)
            page = self.database.read(lambda c, s=statement: c.execute(s).all())  # type: ignore[misc]
            if not page:
                return
            yield from page
            after = page[-1].id
