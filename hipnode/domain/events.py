"""What the audit log records: of each event what happened, and what its detail may hold."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final


class AuditEvent(StrEnum):
    """Everything that the audit log records. Past tense; `DECLARED` says what each is."""

    ASSOCIATION_ACCEPTED = "association_accepted"
    ASSOCIATION_REFUSED = "association_refused"
    ECHO_ANSWERED = "echo_answered"
    INSTANCE_STORED = "instance_stored"
    INSTANCE_DUPLICATED = "instance_duplicated"
    INSTANCE_CHANGED = "instance_changed"
    INSTANCE_DISCARDED = "instance_discarded"
    INSTANCE_REFUSED = "instance_refused"
    HISTORY_ASKED = "history_asked"
    IMAGES_REJECTED = "images_rejected"
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
    REPORT_SKIPPED = "report_skipped"
    REPORT_WITHDRAWN = "report_withdrawn"
    IDENTITIES_DIFFER = "identities_differ"
    OBJECT_DELIVERED = "object_delivered"
    OBJECT_COMMITTED = "object_committed"
    COMMITMENT_ASKED = "commitment_asked"
    COMMITMENT_FAILED = "commitment_failed"
    COMMITMENT_WAIVED = "commitment_waived"
    DELIVERY_FELL_BACK = "delivery_fell_back"
    DELIVERY_FAILED = "delivery_failed"
    SETTINGS_LOADED = "settings_loaded"
    MODEL_SET_LOADED = "model_set_loaded"
    ENGINE_LOST = "engine_lost"
    AUDIT_QUERIED = "audit_queried"
    AUDIT_VERIFIED = "audit_verified"
    AUDIT_BROKEN = "audit_broken"
    AUDIT_ACKNOWLEDGED = "audit_acknowledged"
    AUDIT_ARCHIVED = "audit_archived"
    HOLD_SET = "hold_set"
    HOLD_LIFTED = "hold_lifted"
    NODE_ADOPTED = "node_adopted"
    IMAGE_DAMAGED = "image_damaged"
    RESULT_DAMAGED = "result_damaged"
    QUARANTINE_TRIMMED = "quarantine_trimmed"
    DATABASE_DAMAGED = "database_damaged"
    BACKUP_MADE = "backup_made"
    BACKUP_RESTORED = "backup_restored"
    FILES_RETIRED = "files_retired"
    DISK_LOW = "disk_low"
    SERVICE_STARTED = "service_started"
    SERVICE_STOPPED = "service_stopped"
    SIGNED_IN = "signed_in"
    SIGNED_OUT = "signed_out"
    SIGN_IN_REFUSED = "sign_in_refused"
    DESK_REFUSED = "desk_refused"
    ACCOUNT_CHANGED = "account_changed"
    RESULT_VIEWED = "result_viewed"
    GLASS_BROKEN = "glass_broken"
    AUDIT_EXPORTED = "audit_exported"
    FEEDBACK_GIVEN = "feedback_given"
    FEEDBACK_UNMATCHED = "feedback_unmatched"
    COVARIATE_TOLD = "covariate_told"
    COVARIATE_REFUSED = "covariate_refused"
    COVARIATES_RETIRED = "covariates_retired"
    MODELS_PROPOSED = "models_proposed"
    MODELS_CONFIRMED = "models_confirmed"
    MODELS_DECLINED = "models_declined"
    SELF_TEST_ASKED = "self_test_asked"
    SELF_TEST_ENDED = "self_test_ended"
    SELF_TEST_WITHDRAWN = "self_test_withdrawn"


Keys = dict[str, Any]
"""Keys of a detail, each with its type."""

_PEER: Final[Keys] = {"address": str, "called_ae": str, "association": str}
_INSTANCE_TAKEN: Final[Keys] = _PEER | {
    "sop_class": str,
    "transfer_syntax": str,
    "blake3": str,
    "bytes": int,
    "left_out": list,
    "earlier_digests": list,
}
_OF_JOB: Final[Keys] = {"kind": str}
_JOB_FAILED: Final[Keys] = _OF_JOB | {"error": str, "attempts": int}
_IMAGE_READ: Final[Keys] = _OF_JOB | {
    "model_set": str,
    "model_set_digest": str,
    "attention": str,
    "view": str | None,
    "timings_ms": dict,
    "measured": dict,
    "frame": int,
    "frames": int,
    "abstained": str,
    "why": str,
    "hips": list,
    "unused": list,
}
_REPORT_MADE: Final[Keys] = _OF_JOB | {
    "version": int | None,
    "model_set": str,
    "attention": str,
    "objects": list,
    "reason": str,
    "mended": list,
    "withdrawn": list,
}
_COMMITTED: Final[Keys] = {
    "destination": str,
    "sop_class": str,
    "transaction": str,
    "reason": str,
    "attempts": int,
}
_OF_SERVICE: Final[Keys] = {"service": str, "version": str, "settings": str}
_OF_ROW: Final[Keys] = {"table": str, "row": int}
_EPOCH_BEGUN: Final[Keys] = {
    "epoch": int,
    "reason": str,
    "given_up": int,
    "faults": int,
    "named": list,
}
_SELF_TEST: Final[Keys] = {"matter": str, "day": str, "number": int}
_COVARIATE: Final[Keys] = {
    "name": str,
    "given": str,
    "measured": str,
    "source": str,
    "message": str,
}
_CHOICE: Final[Keys] = {
    "model_set": str,
    "digest": str,
    "reason": str,
    "of_file": str,
    "proposed_by": str,
}
_HELD: Final[Keys] = {"hold": int, "kind": str, "reason": str}
_AT_DESK: Final[Keys] = {
    "at": str,
    "page": str,
    "route": str,
    "address": str,
    "subject": str,
    "roles": list,
    "session": str,
}
_LOOKED: Final[Keys] = _AT_DESK | {
    "filter": dict,
    "studies": int,
    "rows": int,
    "record": int,
}

# fmt: off
E = AuditEvent
DECLARED: Final[dict[AuditEvent, tuple[str, Keys]]] = {
    E.ASSOCIATION_ACCEPTED: ("a peer may send", _PEER | {"mended": list}),
    E.ASSOCIATION_REFUSED: (
        "a peer, or a connection, was turned away",
        _PEER | {"reason": str, "cause": str, "received": str}
    ),
    E.ECHO_ANSWERED: ("a C-ECHO was answered", _PEER),
    E.INSTANCE_STORED: ("an image was taken in", _INSTANCE_TAKEN),
    E.INSTANCE_DUPLICATED: ("the same content came again", _INSTANCE_TAKEN),
    E.INSTANCE_CHANGED: ("a known UID came with other content: kept and flagged", _INSTANCE_TAKEN),
    E.INSTANCE_DISCARDED: ("an object was discarded by rule", _INSTANCE_TAKEN),
    E.INSTANCE_REFUSED: (
        "an object was refused",
        _PEER | {"status": str, "reason": str, "sentence": str, "sop_class": str,
         "transfer_syntax": str}
    ),
    E.HISTORY_ASKED: (
        "images were fetched from an archive, by `hipnode fetch`",
        {"by": str, "series": str, "taken": int, "failed": int, "shadow_only": bool}
    ),
    E.IMAGES_REJECTED: (
        "images were taken back by a rejection note, or moved to another study",
        {"code": str, "by": str, "images": list}
    ),
    E.JOB_QUEUED: (
        "work is to be done",
        _OF_JOB | {"priority": int, "instance_id": int, "version": int, "result_id": int,
         "destination": str, "model_set": str}
    ),
    E.JOB_CLAIMED: ("work was begun", _OF_JOB | {"attempt": int}),
    E.JOB_HANDED_BACK: ("work was handed back unfinished", _OF_JOB),
    E.JOB_RETRIED: ("work failed and is tried again", _JOB_FAILED),
    E.JOB_LEASE_EXPIRED: ("whoever did the work fell silent", _JOB_FAILED),
    E.JOB_QUARANTINED: ("work was given up", _OF_JOB | {"reason": str, "attempts": int}),
    E.JOB_REQUEUED: ("a person queued it again", _OF_JOB | {"abstained": str}),
    E.JOB_SUPERSEDED: (
        "newer work took its place",
        _OF_JOB | {"version": int | None, "reason": str}
    ),
    E.IMAGE_READ: ("an image was read: what was said of each hip", _IMAGE_READ),
    E.IMAGE_ABSTAINED: ("an image was not assessed, and why", _IMAGE_READ),
    E.REPORT_MADE: ("a report was made", _REPORT_MADE),
    E.REPORT_SKIPPED: ("no report, by the settings' rule", _REPORT_MADE),
    E.REPORT_WITHDRAWN: (
        "a report was taken back: what it was made from was rejected",
        _REPORT_MADE
    ),
    E.IDENTITIES_DIFFER: (
        "a study holds images of several patients",
        {"patients": int, "objects": list}
    ),
    E.OBJECT_DELIVERED: (
        "an object was taken by a destination",
        _OF_JOB | {"destination": str, "status": str, "sop_class": str, "object": str}
    ),
    E.OBJECT_COMMITTED: ("a destination has promised to keep an object", _COMMITTED),
    E.COMMITMENT_ASKED: ("a destination was asked for that", _COMMITTED),
    E.COMMITMENT_FAILED: ("it refused, or did not answer in time", _COMMITTED),
    E.COMMITMENT_WAIVED: ("the settings do not ask for it any more", _COMMITTED),
    E.DELIVERY_FELL_BACK: (
        "sent as the next SOP Class that the peer takes",
        {"destination": str, "refused_class": str, "refused_instance": str, "sop_class": str}
    ),
    E.DELIVERY_FAILED: (
        "a destination was not there, or refused",
        _OF_JOB | {"destination": str, "reason": str, "error": str, "attempts": int,
         "paused_until": str}
    ),
    E.SETTINGS_LOADED: ("no longer written; older logs have it", {}),
    E.MODEL_SET_LOADED: (
        "a model set was loaded",
        {"model_set": str, "digest": str, "models": dict}
    ),
    E.ENGINE_LOST: (
        "the GPU failed; the CPU goes on",
        {"device": str, "reason": str, "instead": str}
    ),
    E.AUDIT_QUERIED: (
        "somebody asked this log",
        _LOOKED | {"records": int, "limit": int | None, "entry_id": int, "days": int, "command":
         str, "labels": str}
    ),
    E.AUDIT_VERIFIED: (
        "the whole log was verified",
        {"rows": int, "seals": int, "epochs": int, "heads": int, "first_utc": str, "last_utc": str,
         "unsealed": int, "archives": list, "faults": int, "named": list, "acknowledged": list}
    ),
    E.AUDIT_BROKEN: ("the log does not go on from its last head", {"reason": str}),
    E.AUDIT_ACKNOWLEDGED: ("a person has said in writing what was wrong", _EPOCH_BEGUN),
    E.AUDIT_ARCHIVED: (
        "old records were written to a file and taken out",
        {"archive": int, "rows": int, "last_id": int, "seal": int, "before_utc": str, "file": str,
         "sha256": str, "reason": str, "held": int}
    ),
    E.HOLD_SET: ("something must be kept, whatever its age", _HELD),
    E.HOLD_LIFTED: ("it need not be kept any more", _HELD),
    E.NODE_ADOPTED: (
        "database and files were joined on purpose",
        {"given_up": list, "reason": str}
    ),
    E.IMAGE_DAMAGED: (
        "an image's file is not what was received: in quarantine, or missing",
        _OF_ROW | {"what": str}
    ),
    E.RESULT_DAMAGED: ("a result's file is not what was made", _OF_ROW | {"what": str}),
    E.QUARANTINE_TRIMMED: (
        "the oldest of what was in quarantine went",
        {"files": int, "bytes": int, "kept": int}
    ),
    E.DATABASE_DAMAGED: ("no longer written; older logs have it", {}),
    E.BACKUP_MADE: ("a backup was made", {"files": int, "missing": int, "sha256": str}),
    E.BACKUP_RESTORED: ("a backup was brought back", _EPOCH_BEGUN),
    E.FILES_RETIRED: ("a file was deleted by retention", _OF_ROW),
    E.DISK_LOW: ("the disk ran low: images are refused", {"free_bytes": int, "limit_bytes": int}),
    E.SERVICE_STARTED: ("a service started", _OF_SERVICE),
    E.SERVICE_STOPPED: ("a service stopped", _OF_SERVICE),
    E.SIGNED_IN: ("somebody signed in at the desk", _AT_DESK | {"how": str}),
    E.SIGNED_OUT: ("somebody signed out, or a session was ended", _AT_DESK | {"ended": str}),
    E.SIGN_IN_REFUSED: (
        "somebody could not sign in",
        _AT_DESK | {"name": str, "reason": str, "how": str}
    ),
    E.DESK_REFUSED: ("a page that is not for this person's roles", _LOOKED),
    E.ACCOUNT_CHANGED: (
        "an account was made, changed or closed",
        {"account": str, "made": bool, "roles": str, "disabled": bool, "one_time_password": bool,
         "chose_password": bool}
    ),
    E.RESULT_VIEWED: ("somebody looked at a patient's data", _LOOKED),
    E.GLASS_BROKEN: (
        "somebody looked, with a reason, at what their role does not allow",
        _AT_DESK | {"reason": str, "job": str}
    ),
    E.AUDIT_EXPORTED: (
        "records, a proof or a study left the node",
        _LOOKED | {"form": str, "records": int, "files": int, "statement_sha256": str}
    ),
    E.FEEDBACK_GIVEN: (
        "somebody says whether it was right",
        _AT_DESK | {"side": str, "task": str, "opinion": str, "said": str, "truth": str, "model":
         str, "model_version": str, "model_digest": str, "source": str, "comment": str,
         "message": str}
    ),
    E.FEEDBACK_UNMATCHED: (
        "what somebody says of a result fits nothing here, or says nothing plainly",
        {"reason": str, "source": str, "message": str}
    ),
    E.COVARIATE_TOLD: (
        "a value of a patient came for an examination: kept, or taken back",
        _COVARIATE | {"value": float | None, "corrected": bool, "again": bool, "late": bool}
    ),
    E.COVARIATE_REFUSED: ("such a value cannot be used, and why", _COVARIATE | {"reason": str}),
    E.COVARIATES_RETIRED: ("such values were deleted by retention", {"values": int}),
    E.MODELS_PROPOSED: ("somebody proposes which model set reports", _AT_DESK | _CHOICE),
    E.MODELS_CONFIRMED: (
        "somebody else has confirmed which model set reports from now on", _AT_DESK | _CHOICE
    ),
    E.MODELS_DECLINED: ("a proposal was declined, or taken back", _AT_DESK | _CHOICE),
    E.SELF_TEST_ASKED: ("an image of nobody is to go to the PACS and back", _SELF_TEST),
    E.SELF_TEST_ENDED: ("a self-test passed, or missed with the reason", _SELF_TEST | {"why": str}),
    E.SELF_TEST_WITHDRAWN: ("the PACS has the note that takes its image back", _SELF_TEST),
}
# fmt: on
del E
"""Of each event, what happened, and what its detail may hold beside its record's columns: codes,
digests and numbers, each key with its type; any may be absent, and none is a patient's name."""
