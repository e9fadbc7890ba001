"""What is wrong, what to do about it, and the button that does it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from hipnode.answers.advice import advice
from hipnode.domain import AbstentionReason, AuditEvent, JobState
from hipnode.services.desk.visit import Answer, NotHere, Visit
from hipnode.services.life.look import look
from hipnode.storage import Asked, AuditFilter

_SHOWN: Final = 100
_REFUSED: Final = timedelta(days=30)
_LOOKED_AT: Final = 1000
_REASONS: Final = frozenset(reason.value for reason in AbstentionReason)


def faults(visit: Visit) -> Answer:
    """Show what a person must see to. UIDs are shortened: nothing here names a patient."""
    state = look(visit.settings, visit.store)
    known = [fault | {"advice": advice(fault["key"])} for fault in state["faults"]]
    jobs = visit.store.lookups.jobs(state=JobState.QUARANTINED, limit=_SHOWN)
    values = {
        "state": state,
        "faults": known,
        "jobs": jobs,
        "refused": _refused(visit),
        "days": _REFUSED.days,
        "done": visit.query.get("done", ""),
    }
    return Answer("faults.html", values)


def _refused(visit: Visit) -> list[dict[str, Any]]:
    """Return who was refused, why, how often, and when first and last."""
    wanted = AuditFilter(since_utc=visit.now - _REFUSED, event=AuditEvent.ASSOCIATION_REFUSED)
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for entry in visit.store.desk.records.page(Asked(wanted), limit=_LOOKED_AT).entries:
        detail = entry.record.detail
        address = str(detail.get("peer_address") or detail.get("address") or "")
        key = (entry.record.ae_title, address, str(detail.get("reason", "")))
        group = groups.setdefault(key, {"count": 0, "last": entry.at_utc})
        group["count"] += 1
        group["first"] = entry.at_utc
    return [
        group | {"ae": ae, "address": address, "why": why}
        for (ae, address, why), group in groups.items()
    ]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def requeue_form(visit: Visit) -> Answer:
    """Ask once more before work is queued again."""
    number = visit.query.get("job", "")
    if number == "all":
        return Answer("requeue.html", {"job": None, "reason": "", "number": "all"})
    reason = visit.query.get("reason", "")
    if reason:
        if reason not in _REASONS:
            raise NotHere
        return Answer("requeue.html", {"job": None, "reason": reason, "number": ""})
    if not _is_number(number):
        raise NotHere
    try:
        job = visit.store.lookups.job(int(number))
    except KeyError:
        raise NotHere from None
    return Answer("requeue.html", {"job": job, "reason": "", "number": number})


def requeue(visit: Visit) -> Answer:
    """Queue work again; the ledger puts on the log who asked for it."""
    number, reason = visit.form.get("job", ""), visit.form.get("reason", "")
    actor = visit.who.name
    if reason in _REASONS:
        count = visit.store.recovery.reread(reason, actor=actor)
    elif number == "all":
        count = visit.store.recovery.requeue(actor=actor)
    elif _is_number(number):
        count = visit.store.recovery.requeue([int(number)], actor=actor)
    else:
        raise NotHere
    return Answer(to=f"/faults?done={count}")
