"""Studies: the list, the story of one, its pictures, and the glass that can be broken."""

from __future__ import annotations

from typing import Any, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from hipnode.answers import audit as words
from hipnode.answers import objects, right
from hipnode.answers.outcome import StudyOutcome, newest, outcome, signs
from hipnode.domain import AuditEvent, JobKind, JobState, Outcome, ResultKind
from hipnode.domain.people import Role
from hipnode.errors import InputRefused, StorageUnavailable
from hipnode.services.desk.pages import asked
from hipnode.services.desk.visit import STUDY_OPEN, Answer, NotAllowed, NotHere, Seen, Visit
from hipnode.storage import AuditEntry, Made, StudyFilter, StudyLine
from hipnode.storage.desk.studies import Studies

_SEARCHED: Final = 500
"""So many studies are looked through for a page of a filter that no index helps with."""
_FIRST: Final = 100
_PAGE: Final = 50
_STORY: Final = 3000
"""So many records of a study are shown, the newest; the page says where there are more."""
_UNDELIVERED: Final = "undelivered"
_GIVEN_UP: Final = "given up"
_NOT_DONE: Final = frozenset({JobState.QUEUED, JobState.CLAIMED, JobState.QUARANTINED})
_LOOKED: Final = (
    AuditEvent.RESULT_VIEWED,
    AuditEvent.AUDIT_QUERIED,
    AuditEvent.AUDIT_EXPORTED,
    AuditEvent.GLASS_BROKEN,
    AuditEvent.DESK_REFUSED,
)


def studies(visit: Visit) -> Answer:
    """Search for studies; a reader names the accession number."""
    given = visit.query
    wanted = StudyFilter(
        given.get("accession", ""),
        given.get("patient", ""),
        asked.day(visit, "since"),
        asked.day(visit, "until", end=True),
    )
    word = given.get("outcome", "")
    if word and word not in {*StudyOutcome, _UNDELIVERED, _GIVEN_UP}:
        raise InputRefused("There is no such outcome.")
    seen = Seen(
        patient_id=wanted.patient_id,
        accession_number=wanted.accession_number,
        detail={"filter": {k: given[k] for k in ("since", "until", "outcome") if given.get(k)}},
    )
    values: dict[str, Any] = {
        "given": given,
        "outcomes": [*StudyOutcome, _UNDELIVERED, _GIVEN_UP],
        "lines": [],
        "next": "",
        "asked": True,
    }
    if Role.AUDITOR not in visit.who.roles and not wanted.accession_number:
        return Answer("studies.html", values | {"asked": False}, seen=seen)
    found, following = _found(visit, wanted, word)
    values["lines"] = [_line(line) for line in found]
    values["next"] = asked.written(*following) if following else ""
    detail = {**seen.detail, "studies": len(found)}
    shown = Seen("", seen.patient_id, seen.accession_number, detail)
    return Answer("studies.html", values, seen=shown)


def _found(
    visit: Visit, wanted: StudyFilter, word: str
) -> tuple[list[StudyLine], tuple[Any, str] | None]:
    before = asked.place(visit.query.get("before", ""))
    if not word:
        return visit.store.desk.studies.page(wanted, before, _PAGE)
    studies = visit.store.desk.studies
    places = studies.places(wanted, before, _SEARCHED)
    uids = [uid for _, uid in places]
    found: list[StudyLine] = []
    for some in (uids[:_FIRST], uids[_FIRST:]):  # what is common is found among the first
        likely = _likely(studies, some, word)
        for first in range(0, len(likely), _PAGE):
            lines = studies.some(likely[first : first + _PAGE])
            found += [line for line in lines if word in _words(line)]
            if len(found) >= _PAGE:
                found = found[:_PAGE]
                last = found[-1].facts
                return found, (last.last_received_utc, last.study_instance_uid)
    return found, places[-1] if len(places) == _SEARCHED else None


def _likely(studies: Studies, uids: list[str], word: str) -> list[str]:
    """Return the studies among which those are that fit: all of these need not.

    The database says so without handing out what was said of each, which takes most of the time.
    """
    if word == _UNDELIVERED:
        some = studies.with_work(uids, _NOT_DONE, JobKind.DELIVER)
    elif word == _GIVEN_UP:
        some = studies.with_work(uids, (JobState.QUARANTINED,))
    elif word == StudyOutcome.WAITING:
        some = set(uids) - studies.said(uids, signs(StudyOutcome.WAITING), reported=True)
    else:
        some = studies.said(uids, signs(StudyOutcome(word)))
    return [uid for uid in uids if uid in some]


def _words(line: StudyLine) -> set[str]:
    """Return what a study can be found by: its outcome, and what is not done."""
    found = {outcome(line.said, line.reported).value}
    states = {state for kind, state in line.states if kind is JobKind.DELIVER}
    if states & _NOT_DONE:
        found.add(_UNDELIVERED)
    if any(state is JobState.QUARANTINED for _, state in line.states):
        found.add(_GIVEN_UP)
    return found


def _line(line: StudyLine) -> dict[str, Any]:
    words_of = _words(line)
    return {
        "facts": line.facts,
        "images": line.images,
        "outcome": outcome(line.said, line.reported).value,
        "undelivered": _UNDELIVERED in words_of,
        "given_up": _GIVEN_UP in words_of,
    }


