"""Taking an image in: one transaction, idempotent by content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cache, partial
from typing import Any, Final, Literal

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, bindparam, case, select, update

from hipnode import codes
from hipnode.dicom import uids
from hipnode.domain import AuditEvent, AuditRecord, Header, JobKind, Outcome, Rejection
from hipnode.errors import HeaderUnusable
from hipnode.storage.audit import entries
from hipnode.storage.database.dialects import in_both, run
from hipnode.storage.database.schema import PRIORITIES, instance, job, study
from hipnode.storage.ledger import due, withdrawals
from hipnode.storage.ledger.jobs import Queue


@cache  # made at its first use: most processes start without one
def header_adapter() -> TypeAdapter[Header]:
    """Return what writes a header as JSON, and reads it."""
    return TypeAdapter(Header)


class IngestOutcome(StrEnum):
    """What became of an image that arrived."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # the same content is here already: acknowledged, not read again
    CHANGED = "changed"  # other content under a known SOP Instance UID: stored and flagged
    DISCARDED = "discarded"  # by rule


@dataclass(frozen=True, slots=True)
class Received:
    """An image whose file is complete and durable (or will not be kept)."""

    header: Header
    calling_ae: str
    called_ae: str
    peer_address: str
    path: str  # relative to the store's root; "" where it is discarded
    digest: str  # BLAKE3 of the file, as hexadecimal digits
    size_bytes: int
    association_id: str
    rejection: Rejection | None = None  # where it is a note that takes images back


@dataclass(frozen=True, slots=True)
class Plan:
    """What the settings' rules say is to be done with an image."""

    action: Literal["read", "keep", "discard"]
    priority: int
    model_sets: tuple[str, ...]
    quiet_s: float
    shadows: tuple[str, ...] = ()  # read too, and never reported

    def without(self, done: set[str]) -> Plan:
        """Return the plan with these model sets left out."""
        return replace(
            self,
            model_sets=tuple(m for m in self.model_sets if m not in done),
            shadows=tuple(m for m in self.shadows if m not in done),
        )


def ingest(
    queue: Queue, connection: Connection, now: datetime, received: Received, plan: Plan
) -> IngestOutcome:
    """Write everything about an image's arrival; see `hipnode.storage.Ledger.ingest`.

    Raises
    ------
    HeaderUnusable
        If a UID is none.
    """
    _check_uids(received.header)
    if plan.action == "discard":
        _audit(connection, now, received, AuditEvent.INSTANCE_DISCARDED)
        return IngestOutcome.DISCARDED
    uid = received.header.sop_instance_uid
    known = connection.execute(_KNOWN, {"uid": uid}).all()
    for row in known:
        if row.digest == received.digest:
            return _again(queue, connection, now, received, plan, row)
    owner = _note_study(connection, now, received, plan)
    stored = _store(connection, now, received, plan, changed=bool(known))
    if stored is None:  # another listener was faster by a hair
        return _again(queue, connection, now, received, plan, None)
    if known:
        earlier = {"earlier_digests": [row.digest for row in known]}
        _audit(connection, now, received, AuditEvent.INSTANCE_CHANGED, earlier)
    else:
        _audit(connection, now, received, AuditEvent.INSTANCE_STORED)
    if plan.action == "read":
        _read(queue, connection, now, owner, stored, plan)
    _take_back(queue, connection, now, received, known)
    return IngestOutcome.CHANGED if known else IngestOutcome.STORED


def _take_back(
    queue: Queue, connection: Connection, now: datetime, received: Received, known: Sequence[Any]
) -> None:
    """Withdraw the reports of what a note rejects, and of an image that another study had."""
    header = received.header
    studies: dict[str, list[str]] = {}
    code = codes.MOVED
    if received.rejection is not None:
        code = received.rejection.code
        for study_uid, uid in received.rejection.images:
            studies.setdefault(study_uid, []).append(uid)
    else:
        for row in known:
            if row.study_instance_uid != header.study_instance_uid:
                studies[row.study_instance_uid] = [header.sop_instance_uid]
    for study_uid in sorted(studies):
        withdrawals.reject(
            queue, connection, now, study_uid, studies[study_uid], code,
            by=header.sop_instance_uid, ae_title=received.calling_ae,
        )  # fmt: skip


def _again(
    queue: Queue,
    connection: Connection,
    now: datetime,
    received: Received,
    plan: Plan,
    row: Row[Any] | None,
) -> IngestOutcome:
    """Acknowledge content that is here already; queue only readings that it never had."""
    _audit(connection, now, received, AuditEvent.INSTANCE_DUPLICATED)
    if row is None:
        return IngestOutcome.DUPLICATE
    if row.retired_utc is not None:  # its file is back: retention may delete it once more
        values = {"retired_utc": None, "received_utc": now, "path": received.path}
        connection.execute(update(instance).where(instance.c.id == row.id).values(values))
    if plan.action == "read":
        keys = {_key(row.id, model_set): model_set for model_set in plan.model_sets + plan.shadows}
        known = connection.execute(select(job.c.key).where(job.c.key.in_(keys))).scalars()
        plan = plan.without({keys[key] for key in known})
        if plan.model_sets or plan.shadows:
            connection.execute(
                update(instance).where(instance.c.id == row.id).values(action="read")
            )
            owner = _note_study(connection, now, received, plan)
            _read(queue, connection, now, owner, row.id, plan)
    return IngestOutcome.DUPLICATE


