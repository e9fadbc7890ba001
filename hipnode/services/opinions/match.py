"""What somebody says of a result, matched with what the node said; what fits nothing is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hipnode.answers import right
from hipnode.answers.right import Said
from hipnode.domain import AuditEvent, AuditRecord, Outcome
from hipnode.domain.opinions import Feedback, Opinion, OpinionSource
from hipnode.storage import Store, StudyFilter, StudyLine


@dataclass(frozen=True, slots=True)
class Heard:
    """What is said of one hip and question: what is there, or whether the node was right."""

    side: str
    task: str
    truth: str = ""  # "present" or "absent"
    opinion: Opinion | None = None


@dataclass(frozen=True, slots=True)
class Teller:
    """Who says so: a person's name or an application's, and the message or object it stands in."""

    source: OpinionSource
    given_by: str
    message: str = ""
    ae_title: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """Of which study: by UID, else by the first of these accession numbers that is known."""

    accessions: tuple[str, ...] = ()
    study_instance_uid: str = ""
    patient_id: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of it: how much was taken, and why the rest was not."""

    count: int = 0
    unmatched: tuple[str, ...] = ()


def take(
    store: Store,
    about: About,
    heard: Sequence[Heard],
    teller: Teller,
    reasons: Sequence[str] = (),
) -> Taken:
    """Keep what is said of a study; put on the audit log why any of it fits nothing.

    The same said again by the same message is taken once.

    Parameters
    ----------
    store
        Where it is kept.
    about
        Of which study.
    heard
        What is said.
    teller
        Who says so.
    reasons
        Why more of it fits nothing, as far as that is known already.

    Raises
    ------
    StorageUnavailable
        If nothing could be written.
    """
    line = _study(store, about)
    if isinstance(line, str):
        return _left(store, about, teller, [line])
    if not heard:
        return _left(store, about, teller, reasons or ["nothing is said plainly of a hip"], line)
    said = right.said(line.said, line.reported)
    before = {
        (each.side, each.task, each.opinion, each.truth)
        for each in store.desk.opinions.of_study(line.facts.study_instance_uid)
        if teller.message and each.source is teller.source and teller.message in each.comment
    }
    given, unmatched = [], list(reasons)
    for one in heard:
        mine = said.get((one.side, one.task))
        if mine is None:
            unmatched.append(f"nothing was said of {one.side}, {one.task}")
            continue
        feedback = _feedback(store, line, one, mine, teller)
        if (one.side, one.task, feedback.opinion, feedback.truth) not in before:
            given.append(feedback)
    store.desk.opinions.add(given, [_record(each, line, teller) for each in given])
    if unmatched:
        _left(store, about, teller, unmatched, line)
    return Taken(len(given), tuple(unmatched))


def _study(store: Store, about: About) -> StudyLine | str:
    """Return the study that is meant, or why there is none."""
    named = store.desk.studies.one(about.study_instance_uid) if about.study_instance_uid else None
    found = [named] if named else []
    for accession in filter(None, about.accessions):
        if not found:
            found, _ = store.desk.studies.page(StudyFilter(accession))
    if not found:
        return "there is no study of this accession number or UID"
    mine = [line for line in found if about.patient_id in {"", line.facts.patient_id}]
    if not mine:
        return "the study is another patient's"
    if len({line.facts.patient_id for line in mine}) > 1:
        return "several patients have studies of this accession number"
    return mine[0]


def _feedback(store: Store, line: StudyLine, one: Heard, said: Said, teller: Teller) -> Feedback:
    opinion = one.opinion or right.opinion_of(said.decision, one.truth)
    return Feedback(
        study_instance_uid=line.facts.study_instance_uid,
        side=one.side,
        task=one.task,
        opinion=opinion,
        said=said.decision,
        truth=one.truth or right.truth_of(said.decision, opinion),
        model=said.model,
        model_version=said.model_version,
        model_digest=said.model_digest,
        source=teller.source,
        given_by=teller.given_by,
        given_utc=store.now(),
        comment=teller.comment,
    )


def _record(given: Feedback, line: StudyLine, teller: Teller) -> AuditRecord:
    message = {"message": teller.message} if teller.message else {}
    return AuditRecord(
        AuditEvent.FEEDBACK_GIVEN,
        actor=given.given_by,
        study_instance_uid=given.study_instance_uid,
        patient_id=line.facts.patient_id,
        accession_number=line.facts.accession_number,
        ae_title=teller.ae_title,
        detail=right.record_detail(given) | message,
    )


def _left(
    store: Store,
    about: About,
    teller: Teller,
    reasons: Iterable[str],
    line: StudyLine | None = None,
) -> Taken:
    """Put on the audit log that something fits nothing; files of the RIS say so line by line."""
    reasons = tuple(reasons)
    if teller.source is OpinionSource.CSV:
        return Taken(0, reasons)
    facts = line.facts if line else None
    first = next(filter(None, about.accessions), "")
    store.audit.append(
        AuditRecord(
            AuditEvent.FEEDBACK_UNMATCHED,
            Outcome.REFUSED,
            actor=teller.given_by,
            study_instance_uid=facts.study_instance_uid if facts else about.study_instance_uid,
            patient_id=facts.patient_id if facts else about.patient_id,
            accession_number=facts.accession_number if facts else first,
            ae_title=teller.ae_title,
            detail={
                "reason": "; ".join(reasons),
                "source": teller.source.value,
                "message": teller.message,
            },
        )
    )
    return Taken(0, reasons)
