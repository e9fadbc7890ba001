"""One row of the audit log: its columns, and the keyed hash over all of them.

The key lies outside the database: who has the database alone can neither change a row nor make one.
Each connection counts the rows that it writes, so that one taken away or put in twice shows before
any seal is on it. A transaction that is undone ends its connection's count, and the next begins
another: no number is ever missing by itself.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, event, insert

from hipnode.domain import AuditRecord
from hipnode.domain.audit import undeclared
from hipnode.errors import InputRefused, StorageUnavailable
from hipnode.storage.audit.keys import Keys
from hipnode.storage.database.schema import audit, to_us

_KEYS: Final[WeakKeyDictionary[Engine, bytes]] = WeakKeyDictionary()
_COUNT: Final = "hipnode_audit_count"
_APPEND: Final = insert(audit).inline()  # nobody asks for the new row's number
_DETAIL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode
_CONTENT: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode
_TEXT_LENGTH: Final = 256
_STRICT: Final = bool(os.environ.get("HIPNODE_STRICT"))
"""In tests a detail that is not declared is an error; in a hospital a record counts for more."""
_FOREIGN: Final = (
    "actor",
    "study_instance_uid",
    "sop_instance_uid",
    "patient_id",
    "accession_number",
    "ae_title",
)


class _Count:
    """How many rows a connection has written; ``written`` at the begin of its transaction."""

    __slots__ = ("committing", "name", "number", "written")

    def __init__(self) -> None:
        self.name = secrets.token_hex(8)
        self.number = self.written = 0
        self.committing = False

    def next(self) -> str:
        self.number += 1
        return f"{self.name}:{self.number}"


def prepare(engine: Engine, keys: Keys) -> None:
    """Let an engine's connections write rows: with which key, and each with its own count."""
    _KEYS[engine] = keys.rows

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        if count := connection.info.get(_COUNT):
            count.written, count.committing = count.number, False

    @event.listens_for(engine, "commit")
    def _committing(connection: Connection) -> None:
        if count := connection.info.get(_COUNT):
            count.committing = True

    @event.listens_for(engine, "rollback")
    def _undone(connection: Connection) -> None:
        if connection.invalidated:  # the count has gone with it
            return
        count = connection.info.get(_COUNT)
        if count and (count.committing or count.number != count.written):
            del connection.info[_COUNT]

    @event.listens_for(engine, "rollback_savepoint")
    def _partly_undone(connection: Connection, _name: str, _context: None) -> None:
        if not connection.invalidated:
            connection.info.pop(_COUNT, None)


def given(reason: str) -> str:
    """Return a reason as it is kept.

    Raises
    ------
    InputRefused
        If there is none.
    """
    if not reason.strip():
        raise InputRefused("A reason is needed, in a few words.")
    return reason.strip()


def storable(value: str) -> str:
    """Return text from outside as an index of either engine takes it: no NUL, of finite length."""
    return value.replace("\0", "\ufffd")[:_TEXT_LENGTH]


def append(connection: Connection, now: datetime, records: Sequence[AuditRecord]) -> None:
    """Add ``records`` within the caller's transaction.

    Raises
    ------
    StorageUnavailable
        If this process has no key for this log.
    """
    if not records:
        return
    key = _KEYS.get(connection.engine)
    if key is None:
        raise StorageUnavailable("Nothing can be put on the audit log: its key is not here.")
    count = connection.info.get(_COUNT)
    if count is None:
        count = connection.info[_COUNT] = _Count()
    rows = [_row(now, record, count.next(), key) for record in records]
    connection.execute(_APPEND, rows if len(rows) > 1 else rows[0])


def _row(now: datetime, record: AuditRecord, writer: str, key: bytes) -> dict[str, Any]:
    if _STRICT and (wrong := undeclared(record)):
        raise TypeError(f"not declared in hipnode.domain.events: {', '.join(wrong)}")
    values: dict[str, Any] = {
        "at_utc": now,
        "event": record.event.value,
        "outcome": record.outcome.value,
        "actor": record.actor,
        "study_instance_uid": record.study_instance_uid,
        "sop_instance_uid": record.sop_instance_uid,
        "patient_id": record.patient_id,
        "accession_number": record.accession_number,
        "ae_title": record.ae_title,
        "job_id": record.job_id,
        "detail": _DETAIL(record.detail),
        "writer": writer,
    }
    for name in _FOREIGN:
        values[name] = storable(values[name])
    values["row_hash"] = keyed_hash(values, key)
    return values


def keyed_hash(values: Mapping[str, Any], key: bytes) -> str:
    """Return the HMAC of a row's values (a mapping by column): any later change shows."""
    content = [*_content(values), values["writer"]]
    return hmac.digest(key, _CONTENT(content).encode(), "sha256").hex()


def plain_hash(values: Mapping[str, Any]) -> str:
    """Return the sha256 of a row's values: what rows had before schema 0021."""
    return hashlib.sha256(_CONTENT(_content(values)).encode()).hexdigest()


def _content(values: Mapping[str, Any]) -> list[Any]:
    return [
        to_us(values["at_utc"]),
        values["event"],
        values["outcome"],
        values["actor"],
        values["study_instance_uid"],
        values["sop_instance_uid"],
        values["patient_id"],
        values["accession_number"],
        values["ae_title"],
        values["job_id"],
        values["detail"],
    ]
