"""An assessment that came by C-STORE, matched with what this node said of each hip."""

from __future__ import annotations

from hipnode import codes
from hipnode.answers import audit
from hipnode.answers.outcome import newest
from hipnode.dicom.assessment import Assessment
from hipnode.domain.opinions import Opinion
from hipnode.services.opinions.match import About, Heard, Taken, Teller, take
from hipnode.storage import Store, StudyLine


def take_assessment(store: Store, assessment: Assessment, ae_title: str) -> Taken:
    """Keep what an object says; what fits nothing is on the audit log. The same object counts once.

    Raises
    ------
    StorageUnavailable
        If nothing could be written.
    """
    uid = assessment.study_instance_uid
    teller = Teller(
        assessment.source,
        assessment.observer or ae_title,
        message=assessment.sop_instance_uid,
        ae_title=ae_title,
        comment=f"object {assessment.sop_instance_uid}",
    )
    about = About(study_instance_uid=uid, patient_id=assessment.patient_id)
    line = store.desk.studies.one(uid) if uid else None
    heard: list[Heard] = []
    reasons: list[str] = []
    if line is not None:
        ours = {made.sop_instance_uid for made in store.desk.studies.made(uid)}
        places = _places(line)
        for opinion, tracking in assessment.said:
            found = _meant(opinion, tracking, places, bool(ours & assessment.referenced))
            if isinstance(found, str):
                reasons.append(found)
            else:
                heard += [Heard(side, task, opinion=opinion) for side, task in found]
    return take(store, about, heard, teller, reasons)


def _places(line: StudyLine) -> dict[str, tuple[str, str]]:
    """Return side and task of each finding that was reported last, by its tracking UID."""
    found: dict[str, tuple[str, str]] = {}
    for entry in newest(line.said, line.reported):
        for row in audit.findings(entry):
            if row["task"] and row["decision"] and not row["shadow"]:
                place = str(row["side"]), str(row["task"])
                uid = row["sop_instance_uid"], *place, row["model_digest"] or ""
                found[codes.tracking_uid(*uid)] = place
    return found


def _meant(
    opinion: Opinion, tracking: str, places: dict[str, tuple[str, str]], names_ours: bool
) -> list[tuple[str, str]] | str:
    """Return of which hips and tasks an opinion is, or why that cannot be told."""
    if tracking in places:
        return [places[tracking]]
    if not names_ours:
        return "it names no result of this node"
    if tracking:
        return "its tracking UID is of no finding that was reported last"
    every = sorted(set(places.values()))
    if opinion is Opinion.AGREE or len(every) == 1:
        return every
    return f"it disagrees, and does not say with which of {len(every)} findings"
