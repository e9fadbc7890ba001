"""The audit log as plain values: a record, the findings in it, and the story of a study.

Values in, values out. The keys are stable: programs of others rely on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from hipnode.domain import AuditEvent, CovariateSource

if TYPE_CHECKING:
    from hipnode.storage import AuditEntry

COLUMNS: Final = (
    "id", "at_utc", "event", "outcome", "actor", "ae_title", "study_instance_uid",
    "sop_instance_uid", "patient_id", "accession_number", "job_id", "detail", "row_hash",
)  # fmt: skip

FINDING_COLUMNS: Final = (
    "id", "at_utc", "accession_number", "patient_id", "study_instance_uid", "sop_instance_uid",
    "view", "side", "verdict", "attention", "caveats", "abstained", "why", "task", "label",
    "p_positive", "decision", "operating_point", "doubtful_from", "present_from", "model",
    "model_version", "model_digest", "shadow", "model_set", "model_set_digest",
)  # fmt: skip

READ: Final = (AuditEvent.IMAGE_READ, AuditEvent.IMAGE_ABSTAINED)
"""The events that hold what was said of an image."""


def document(entry: AuditEntry) -> dict[str, Any]:
    """Return a record as plain values; the keys are `COLUMNS`."""
    record = entry.record
    plain = {name: getattr(record, name, None) for name in COLUMNS}
    return plain | {
        "id": entry.id,
        "at_utc": entry.at_utc.isoformat(),
        "event": record.event.value,
        "outcome": record.outcome.value,
        "row_hash": entry.row_hash,
    }


def findings(entry: AuditEntry) -> Iterator[dict[str, Any]]:
    """Yield a row for each hip and finding in a record of `READ`; the keys are `FINDING_COLUMNS`.

    A hip, or an image, of which nothing was said has a row too: with its reason.
    """
    row = document(entry)
    detail = entry.record.detail
    image = {name: row[name] for name in FINDING_COLUMNS[:6]}
    image |= {name: detail.get(name) for name in ("view", "model_set", "model_set_digest")}
    if "abstained" in detail:
        yield _filled(image, _kept(detail, "attention", "abstained", "why"))
    for hip in detail.get("hips", []):
        of_hip = image | _kept(hip, "side", "verdict", "attention", "abstained", "why")
        of_hip["caveats"] = " ".join(hip.get("caveats", []))
        for finding in hip.get("findings", []):
            yield _filled(of_hip, finding)
        if not hip.get("findings"):
            yield _filled(of_hip, {})


def _kept(of: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: of.get(name) for name in names}


def _filled(*parts: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        merged |= part
    return {name: merged.get(name) for name in FINDING_COLUMNS}


# --- the story of a study -------------------------------------------------------------------------

_WORDS: Final = {
    AuditEvent.INSTANCE_STORED: "image received from {ae} ({address})",
    AuditEvent.INSTANCE_DUPLICATED: "the same image came again from {ae} ({address})",
    AuditEvent.INSTANCE_CHANGED: "an image of known UID came from {ae} with other content",
    AuditEvent.INSTANCE_DISCARDED: "image from {ae} discarded by rule",
    AuditEvent.INSTANCE_REFUSED: "image from {ae} refused: {reason}",
    AuditEvent.IMAGE_READ: "image read: {said}",
    AuditEvent.IMAGE_ABSTAINED: "image not assessed: {abstained} {why}",
    AuditEvent.REPORT_MADE: "report version {version} made: {objects}; attention {attention}",
    AuditEvent.REPORT_SKIPPED: "no report: {reason}",
    AuditEvent.OBJECT_DELIVERED: "{object} delivered to {destination} ({ae}), status {status}",
    AuditEvent.OBJECT_COMMITTED: "{destination} has promised to keep {uid}",
    AuditEvent.COMMITMENT_FAILED: "{destination} will not keep {uid}: {reason}",
    AuditEvent.DELIVERY_FELL_BACK: "{destination} does not take it as it is: sent as {sop_class}",
    AuditEvent.DELIVERY_FAILED: "delivery to {destination} failed: {reason}",
    AuditEvent.JOB_QUARANTINED: "{kind} given up: {reason}",
    AuditEvent.JOB_REQUEUED: "{kind} queued again by {actor}",
    AuditEvent.FILES_RETIRED: "a file deleted by retention",
    AuditEvent.HOLD_SET: "{actor} had it kept, because: {reason}",
    AuditEvent.HOLD_LIFTED: "{actor} no longer has it kept, because: {reason}",
    AuditEvent.AUDIT_QUERIED: "{actor} asked the audit log about it",
    AuditEvent.RESULT_VIEWED: "{actor} looked at it ({route})",
    AuditEvent.AUDIT_EXPORTED: "{actor} exported it",
    AuditEvent.FEEDBACK_GIVEN: "{actor} says of {side}, {task}: {opinion}",
    AuditEvent.SELF_TEST_ASKED: "self-test of the node, asked for by {actor}: no patient",
    AuditEvent.SELF_TEST_ENDED: "self-test ended: {why}",
    AuditEvent.SELF_TEST_WITHDRAWN: "the PACS has the note that takes the self-test's image back",
    AuditEvent.FEEDBACK_UNMATCHED: "{actor} says something of it that fits nothing: {reason}",
    AuditEvent.COVARIATE_TOLD: "{name} came by {source}{late}: {told}, of {measured}",
    AuditEvent.COVARIATE_REFUSED: "{name} came by {source} and is refused: {reason}",
    AuditEvent.GLASS_BROKEN: "{actor} opened it against the rule, because: {reason}",
}
"""What a person wants to know of a study. All other events are plumbing."""


def is_plumbing(entry: AuditEntry) -> bool:
    """Tell whether a record says only how the work went on."""
    return entry.record.event not in _WORDS


def sentence(entry: AuditEntry) -> str:
    """Return a record in plain English."""
    record = entry.record
    words = _WORDS.get(record.event)
    if words is None:
        kind = record.detail.get("kind", "")
        return f"{record.event.value.replace('_', ' ')} {kind}".strip()
    detail = record.detail
    known = {name: str(value) for name, value in detail.items()} | {
        "ae": record.ae_title or record.actor or "an unknown sender",
        "address": str(detail.get("peer_address") or detail.get("address") or "address unknown"),
        "actor": record.actor or "somebody",
        "uid": record.sop_instance_uid,
        "told": str(detail.get("given") if detail.get("value") is not None else "taken back"),
        "late": ", after an image was read" if detail.get("late") else "",
        "reason": str(detail.get("reason") or detail.get("error") or "no reason given"),
        "said": "; ".join(_said(hip) for hip in detail.get("hips", [])),
        "objects": ", ".join(f"{kind} {uid}" for kind, uid, _ in _objects(detail)),
    }
    return words.format_map(_Known(known)).strip()


class _Known(dict[str, str]):
    """What is known; a record of an earlier release may lack a name."""

    def __missing__(self, name: str) -> str:
        return f"({name} unknown)"


def _said(hip: dict[str, Any]) -> str:
    """Return what was said of a hip: its verdict, and each finding with its model."""
    parts = [
        f"{finding['task']} {finding['decision']} {finding['p_positive']:.3f}"
        f" ({finding['model']} {finding.get('model_version', '')}".rstrip()
        + _with(finding.get("covariates", ()))
        + (", in shadow)" if finding.get("shadow") else ")")
        for finding in hip.get("findings", [])
    ]
    what = hip.get("abstained") or hip.get("verdict") or ""
    return f"{hip['side']} {what}" + (f": {', '.join(parts)}" if parts else "")


def _with(covariates: Iterable[dict[str, Any]]) -> str:
    """Return the values from outside that a model was given."""
    said = [
        f"{each['name']} {each['value']:.4g} of {each['measured']}"
        for each in covariates
        if each["source"] != CovariateSource.HEADER
    ]
    return f", with {', '.join(said)}" if said else ""


def _objects(detail: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the objects of a report: kind, SOP Instance UID, SHA-256."""
    return [(str(kind), str(uid), str(sha256)) for kind, uid, sha256 in detail.get("objects", [])]


def objects(entries: Iterable[AuditEntry]) -> list[dict[str, Any]]:
    """Return each object that was made for a study, where it went, and who keeps it."""
    made: dict[str, dict[str, Any]] = {}
    for entry in entries:
        record = entry.record
        if record.event is AuditEvent.REPORT_MADE:
            for kind, uid, sha256 in _objects(record.detail):
                version = record.detail.get("version")
                made.setdefault(
                    uid,
                    {
                        "kind": kind,
                        "sop_instance_uid": uid,
                        "sha256": sha256,
                        "version": version,
                        "delivered": [],
                        "committed": [],
                    },
                )
        elif record.event in {AuditEvent.OBJECT_DELIVERED, AuditEvent.OBJECT_COMMITTED}:
            place = made.get(record.sop_instance_uid)
            if place is not None:
                way = "delivered" if record.event is AuditEvent.OBJECT_DELIVERED else "committed"
                when = entry.at_utc.isoformat(timespec="seconds")
                place[way].append([record.detail.get("destination", ""), when])
    return list(made.values())
