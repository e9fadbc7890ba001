"""What was taken out of the audit log into files: which records, by whom, why, and whither.

An archive takes the records away and nothing else: their leaves stay in the seals, so the tree, its
heads and every head that was kept elsewhere go on to verify. That records may be away is signed
with the log's key: whoever has the database alone can say it of none.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, insert, select

from hipnode.storage.audit.keys import Keys
from hipnode.storage.database.archives import audit_archive, audit_archived
from hipnode.storage.database.schema import to_us

Span = tuple[int, int]
"""Numbers from one to another, both included."""


class Spans:
    """Numbers, as spans in their order.

    Parameters
    ----------
    spans
        Of which none overlap.
    """

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._spans = sorted(spans)

    def __contains__(self, number: int) -> bool:
        return self.end_of(number) is not None

    def end_of(self, number: int) -> int | None:
        """Return where the span ends that has a number; None where none has it."""
        place = bisect_right(self._spans, (number, float("inf"))) - 1
        return self._spans[place][1] if place >= 0 and number <= self._spans[place][1] else None


def gathered(spans: list[Span], number: int) -> None:
    """Add a number that is larger than all before: to the last span, or as one of its own."""
    if spans and spans[-1][1] + 1 == number:
        spans[-1] = (spans[-1][0], number)
    else:
        spans.append((number, number))


@dataclass(frozen=True, slots=True)
class Archive:
    """A row of ``audit_archive`` with its spans."""

    id: int
    made_utc: datetime
    before_utc: datetime
    actor: str
    reason: str
    seal_id: int
    seal_hash: str
    last_id: int
    rows: int
    head: str
    writers: str
    file: str
    spans: tuple[Span, ...]
    size_bytes: int = 0
    sha256: str = ""  # "" in the file itself
    signature: str = ""

    @property
    def content(self) -> str:
        """What is signed."""
        moments = {"made_utc": to_us(self.made_utc), "before_utc": to_us(self.before_utc)}
        values = asdict(self) | moments | {"signature": ""}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    def __str__(self) -> str:
        first = self.spans[0][0] if self.spans else 0
        return (
            f"archive {self.id}: {self.rows} records from {first} to {self.last_id}, taken out by"
            f" {self.actor} on {self.made_utc:%Y-%m-%d}: {self.reason}; {self.file}, sha256"
            f" {self.sha256}"
        )

    def written(self) -> dict[str, Spans]:
        """Return, of each connection whose records went, which of them."""
        found = json.loads(self.writers)
        return {name: Spans((first, last) for first, last in of) for name, of in found.items()}

    def fault_of(self, path: Path) -> str:
        """Return what is wrong with its file, without reading it; "" where nothing is."""
        try:
            size = path.stat().st_size
        except OSError:
            return f"archive {self.id} with {self.rows} records is not here: {path.name}"
        return "" if size == self.size_bytes else f"archive {self.id} has another size: {path.name}"


def every(connection: Connection) -> list[Archive]:
    """Return all archives, the first one first."""
    spans: dict[int, list[Span]] = {}
    for row in connection.execute(
        select(audit_archived).order_by(audit_archived.c.archive_id, audit_archived.c.first_id)
    ):
        spans.setdefault(row.archive_id, []).append((row.first_id, row.last_id))
    rows = connection.execute(select(audit_archive).order_by(audit_archive.c.id)).mappings()
    return [Archive(**dict(row), spans=tuple(spans.get(row["id"], ()))) for row in rows]


def write(connection: Connection, made: Archive) -> None:
    """Write an archive's rows: in the log's database, and in the file itself."""
    values = {name: value for name, value in asdict(made).items() if name != "spans"}
    connection.execute(insert(audit_archive).values(values))
    spans = [
        {"archive_id": made.id, "first_id": first, "last_id": last} for first, last in made.spans
    ]
    connection.execute(insert(audit_archived), spans)


def is_signed(made: Archive, keys: Keys) -> bool:
    """Tell whether the log's key has signed an archive."""
    return keys.is_signed(made.content, made.signature)
