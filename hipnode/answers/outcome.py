"""What a study comes to in one word, from what the log says of its images."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from hipnode.answers.audit import READ
from hipnode.domain import Verdict

if TYPE_CHECKING:
    from hipnode.storage import AuditEntry


class StudyOutcome(StrEnum):
    """The most urgent of what was said, in this order."""

    POSITIVE = "positive"
    DOUBT = "doubt"
    LOOK = "look"  # nobody could judge it: a person should
    NOT_ASSESSED = "not assessed"
    NEGATIVE = "negative"
    OTHER = "other"  # asked for something else than a fracture
    WAITING = "waiting"  # nothing was said yet


_OF: Final = {
    Verdict.DEFINITE: StudyOutcome.POSITIVE,
    Verdict.DOUBTFUL: StudyOutcome.DOUBT,
    Verdict.EQUIVOCAL: StudyOutcome.DOUBT,
    Verdict.LOOK_NOW: StudyOutcome.LOOK,
    Verdict.NOT_ASSESSED: StudyOutcome.NOT_ASSESSED,
    Verdict.NONE_SEEN: StudyOutcome.NEGATIVE,
    Verdict.OTHER_QUESTION: StudyOutcome.OTHER,
}


def signs(word: StudyOutcome) -> tuple[str, ...]:
    """Return what stands in the detail of a record that may lead to an outcome, as it is written.

    One of these at least; of `WAITING`, what stands in no record that counts.
    """
    if word is StudyOutcome.WAITING:
        return '"verdict":"', '"abstained"'
    found = [f'"{verdict.value}"' for verdict, other in _OF.items() if other is word]
    whole = word in {StudyOutcome.LOOK, StudyOutcome.NOT_ASSESSED}  # an image that has no hips
    return (*found, '"abstained"') if whole else tuple(found)


def newest(said: Iterable[AuditEntry], sets: Iterable[str] = ()) -> list[AuditEntry]:
    """Return the last record of what each model set said of each image.

    Parameters
    ----------
    said
        Records, oldest first.
    sets
        Only of these model sets (digests); none for all.
    """
    wanted = set(sets)
    last: dict[tuple[str, str], AuditEntry] = {}
    for entry in said:
        digest = entry.record.detail.get("model_set_digest", "")
        if entry.record.event in READ and (not wanted or digest in wanted):
            last[entry.record.sop_instance_uid, digest] = entry
    return list(last.values())


def outcome(said: Iterable[AuditEntry], reported: Iterable[str]) -> StudyOutcome:
    """Return the outcome of a study, from what the sets that report on it said last."""
    found: set[StudyOutcome] = set()
    for entry in newest(said, reported):
        found |= _of(entry.record.detail)
    return next((word for word in StudyOutcome if word in found), StudyOutcome.WAITING)


def _of(detail: dict[str, Any]) -> set[StudyOutcome]:
    if "abstained" in detail:
        look = detail.get("attention") == "now"
        return {StudyOutcome.LOOK if look else StudyOutcome.NOT_ASSESSED}
    known = {verdict.value: word for verdict, word in _OF.items()}
    return {known[v] for hip in detail.get("hips", []) if (v := hip.get("verdict")) in known}
