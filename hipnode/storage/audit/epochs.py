"""The log's epochs: each has a tree of its own, which begins with why it was begun.

The first begins with the log. A later one is begun by a person, in writing, after damage: it names
what was known to be wrong and which heads are given up, and is signed with the log's key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, select, text

from hipnode.storage.audit.keys import Keys
from hipnode.storage.database.dialects import in_both, run
from hipnode.storage.database.schema import audit, audit_epoch, audit_tree, seal, to_us

GENESIS: Final = "0" * 64
_BEGIN: Final = in_both(lambda insert: insert(audit_epoch).on_conflict_do_nothing())


@dataclass(frozen=True, slots=True)
class AuditFault:
    """Something that is wrong with the audit log: rows, or (``row_id`` None) a seal or a head."""

    row_id: int | None
    reason: str
    last_id: int | None = None  # of several rows in a row with which the same is wrong

    def __str__(self) -> str:
        if self.row_id is None:
            return self.reason
        if self.last_id in {None, self.row_id}:
            return f"record {self.row_id}: {self.reason}"
        return f"records {self.row_id} to {self.last_id}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Epoch:
    """A row of ``audit_epoch``."""

    id: int
    first_id: int
    keyed_from: int
    key_name: str
    begun_utc: datetime
    actor: str
    reason: str
    previous: str
    given_up: tuple[str, ...]  # heads, one line each
    faults: tuple[AuditFault, ...]
    signature: str = ""

    @property
    def content(self) -> str:
        """What is signed."""
        values = asdict(self) | {"begun_utc": to_us(self.begun_utc), "signature": ""}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    @property
    def entry(self) -> bytes:
        """The first entry of the epoch's tree."""
        return b"hipnode audit epoch " + hashlib.sha256(self.content.encode()).digest()


def every(connection: Connection) -> list[Epoch]:
    """Return all epochs, the first one first."""
    rows = connection.execute(select(audit_epoch).order_by(audit_epoch.c.id)).mappings()
    return [_epoch(dict(row)) for row in rows]


def newest(connection: Connection) -> Epoch | None:
    """Return the present epoch, or None where the log has none yet."""
    statement = select(audit_epoch).order_by(audit_epoch.c.id.desc()).limit(1)
    row = connection.execute(statement).mappings().first()
    return None if row is None else _epoch(dict(row))


def _epoch(values: dict[str, Any]) -> Epoch:
    values["given_up"] = tuple(json.loads(values["given_up"]))
    values["faults"] = tuple(AuditFault(*fault) for fault in json.loads(values["faults"]))
    return Epoch(**values)


def begin_first(connection: Connection, keys: Keys, now: datetime) -> None:
    """Begin the first epoch, unless another process has."""
    if newest(connection) is None:
        keyed_from = connection.execute(select(audit_tree.c.keyed_from)).scalar_one()
        _write(connection, keys, Epoch(
            1, keyed_from, keyed_from, keys.name, now, "hipnode", "the log begins",
            _newest_seal(connection), (), (),
        ))  # fmt: skip


def begin(
    connection: Connection,
    keys: Keys,
    now: datetime,
    *,
    actor: str,
    reason: str,
    faults: Sequence[AuditFault],
    given_up: Sequence[str],
    above: int,
) -> Epoch:
    """Begin another epoch, whose rows have numbers above ``above`` and all that were given."""
    last = connection.execute(select(func.max(audit.c.id))).scalar() or 0
    first_id = raise_numbers(connection, max(above, last)) + 1
    before = newest(connection)
    number = before.id + 1 if before else 1
    keyed_from = min(before.keyed_from, first_id) if before else first_id
    begun = Epoch(
        number, first_id, keyed_from, keys.name, now, actor, reason,
        _newest_seal(connection), tuple(given_up), tuple(faults),
    )  # fmt: skip
    _write(connection, keys, begun)
    return begun


def _write(connection: Connection, keys: Keys, begun: Epoch) -> None:
    values = asdict(begun) | {
        "given_up": json.dumps(begun.given_up),
        "faults": json.dumps([(f.row_id, f.reason, f.last_id) for f in begun.faults]),
        "signature": keys.sign(begun.content),
    }
    run(connection, _BEGIN, values)


def _newest_seal(connection: Connection) -> str:
    statement = select(seal.c.hash).order_by(seal.c.id.desc()).limit(1)
    return connection.execute(statement).scalar() or GENESIS


def raise_numbers(connection: Connection, at_least: int) -> int:
    """Let the next row have a number above ``at_least``; return the highest that was given."""
    if connection.dialect.name == "sqlite":
        given = given_numbers(connection)
        if given < at_least:
            new = text("INSERT INTO sqlite_sequence (name, seq) VALUES ('audit', :seq)")
            old = text("UPDATE sqlite_sequence SET seq = :seq WHERE name = 'audit'")
            if not connection.execute(old, {"seq": at_least}).rowcount:
                connection.execute(new, {"seq": at_least})
        return max(given, at_least)
    sequence = func.pg_get_serial_sequence("audit", "id")
    given = connection.execute(select(func.nextval(sequence))).scalar_one()
    if given <= at_least:
        connection.execute(select(func.setval(sequence, at_least)))
        return at_least
    return int(given)


def given_numbers(connection: Connection) -> int:
    """Return the highest number that SQLite has given to a row of the log."""
    found = connection.execute(text("SELECT seq FROM sqlite_sequence WHERE name = 'audit'"))
    return int(found.scalar() or 0)


def sha256(content: str) -> str:
    """Return the SHA-256 of a text as hexadecimal digits."""
    return hashlib.sha256(content.encode()).hexdigest()
