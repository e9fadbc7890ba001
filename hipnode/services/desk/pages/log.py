"""The audit log: asked, exported, verified, and the proof that one record is in it."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any, Final

from hipnode.answers import audit as words
from hipnode.answers.shown import spreadsheet
from hipnode.answers.statement import Verified, audit_statement
from hipnode.domain import AuditEvent, Outcome
from hipnode.errors import HipnodeError
from hipnode.log import Event, get_logger
from hipnode.services.desk.pages import asked
from hipnode.services.desk.pages.export import proof_document
from hipnode.services.desk.visit import Answer, NotHere, Seen, Visit
from hipnode.storage import Asked, Store

_DAYS: Final = 30
_VERIFYING: Final = threading.Lock()

QUESTIONS: Final[tuple[tuple[str, str], ...]] = (
    ("Who sent what, when, from where?", "/audit?event=instance_stored"),
    ("What was said of an examination, by which version of which model?", "/studies"),
    ("What became of an examination?", "/studies"),
    ("What was sent where, and taken?", "/audit?event=object_delivered"),
    ("Who was refused, and why?", "/audit?outcome=refused"),
    ("What was not assessed, and why?", "/audit?event=image_abstained&by=abstained"),
    ("What was given up?", "/audit?event=job_quarantined"),
    (
        "When was a destination not there, or refused us?",
        "/audit?event=delivery_failed&by=destination",
    ),
    ("Which models read, since when?", "/audit?event=model_set_loaded"),
    ("Who asked this log?", "/audit?event=audit_queried"),
    ("What was deleted by retention?", "/audit?event=files_retired"),
    ("Is the log whole, and how often was that checked?", "/audit?event=audit_verified"),
    ("Who looked at patients' data?", "/audit?event=result_viewed"),
    ("Who broke the glass?", "/audit?event=glass_broken"),
    ("What have people said that fits nothing?", "/audit?event=feedback_unmatched&by=reason"),
)
"""Those of docs/audit.md, in its order, and three more."""
_BY: Final = ("abstained", "destination", "reason", "model_set", "kind", "page")


def _seen(wanted: Asked, **more: Any) -> Seen:
    filters = wanted.wanted
    detail: dict[str, Any] = {"filter": filters.described()}
    for name in ("actor", "words", "object_uid"):
        if value := getattr(wanted, name):
            detail["filter"][name] = value
    return Seen(
        filters.study_instance_uid or "",
        filters.patient_id or "",
        filters.accession_number or "",
        detail | more,
    )


def audit(visit: Visit) -> Answer:
    """Ask the log."""
    wanted = asked.of_log(visit)
    records = visit.store.desk.records
    by = visit.query.get("by", "")
    groups = records.counted(wanted, by) if by in _BY else []
    found = records.page(wanted, asked.numbered(visit.query.get("before", "")))
    counts: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for counted_day in records.days(visit.now, _DAYS):
        counts[counted_day.day.isoformat()] += counted_day.number
        if counted_day.outcome is not Outcome.OK:
            wrong[counted_day.day.isoformat()] += counted_day.number
    given = {k: v for k, v in visit.query.items() if k not in {"before"} and v}
    dates = [(visit.now - timedelta(days=n)).date().isoformat() for n in range(_DAYS)][::-1]
    values = {
        "given": given,
        "entries": [_row(entry) for entry in found.entries],
        "next": asked.written(found.next[0], found.next[1]) if found.next else "",
        "searched_to": found.searched_to,
        "events": [event.value for event in AuditEvent],
        "outcomes": [outcome.value for outcome in Outcome],
        "questions": QUESTIONS,
        "by": by if by in _BY else "",
        "groups": groups,
        "chart": [(day, counts[day]) for day in dates],
        "wrong": [wrong[day] for day in dates],
    }
    return Answer("audit.html", values, seen=_seen(wanted, records=len(found.entries)))


def _row(entry: Any) -> dict[str, Any]:
    detail = ", ".join(f"{name}={value}" for name, value in entry.record.detail.items())
    return {"entry": entry, "detail": detail if len(detail) <= 160 else f"{detail[:157]}..."}


def export(visit: Visit) -> Answer:
    """Give the records away, as CSV or as a JSON document a line."""
    wanted = asked.of_log(visit)
    form = visit.parts["form"]
    if form not in {"csv", "jsonl"}:
        raise NotHere
    lines = _csv(visit.store, wanted) if form == "csv" else _jsonl(visit.store, wanted)
    kind = "text/csv; charset=utf-8" if form == "csv" else "application/x-ndjson"
    name = f"hipnode-audit-{visit.now.astimezone(UTC):%Y%m%d-%H%M%S}.{form}"
    return Answer(body=lines, media_type=kind, filename=name, seen=_seen(wanted, form=form))


def _csv(store: Store, wanted: Asked) -> Iterator[bytes]:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(words.COLUMNS)
    for entry in store.desk.records.all(wanted):
        row = words.document(entry)
        row["detail"] = json.dumps(row["detail"])
        writer.writerow([spreadsheet(row[name]) for name in words.COLUMNS])
        if out.tell() > 64 * 1024:
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode()


def _jsonl(store: Store, wanted: Asked) -> Iterator[bytes]:
    for entry in store.desk.records.all(wanted):
        yield json.dumps(words.document(entry)).encode() + b"\n"


def _number(visit: Visit) -> int:
    text = visit.parts["number"]
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise NotHere
    return int(text)


def record(visit: Visit) -> Answer:
    """Show one record with all that it holds."""
    number = _number(visit)
    found = visit.store.desk.records.get(number)
    if found is None:
        raise NotHere(Seen(detail={"record": number}))
    entry, writer = found
    document = words.document(entry) | {"writer": writer}
    detail = json.dumps(entry.record.detail, indent=1, ensure_ascii=False)
    of = entry.record
    seen = Seen(of.study_instance_uid, of.patient_id, of.accession_number, {"record": number})
    return Answer("record.html", {"document": document, "detail": detail}, seen=seen)


def proof(visit: Visit) -> Answer:
    """Give away the proof that a record is in the log."""
    number = _number(visit)
    proven = visit.store.desk.prove([number])
    seen = Seen(detail={"record": number})
    if proven is None or number not in proven.proofs:
        raise NotHere(seen)
    body = json.dumps(proof_document(proven, number), indent=1).encode()
    return Answer(
        body=body, media_type="application/json", filename=f"proof-{number}.json", seen=seen
    )


# --- verify ---------------------------------------------------------------------------------------


def verification(visit: Visit) -> Answer:
    """Show what is known of the log without reading all of it."""
    store = visit.store
    state, head = store.audit.state(), store.audit.head()
    newest = store.desk.records.newest(AuditEvent.AUDIT_VERIFIED)
    values = {
        "state": state,
        "head": head,
        "newest": newest,
        "key": store.desk.verifier(),
        "running": _VERIFYING.locked(),
        "vitals": store.vitals(),
    }
    return Answer("verify.html", values)


def verify(visit: Visit) -> Answer:
    """Begin to verify all of the log; what comes of it is a record of its own."""
    store, actor = visit.store, visit.who.name

    def work() -> None:
        try:
            store.audit.report(actor=actor)
        except HipnodeError as error:
            log = get_logger(service="desk")
            log.error(Event.DESK_FAILED, error_type=type(error).__name__)
        finally:
            _VERIFYING.release()

    if _VERIFYING.acquire(blocking=False):
        threading.Thread(target=work, name="verify", daemon=True).start()
    return Answer(to="/verify")


def statement(visit: Visit) -> Answer:
    """Show a statement on the log, signed, to be printed."""
    store = visit.store
    newest = store.desk.records.newest(AuditEvent.AUDIT_VERIFIED)
    found = None
    if newest is not None:
        of = newest.record
        found = Verified(newest.at_utc, of.actor, of.outcome, of.detail)
    key = store.desk.verifier()
    text = audit_statement(
        visit.settings.node.name, visit.now, found, store.audit.state(), store.audit.head(), key
    )
    return Answer("statement.html", {"signed": store.desk.statement(text), "key": key})
