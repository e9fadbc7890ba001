"""What the audit log records."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class AuditEvent(StrEnum):
    """Everything that the audit log records. Past tense."""

    ASSOCIATION_ACCEPTED = "association_accepted"
    ASSOCIATION_REFUSED = "association_refused"
    ECHO_ANSWERED = "echo_answered"
    INSTANCE_STORED = "instance_stored"
    INSTANCE_DUPLICATED = "instance_duplicated"
    INSTANCE_CHANGED = "instance_changed"  # known UID, other content: kept and flagged
    INSTANCE_DISCARDED = "instance_discarded"  # by rule
    INSTANCE_REFUSED = "instance_refused"
    HISTORY_ASKED = "history_asked"  # images were fetched from an archive, by `hipnode fetch`
    IMAGES_REJECTED = "images_rejected"  # by a rejection note, or as moved to another study
    JOB_QUEUED = "job_queued"
    JOB_CLAIMED = "job_claimed"
    JOB_HANDED_BACK = "job_handed_back"
    JOB_RETRIED = "job_retried"
    JOB_LEASE_EXPIRED = "job_lease_expired"
    JOB_QUARANTINED = "job_quarantined"
    JOB_REQUEUED = "job_requeued"
    JOB_SUPERSEDED = "job_superseded"
    IMAGE_READ = "image_read"
    IMAGE_ABSTAINED = "image_abstained"
    REPORT_MADE = "report_made"
    REPORT_SKIPPED = "report_skipped"  # by the settings' rule; never silently
    REPORT_WITHDRAWN = "report_withdrawn"  # what it was made from was rejected
    IDENTITIES_DIFFER = "identities_differ"  # a study holds images of several patients
    OBJECT_DELIVERED = "object_delivered"
    OBJECT_COMMITTED = "object_committed"
    COMMITMENT_ASKED = "commitment_asked"
    COMMITMENT_FAILED = "commitment_failed"  # refused, or no answer in time
    COMMITMENT_WAIVED = "commitment_waived"  # the settings do not ask for it any more
    DELIVERY_FELL_BACK = "delivery_fell_back"  # to the next SOP Class that the peer takes
    DELIVERY_FAILED = "delivery_failed"
    SETTINGS_LOADED = "settings_loaded"
    MODEL_SET_LOADED = "model_set_loaded"
    ENGINE_LOST = "engine_lost"  # the GPU failed; the CPU goes on
    AUDIT_QUERIED = "audit_queried"
    AUDIT_VERIFIED = "audit_verified"
    AUDIT_BROKEN = "audit_broken"  # it does not go on from its last head
    AUDIT_ACKNOWLEDGED = "audit_acknowledged"  # a person has said in writing what was wrong
    AUDIT_ARCHIVED = "audit_archived"  # old records were written to a file and taken out
    HOLD_SET = "hold_set"  # what must be kept, whatever its age
    HOLD_LIFTED = "hold_lifted"
    NODE_ADOPTED = "node_adopted"  # database and files were joined on purpose
    IMAGE_DAMAGED = "image_damaged"  # its file is not what was received: in quarantine, or missing
    RESULT_DAMAGED = "result_damaged"
    QUARANTINE_TRIMMED = "quarantine_trimmed"  # the oldest of it went
    DATABASE_DAMAGED = "database_damaged"
    BACKUP_MADE = "backup_made"
    BACKUP_RESTORED = "backup_restored"
    FILES_RETIRED = "files_retired"  # by retention
    DISK_LOW = "disk_low"
    SERVICE_STARTED = "service_started"
    SERVICE_STOPPED = "service_stopped"
    SIGNED_IN = "signed_in"  # at the desk
    SIGNED_OUT = "signed_out"
    SIGN_IN_REFUSED = "sign_in_refused"
    DESK_REFUSED = "desk_refused"  # a page that is not for this person's roles
    ACCOUNT_CHANGED = "account_changed"
    RESULT_VIEWED = "result_viewed"  # somebody looked at a patient's data
    GLASS_BROKEN = "glass_broken"  # looked, with a reason, at what the role does not allow
    AUDIT_EXPORTED = "audit_exported"
    FEEDBACK_GIVEN = "feedback_given"  # somebody says whether it was right


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
