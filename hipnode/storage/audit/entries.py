"""One row of the audit log: its columns, and the hash that seals them together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, insert

from hipnode.domain import AuditRecord
from hipnode.storage.database.schema import audit, to_us

_APPEND: Final = insert(audit).inline()  # nobody asks for the new row's number
_DETAIL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode
_CONTENT: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode
_TEXT_LENGTH: Final = 256
_FOREIGN: Final = (
    "actor",
    "study_instance_uid",
    "sop_instance_uid",
    "patient_id",
    "accession_number",
    "ae_title",
)


def storable(value: str) -> str:
    """Return text from outside as an index of either engine takes it: no NUL, of finite length."""
    return value.replace("\0", "\ufffd")[:_TEXT_LENGTH]


def append(connection: Connection, now: datetime, records: Sequence[AuditRecord]) -> None:
    """Add ``records`` within the caller's transaction."""
    rows = [_row(now, record) for record in records]
    if rows:
        connection.execute(_APPEND, rows if len(rows) > 1 else rows[0])


def _row(now: datetime, record: AuditRecord) -> dict[str, Any]:
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
    }
    for name in _FOREIGN:
        values[name] = storable(values[name])
    values["row_hash"] = row_hash(values)
    return values


def row_hash(values: Mapping[str, Any]) -> str:
    """Return the sha256 of a row's values (a mapping by column): any later change shows."""
    content = [
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
    return hashlib.sha256(_CONTENT(content).encode()).hexdigest()