def _note_study(connection: Connection, now: datetime, received: Received, plan: Plan) -> Row[Any]:
    """Write the study's row, which locks it, and return it."""
    header = received.header
    statement = _READ_STUDY if plan.action == "read" else _KEEP_STUDY
    values = {
        "study_instance_uid": header.study_instance_uid,
        "patient_id": entries.storable(header.patient_id),
        "accession_number": entries.storable(header.accession_number),
        "priority": _within(plan.priority),
        "quiet_us": round(plan.quiet_s * 1_000_000),
        "received_utc": now,
        "last_received_utc": now,
    }
    row: Row[Any] = run(connection, statement, values).one()
    return row


def _within(priority: int) -> int:
    return max(PRIORITIES[-1], min(PRIORITIES[0], priority))


def _store(
    connection: Connection, now: datetime, received: Received, plan: Plan, *, changed: bool
) -> int | None:
    header = received.header
    values = {
        "study_instance_uid": header.study_instance_uid,
        "sop_instance_uid": header.sop_instance_uid,
        "digest": received.digest,
        "header": header_adapter().dump_json(header).decode(),
        "calling_ae": received.calling_ae,
        "called_ae": received.called_ae,
        "peer_address": received.peer_address,
        "association_id": received.association_id,
        "action": plan.action,
        "changed": changed,
        "path": received.path,
        "size_bytes": received.size_bytes,
        "received_utc": now,
    }
    number: int | None = run(connection, _STORE, values).scalar()
    return number


def _read(
    queue: Queue, connection: Connection, now: datetime, of: Row[Any], number: int, plan: Plan
) -> None:
    """Queue the readings of an image, and the report that follows on them."""
    for model_set in plan.model_sets + plan.shadows:
        shadow = model_set in plan.shadows
        queue.enqueue(
            connection,
            now,
            key=_key(number, model_set),
            kind=JobKind.READ,
            study_instance_uid=of.study_instance_uid,
            patient_id=of.patient_id,
            accession_number=of.accession_number,
            priority=PRIORITIES[-1] if shadow else _within(plan.priority),
            instance_id=number,
            model_set=model_set,
        )
        if not shadow:
            due.expect(queue, connection, now, of, model_set)


def _key(number: int, model_set: str) -> str:
    return f"read:{number}:{model_set}"


def _audit(
    connection: Connection,
    now: datetime,
    received: Received,
    event: AuditEvent,
    further: dict[str, Any] | None = None,
) -> None:
    header = received.header
    record = AuditRecord(
        event=event,
        outcome=Outcome.OK,
        actor=received.calling_ae,
        study_instance_uid=header.study_instance_uid,
        sop_instance_uid=header.sop_instance_uid,
        patient_id=header.patient_id,
        accession_number=header.accession_number,
        ae_title=received.calling_ae,
        detail={
            "called_ae": received.called_ae,
            "address": received.peer_address,
            "association": received.association_id,
            "sop_class": header.sop_class_uid,
            "transfer_syntax": header.transfer_syntax_uid,
            "blake3": received.digest,
            "bytes": received.size_bytes,
            **({"left_out": list(header.notes)} if header.notes else {}),
            **(further or {}),
        },
    )
    entries.append(connection, now, [record])


def _check_uids(header: Header) -> None:
    """Refuse what no index could take; the listener has asked the same before."""
    if not (uids.usable(header.sop_instance_uid) and uids.usable(header.study_instance_uid)):
        raise HeaderUnusable("A UID is none.")


def _upsert_study(insert: Any, *, to_be_read: bool) -> Any:
    """Return the statement that notes a study; only an image to be read moves its report's time."""
    statement = insert(study)
    new = statement.excluded
    changes: dict[str, Any] = {
        "patient_id": new.patient_id,
        "accession_number": new.accession_number,
    }
    if to_be_read:
        higher = case((study.c.priority > new.priority, study.c.priority), else_=new.priority)
        changes |= {
            "priority": higher,
            "quiet_us": new.quiet_us,
            "last_received_utc": new.last_received_utc,
            "released_utc": None,
        }
    return statement.on_conflict_do_update(
        index_elements=["study_instance_uid"], set_=changes
    ).returning(study)


_KNOWN: Final = select(instance).where(instance.c.sop_instance_uid == bindparam("uid"))
_READ_STUDY: Final = in_both(partial(_upsert_study, to_be_read=True))
_KEEP_STUDY: Final = in_both(partial(_upsert_study, to_be_read=False))
_STORE: Final = in_both(
    lambda insert: (
        insert(instance)
        .on_conflict_do_nothing(index_elements=["sop_instance_uid", "digest"])
        .returning(instance.c.id)
    )
)
