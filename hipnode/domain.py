"""The spine: immutable values that every part of the node speaks in.

*Side* is always the patient's; *image half* is the viewer's. Boxes are half-open and in the
original image's pixels, with (0, 0) the top-left corner of the top-left pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter


class Side(StrEnum):
    """The patient's side, as DICOM writes it (PS3.3 C.7.3.1, Laterality)."""

    RIGHT = "R"
    LEFT = "L"

    @property
    def word(self) -> str:
        """``RIGHT`` or ``LEFT``: a bare letter is misread too easily."""
        return self.name


class View(StrEnum):
    """What the image shows, as far as it is known."""

    FRONTAL_PELVIS = "frontal_pelvis"
    FRONTAL_HIP = "frontal_hip"
    OTHER = "other"
    UNKNOWN = "unknown"


# --- what was received ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Header:
    """The facts of an image's header that rules, gates and the audit log need.

    Strings are as decoded from the data set, stripped; ``""`` where absent. Nothing here is pixels.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str = ""
    transfer_syntax_uid: str = ""
    modality: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    accession_number: str = ""
    study_description: str = ""
    series_description: str = ""
    station_name: str = ""
    institution: str = ""
    manufacturer: str = ""
    body_part: str = ""
    view_position: str = ""
    laterality: str = ""
    patient_orientation: tuple[str, ...] = ()
    patient_sex: str = ""
    age_years: float | None = None
    size_m: float | None = None
    weight_kg: float | None = None
    presentation_intent: str = ""
    image_type: tuple[str, ...] = ()
    device_serial: str = ""

    def facts(self, calling_ae: str) -> dict[str, str]:
        """Return what the settings' rules can match on."""
        return {
            "calling_ae": calling_ae,
            "station_name": self.station_name,
            "institution": self.institution,
            "modality": self.modality,
            "body_part": self.body_part,
            "study_description": self.study_description,
            "series_description": self.series_description,
            "sop_class_uid": self.sop_class_uid,
            "presentation_intent": self.presentation_intent,
        }


@dataclass(frozen=True, slots=True)
class Instance:
    """A stored SOP Instance. It exists only once its file and row are on disk and fsynced."""

    id: int
    header: Header
    calling_ae: str
    path: str  # relative to the store's root
    sha256: str
    received_utc: datetime


# --- what is to be done -----------------------------------------------------------------------


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
    JobState.DONE: frozenset(),
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


