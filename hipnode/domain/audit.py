"""A record of the audit log, and whether it holds what is declared."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hipnode.domain.events import DECLARED, AuditEvent


class Outcome(StrEnum):
    """How an audited event ended."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One row of the audit log. ``detail`` holds codes, digests and numbers; never a name."""

    event: AuditEvent
    outcome: Outcome = Outcome.OK
    actor: str = ""  # the AE title, service or OS user that acted
    study_instance_uid: str = ""
    sop_instance_uid: str = ""
    patient_id: str = ""
    accession_number: str = ""
    ae_title: str = ""  # the peer
    job_id: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def undeclared(record: AuditRecord) -> list[str]:
    """Return what of a record's detail is not declared: keys, or values of another type."""
    declared = DECLARED[record.event][1]
    return [
        f"{record.event}: {name}" + (f" is {type(value).__name__}" if name in declared else "")
        for name, value in record.detail.items()
        if name not in declared or not _fits(value, declared[name])
    ]


def _fits(value: Any, declared: Any) -> bool:
    return isinstance(value, declared) and not (declared is int and isinstance(value, bool))
