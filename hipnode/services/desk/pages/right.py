"""Was it right? What readers say of a study, where they disagreed, and the figures."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from hipnode.answers import groups, right, shift
from hipnode.domain import AuditEvent
from hipnode.domain.opinions import Feedback, Opinion, OpinionSource
from hipnode.domain.people import Role
from hipnode.errors import InputRefused
from hipnode.services import drifting
from hipnode.services.desk.pages import asked
from hipnode.services.desk.pages.studies import opened
from hipnode.services.desk.remembered import Remembered
from hipnode.services.desk.visit import Answer, Seen, Visit
from hipnode.storage import Store, StudyLine


def give(visit: Visit) -> Answer:
    """Take what a reader says of each hip; it is kept with what the node had said."""
    line, seen = opened(visit)
    uid = line.facts.study_instance_uid
    known = right.said(line.said, line.reported)
    comment = visit.form.get("comment", "").strip()[:500]
    given: list[Feedback] = []
    for (side, task), said in known.items():
        chosen = visit.form.get(f"{side}-{task}", "")
        if not chosen:
            continue
        if chosen not in set(Opinion):
            raise InputRefused("There is no such opinion.")
        opinion = Opinion(chosen)
        given.append(
            Feedback(
                study_instance_uid=uid,
                side=side,
                task=task,
                opinion=opinion,
                said=said.decision,
                truth=right.truth_of(said.decision, opinion),
                model=said.model,
                model_version=said.model_version,
                model_digest=said.model_digest,
                source=OpinionSource.PAGE,
                given_by=visit.who.name,
                given_utc=visit.now,
                comment=comment,
            )
        )
    if not given:
        raise InputRefused("Say of one hip at least whether you agree.")
    records = [
        visit.record(
            AuditEvent.FEEDBACK_GIVEN,
            Seen(uid, seen.patient_id, seen.accession_number),
            **right.record_detail(each),
        )
        for each in given
    ]
    visit.store.desk.opinions.add(given, records)
    return Answer(to=f"/studies/{uid}")


def disagreements(visit: Visit) -> Answer:
    """Show where readers and the node disagreed, the newest first."""
    before = asked.numbered(visit.query.get("before", ""))
    found = visit.store.desk.opinions.disagreements(before)
    patients = bool(visit.who.roles & {Role.AUDITOR, Role.READER})
    lines: dict[str, StudyLine | None] = {}
    if patients:
        for each in found:
            uid = each.study_instance_uid
            lines.setdefault(uid, visit.store.desk.studies.one(uid))
    tests = visit.store.self_tests.studies()
    rows = [
        _row(each, lines.get(each.study_instance_uid))
        for each in found
        if each.study_instance_uid not in tests
    ]
    last = found[-1] if len(found) == 50 else None
    values = {
        "rows": rows,
        "patients": patients,
        "next": asked.written(last.given_utc, last.id) if last else "",
    }
    return Answer("disagreements.html", values, seen=Seen(detail={"rows": len(rows)}))


def _row(each: Feedback, line: StudyLine | None) -> dict[str, Any]:
    accession = line.facts.accession_number if line else ""
    return {"feedback": each, "accession": accession}


def quality(visit: Visit) -> Answer:
    """Show figures without patients: how much was read, and how often it was right."""
    since = visit.now - timedelta(days=drifting.DAYS)
    at, counted = _COUNTED.of(visit.store, visit.now)
    given = drifting.opinions(visit.store, since)
    values = {
        "days": drifting.DAYS,
        "reference": drifting.REFERENCE,
        "at": at,
        "agreement": right.agreement(given),
        "given": len(given),
    }
    return Answer("quality.html", counted | values)


def _counted(store: Store, now: datetime) -> dict[str, Any]:
    """Return what follows from the readings of the last months."""
    found = drifting.watched(store, now)
    known, more = drifting.known(store, now - timedelta(days=drifting.DAYS))
    until = (now - timedelta(days=drifting.DAYS - drifting.REFERENCE)).date()
    usual = [v for entry in found.usual for v in shift.seen(entry, None)]
    newest = [v for entry in found.newest for v in shift.seen(entry, None)]
    return {
        "readings": len(found.read),
        "cut": found.cut,
        "volume": right.volume(found.read),
        "drifts": found.drifts,
        "shifts": found.shifts,
        "shifted": found.shifted,
        "recent": shift.RECENT_DAYS,
        "until": until,
        "usual": shift.histogram(usual),
        "newest": shift.histogram(newest),
        "groups": groups.said(found.newest, found.headers),
        "right": groups.right(known),
        "known_cut": more,
        "fewest": groups.FEWEST,
        "bins": groups.BINS,
    }


_COUNTED: Final = Remembered(_counted)
