"""What is to be done, and what leaves the node by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal


class JobKind(StrEnum):
    """The three kinds of work in the one queue."""

    READ = "read"  # one image
    REPORT = "report"  # one study, once it is quiet
    DELIVER = "deliver"  # one object to one destination


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # may run once ``due_utc`` has come
    CLAIMED = "claimed"  # somebody holds a lease on it
    DONE = "done"
    QUARANTINED = "quarantined"  # given up, with a reason; a person may requeue it
    SUPERSEDED = "superseded"  # made pointless by a newer one before it ran


TRANSITIONS: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.CLAIMED, JobState.SUPERSEDED, JobState.QUARANTINED}),
    JobState.CLAIMED: frozenset(
        {JobState.QUEUED, JobState.DONE, JobState.QUARANTINED, JobState.SUPERSEDED}
    ),
    JobState.QUARANTINED: frozenset({JobState.QUEUED}),
    JobState.DONE: frozenset({JobState.QUEUED}),  # an image is to be read again
    JobState.SUPERSEDED: frozenset(),
}
"""The only moves that a job's state may make."""


@dataclass(frozen=True, slots=True)
class Job:
    """One unit of work. ``token`` grows with every claim: an old holder's token writes nothing."""

    id: int
    kind: JobKind
    state: JobState
    study_instance_uid: str
    priority: int  # higher first
    attempts: int
    token: int
    due_utc: datetime
    created_utc: datetime
    lease_until_utc: datetime | None = None
    instance_id: int | None = None  # read
    version: int | None = None  # report: 1, 2, ... within the study
    result_id: int | None = None  # deliver
    destination: str = ""  # deliver
    model_set: str = ""  # digest; read and report
    error: str = ""


class CommitmentState(StrEnum):
    """Where a delivered object stands with a destination that is asked to commit to it.

    *Delivered* means that the destination has taken the object; *committed*, that it has promised
    to keep it (PS3.4 Annex J).
    """

    WANTED = "wanted"  # delivered; to be asked for
    ASKED = "asked"  # the destination's answer is awaited
    COMMITTED = "committed"
    FAILED = "failed"  # it will not keep the object, which is delivered again or in quarantine
    WAIVED = "waived"  # the settings do not ask for it any more


Language = Literal["en", "de", "fr"]
"""The languages in which the node reports (RFC 5646)."""


class ResultKind(StrEnum):
    """The kinds of object that a report is made of."""

    SR = "sr"  # TID 1500
    CAPTURE = "capture"  # heat-map Secondary Capture
    TEXT = "text"  # Basic Text SR
    GSPS = "gsps"
    PDF = "pdf"
    NOTE = "note"  # a rejection note: takes back what was sent
    ORU = "oru"  # an HL7 v2 message
    FHIR = "fhir"  # a transaction of FHIR R4
    NOTICE = "notice"  # JSON, for a webhook


MESSAGES: Final = frozenset({ResultKind.ORU, ResultKind.FHIR, ResultKind.NOTICE})
"""What is no DICOM object."""
REPORTED: Final = frozenset(ResultKind) - MESSAGES - {ResultKind.NOTE}
"""The DICOM objects that a destination's profile can ask for."""


@dataclass(frozen=True, slots=True)
class Result:
    """An object on disk that waits for, or has reached, its destinations."""

    id: int
    kind: ResultKind
    study_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    path: str  # relative to the store's root
    sha256: str
    version: int
    destination: str = ""  # made for this one's profile; "" for all
    series_instance_uid: str = ""  # as its file says; "" where nobody looked
    patient_id: str | None = None  # likewise
    language: str = ""  # likewise