# --- what is seen -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Radiograph:
    """A decoded image: MONOCHROME1, Modality LUT and VOI are resolved here and nowhere else.

    ``pixels`` is (rows, columns) float32 in [0, 1], bright bone. ``spacing_mm`` is (row, column)
    in the patient's plane where known, else at the detector, else None.
    """

    pixels: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None = None
    spacing_calibrated: bool = False
    notes: tuple[str, ...] = ()  # what the decoder had to mend or assume, in plain English

    @property
    def rows(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def columns(self) -> int:
        return int(self.pixels.shape[1])


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open rectangle in original pixels: ``x0 <= x < x1``, ``y0 <= y < y1``."""

    x0: int
    y0: int
    x1: int
    y1: int

    def __post_init__(self) -> None:
        if not (0 <= self.x0 < self.x1 and 0 <= self.y0 < self.y1):
            raise ValueError(f"box {self} is empty or has a negative corner")

    @property
    def width_px(self) -> int:
        return self.x1 - self.x0

    @property
    def height_px(self) -> int:
        return self.y1 - self.y0


@dataclass(frozen=True, slots=True)
class HipROI:
    """Where one hip is. ``score`` in [0, 1] is the localiser's own, no probability of disease."""

    side: Side
    box: Box
    score: float


class Task(StrEnum):
    """What a finding is about."""

    HIP_FRACTURE = "hip_fracture"
    OSTEOPOROSIS = "osteoporosis"
    FRACTURE_RISK = "fracture_risk"


class Decision(StrEnum):
    """What the operating points make of the probabilities."""

    PRESENT = "present"  # above the high-precision point: "definite"
    DOUBTFUL = "doubtful"  # between the two points: an expert should look
    ABSENT = "absent"  # below the high-recall point


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The thresholds on P(positive) that made the decision."""

    name: str
    doubtful_from: float  # high recall: below it, absent
    present_from: float  # high precision: from it on, present

    def __post_init__(self) -> None:
        if not 0.0 <= self.doubtful_from <= self.present_from <= 1.0:
            raise ValueError(f"operating point {self.name}: thresholds are not in order")

    def decide(self, p_positive: float) -> Decision:
        """Return the decision for a probability in [0, 1]."""
        if p_positive >= self.present_from:
            return Decision.PRESENT
        return Decision.DOUBTFUL if p_positive >= self.doubtful_from else Decision.ABSENT


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which model said so: enough to find its bundle and its card again."""

    name: str
    version: str
    digest: str  # sha256 of the bundle's manifest
    card: str  # one sentence of intended use


Saliency = tuple[tuple[float, ...], ...]
"""A class activation map over the ROI's box: rows of values in [0, 1], row 0 at the top."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One model's answer about one hip: a probability never without its threshold and its model."""

    task: Task
    probabilities: dict[str, float]  # calibrated; sums to 1; in the model's order of classes
    label: str  # the class that is reported
    p_positive: float  # the sum over the positive classes
    decision: Decision
    operating_point: OperatingPoint
    model: ModelRef
    saliency: Saliency | None = None
    covariates_used: tuple[str, ...] = ()
    shadow: bool = False  # audited, never reported

    def __post_init__(self) -> None:
        if self.label not in self.probabilities:
            raise ValueError(f"label {self.label!r} is none of {list(self.probabilities)}")


class AbstentionReason(StrEnum):
    """Why nothing is said. Each has one sentence for people in `reporting`."""

    NOT_FRONTAL = "not_frontal"
    NOT_A_RADIOGRAPH = "not_a_radiograph"
    CHILD = "child"
    IMPLANT = "implant"
    UNREADABLE = "unreadable"
    TOO_SMALL = "too_small"
    HIP_NOT_FOUND = "hip_not_found"
    SIDE_UNKNOWN = "side_unknown"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    TOO_UNCERTAIN = "too_uncertain"


@dataclass(frozen=True, slots=True)
class Abstention:
    """A value, not an exception: the coded reason, and the measured detail for the audit log."""

    reason: AbstentionReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class HipReading:
    """One hip: findings, or an abstention that concerns this hip alone (an implant, say)."""

    roi: HipROI
    findings: tuple[Finding, ...] = ()
    abstention: Abstention | None = None

    def __post_init__(self) -> None:
        if bool(self.findings) == bool(self.abstention):
            raise ValueError("a hip has either findings or an abstention")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model set makes of one image: hips, or an abstention for the whole image."""

    sop_instance_uid: str
    rows: int
    columns: int
    model_set: str  # name
    model_set_digest: str
    hips: tuple[HipReading, ...] = ()
    abstention: Abstention | None = None
    notes: tuple[str, ...] = ()  # plain English, shown in the report
    timings_ms: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.hips) == bool(self.abstention):
            raise ValueError("a reading has either hips or an abstention")

    def to_json(self) -> bytes:
        """Return the reading as one JSON document (no pixels, no names)."""
        return _READING.dump_json(self)

    @staticmethod
    def from_json(document: bytes | str) -> Reading:
        """Return the reading that `to_json` wrote.

        Raises
        ------
        pydantic.ValidationError
            If the document is not a reading.
        """
        return _READING.validate_json(document)


_READING: Final[TypeAdapter[Reading]] = TypeAdapter(Reading)


# --- what leaves the node ---------------------------------------------------------------------


class ResultKind(StrEnum):
    """The kinds of object that a report is made of."""

    SR = "sr"  # TID 1500
    CAPTURE = "capture"  # heat-map Secondary Capture
    TEXT = "text"  # Basic Text SR
    GSPS = "gsps"
    PDF = "pdf"


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


class AuditEvent(StrEnum):
    """Everything that the audit log records. Past tense."""

    ASSOCIATION_ACCEPTED = "association_accepted"
    ASSOCIATION_REFUSED = "association_refused"
    ECHO_ANSWERED = "echo_answered"
    INSTANCE_STORED = "instance_stored"
    INSTANCE_DUPLICATED = "instance_duplicated"
    INSTANCE_CHANGED = "instance_changed"  # known UID, other content: kept and flagged
    INSTANCE_DISCARDED = "instance_discarded"  # by rule
    INSTANCE_REFUSED = "instance_refused"
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
    REPORT_SKIPPED = "report_skipped"  # by the settings' rule; never silently
    OBJECT_DELIVERED = "object_delivered"
    OBJECT_COMMITTED = "object_committed"
    DELIVERY_FELL_BACK = "delivery_fell_back"  # to the next SOP Class that the peer takes
    DELIVERY_FAILED = "delivery_failed"
    SETTINGS_LOADED = "settings_loaded"
    MODEL_SET_LOADED = "model_set_loaded"
    AUDIT_QUERIED = "audit_queried"
    AUDIT_VERIFIED = "audit_verified"
    FILES_RETIRED = "files_retired"  # by retention
    DISK_LOW = "disk_low"
    SERVICE_STARTED = "service_started"
    SERVICE_STOPPED = "service_stopped"


class Outcome(StrEnum):
    """How an audited event ended."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One row of the audit log. ``detail`` holds codes, digests and numbers; never a name."""

    event: AuditEvent
    outcome: Outcome = Outcome.OK
    actor: str = ""  # the AE title, service or OS user that acted
    study_instance_uid: str = ""
    sop_instance_uid: str = ""
    patient_id: str = ""
    accession_number: str = ""
    ae_title: str = ""  # the peer
    job_id: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)