# --- the story of one -----------------------------------------------------------------------------


def opened(visit: Visit) -> tuple[StudyLine, Seen]:
    """Return the study that the address names, if this person may see it.

    Raises
    ------
    NotHere
        If there is no such study.
    NotAllowed
        If it is not for this person.
    """
    uid = visit.parts["uid"]
    if not visit.who.may_open(uid, visit.now):
        raise NotAllowed("", Seen(study_instance_uid=uid))
    line = visit.store.desk.studies.one(uid)
    if line is None:
        raise NotHere(Seen(study_instance_uid=uid))
    facts = line.facts
    return line, Seen(uid, facts.patient_id, facts.accession_number)


def story(visit: Visit) -> Answer:
    """Show all of a study on one page."""
    line, seen = opened(visit)
    uid = line.facts.study_instance_uid
    records, facts = visit.store.desk.records, line.facts
    entries = records.of_study(uid, _STORY)
    earlier = records.before_images(facts.accession_number, facts.patient_id, _STORY)
    made = visit.store.desk.studies.made(uid)
    version = max((m.version for m in made if m.kind == ResultKind.CAPTURE), default=0)
    last = newest(entries)
    values = {
        "line": _line(line),
        "facts": facts,
        "captures": [m for m in made if m.kind == ResultKind.CAPTURE and m.version == version],
        "version": version,
        "text": _text(visit, made),
        "findings": [row for entry in last for row in words.findings(entry)],
        "told": [_told(entry) for entry in [*earlier, *entries]],
        "cut": len(entries) == _STORY,
        "objects": words.objects(entries),
        "images": visit.store.lookups.instances(uid),
        "asked": list(right.said(line.said, line.reported).values()),
        "opinions": visit.store.desk.opinions.of_study(uid),
        "looks": [entry for entry in reversed(entries) if entry.record.event in _LOOKED],
    }
    return Answer("story.html", values, seen=seen)


def _told(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at": entry.at_utc,
        "id": entry.id,
        "sentence": words.sentence(entry),
        "plumbing": words.is_plumbing(entry),
        "outcome": entry.record.outcome.value,
        "event": entry.record.event.value,
    }


def _text(visit: Visit, made: list[Made]) -> list[str]:
    """Return the words of the newest report, as they were sent."""
    texts = [m for m in made if m.kind == ResultKind.TEXT and m.kept]
    dataset = read(visit, texts[-1]) if texts else None
    return list(objects.lines(dataset)) if dataset else []


def read(visit: Visit, made: Made) -> Dataset | None:
    """Return an object that was made, or None where its file is not there any more."""
    try:
        return dcmread(visit.store.files.path(made.path))
    except (OSError, InvalidDicomError, StorageUnavailable):
        return None


def capture(visit: Visit) -> Answer:
    """Show the picture of a capture."""
    line, seen = opened(visit)
    number = visit.parts["number"]
    made = visit.store.desk.studies.made(line.facts.study_instance_uid)
    wanted = [m for m in made if str(m.id) == number and m.kind == ResultKind.CAPTURE]
    dataset = read(visit, wanted[0]) if wanted else None
    if dataset is None:
        raise NotHere(seen)
    return Answer(body=objects.jpeg(dataset), media_type="image/jpeg", seen=seen)


# --- the glass ------------------------------------------------------------------------------------


def glass(visit: Visit) -> Answer:
    """Ask for the reason for which somebody wants to see what is not theirs to see."""
    given = {name: visit.query.get(name, "") for name in ("job", "accession")}
    return Answer("glass.html", {"given": given, "why": ""})


def break_glass(visit: Visit) -> Answer:
    """Open a study to somebody for an hour; the reason is on the log before anything is shown."""
    given = {name: visit.form.get(name, "").strip() for name in ("job", "accession", "reason")}
    session = visit.who.session
    if session is None:
        raise NotAllowed("Where a proxy signs people in, no glass can be broken.")
    if len(given["reason"]) < 10:
        raise InputRefused("A reason is needed, in your words: ten letters at least.")
    uid = _meant(visit, given["job"], given["accession"])
    detail = {"reason": given["reason"][:500], "job": given["job"]}
    if uid is None:
        refused = Seen("", "", given["accession"], detail, Outcome.REFUSED)
        visit.store.audit.append(visit.record(AuditEvent.GLASS_BROKEN, refused))
        raise InputRefused("There is no such study.")
    line = visit.store.desk.studies.one(uid)
    facts = line.facts if line else None
    patient, accession = (facts.patient_id, facts.accession_number) if facts else ("", "")
    record = visit.record(AuditEvent.GLASS_BROKEN, Seen(uid, patient, accession, detail))
    visit.store.desk.people.open_study(session, uid, visit.now + STUDY_OPEN, record)
    return Answer(to=f"/studies/{uid}")


def _meant(visit: Visit, job: str, accession: str) -> str | None:
    if job.isascii() and job.isdecimal() and len(job) < 19:
        try:
            return visit.store.lookups.job(int(job)).study_instance_uid
        except KeyError:
            return None
    if not accession:
        return None
    lines, _ = visit.store.desk.studies.page(StudyFilter(accession), limit=1)
    return lines[0].facts.study_instance_uid if lines else None
