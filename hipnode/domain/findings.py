"""What is seen in an image: a reading, its hips and findings, or why there are none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from hipnode import codes
from hipnode.domain.covariates import Covariate, Unused
from hipnode.domain.images import Box, Side
from hipnode.domain.tasks import RAISED, Decision, Task

if TYPE_CHECKING:
    from pydantic import TypeAdapter


class Attention(StrEnum):
    """How soon a person should look at what was read, the most urgent first."""

    NOW = "now"
    SOON = "soon"
    ROUTINE = "routine"

    @staticmethod
    def most_urgent(of: Iterable[Attention]) -> Attention:
        """Return the most urgent; of none, routine."""
        given = set(of)
        return next((a for a in Attention if a in given), Attention.ROUTINE)


class View(StrEnum):
    """What the gate tells an image to be."""

    PELVIS = "pelvis_ap"
    HIP = "hip_ap"  # one hip or femur, frontal
    OTHER = "other"


class Verdict(StrEnum):
    """What is said of a hip in the end; `hipnode.reading.verdict` has the table."""

    DEFINITE = "fracture_definite"
    DOUBTFUL = "fracture_doubtful"
    EQUIVOCAL = "fracture_equivocal"  # further imaging
    NONE_SEEN = "none_seen"
    LOOK_NOW = "look_now"  # nobody could judge it: a person should
    NOT_ASSESSED = "not_assessed"
    OTHER_QUESTION = "other_question"  # asked for something else than a fracture


class Caveat(StrEnum):
    """Why a suspicion is doubtful at most, whatever its probability."""

    UNUSUAL = "unusual"
    POSSIBLE_METAL = "possible_metal"
    CUT_OFF = "cut_off"
    FAINT = "faint"
    VIEW = "view"
    SIDE_UNSURE = "side_unsure"
    SIDE_UNKNOWN = "side_unknown"
    OTHER_HIP = "other_hip"  # the other hip could not be judged
    EITHER_HIP = "either_hip"  # one of the two, and the figures do not tell which


@dataclass(frozen=True, slots=True)
class HipROI:
    """Where one hip is. ``score`` in [0, 1] is the localiser's own, no probability of disease.

    ``looks_like`` is whose hip it looks like in the canonical picture, by where it lies there; None
    where that is its ``side``.
    """

    side: Side
    box: Box
    score: float
    looks_like: Side | None = None


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The thresholds on P(positive) that made the decision.

    From ``equivocal_from`` to ``equivocal_to``, where a bundle was calibrated for that, a picture
    does not tell, and further imaging pays.
    """

    name: str
    doubtful_from: float  # high recall: below it, absent
    present_from: float  # high precision: from it on, present
    equivocal_from: float | None = None  # at most doubtful_from
    equivocal_to: float | None = None  # exclusive; from doubtful_from to present_from

    def __post_init__(self) -> None:
        if not 0.0 <= self.doubtful_from <= self.present_from <= 1.0:
            raise ValueError(f"operating point {self.name}: thresholds are not in order")
        low, high = self.equivocal_from, self.equivocal_to
        if low is None and high is None:
            return
        if (
            low is None
            or high is None
            or not 0.0 <= low <= self.doubtful_from <= high <= self.present_from
        ):
            raise ValueError(f"operating point {self.name}: the band is not around doubtful_from")

    def decide(self, p_positive: float) -> Decision:
        """Return the decision for a probability in [0, 1]."""
        if p_positive >= self.present_from:
            return Decision.PRESENT
        return Decision.DOUBTFUL if p_positive >= self.doubtful_from else Decision.ABSENT

    def is_equivocal(self, p_positive: float) -> bool:
        """Tell whether a probability lies in the band, where there is one."""
        if self.equivocal_from is None or self.equivocal_to is None:
            return False
        return self.equivocal_from <= p_positive < self.equivocal_to


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
    covariates: tuple[Covariate, ...] = ()  # those, with values and whence they are
    shadow: bool = False  # audited, never reported
    positive: tuple[str, ...] = ()  # the labels that say yes, as the bundle has them
    p_alone: float | None = None  # p_positive before both hips of a pelvis were judged together
    distance: float | None = None  # from what the model was trained on, in the model's own measure

    def __post_init__(self) -> None:
        if self.label not in self.probabilities:
            raise ValueError(f"label {self.label!r} is none of {list(self.probabilities)}")

    @property
    def nhfd(self) -> str:
        """The class of a likely fracture that hospitals audit by, a key of `codes.NHFD`; or "".

        As far as the model's own label tells it, and only of one that tells kinds apart.
        """
        told = self.task is Task.HIP_FRACTURE and self.decision is Decision.PRESENT
        return self.label if told and len(self.positive) > 1 and self.label in codes.NHFD else ""


class AbstentionReason(StrEnum):
    """Why nothing is said. Each has one sentence for people in `reporting`."""

    NOT_FRONTAL = "not_frontal"
    NOT_A_RADIOGRAPH = "not_a_radiograph"
    CHILD = "child"
    IMPLANT = "implant"
    UNREADABLE = "unreadable"
    UNDECODABLE = "undecodable"
    TOO_SMALL = "too_small"
    PIXEL_SHAPE = "pixel_shape"
    HIP_NOT_FOUND = "hip_not_found"
    SIDE_UNKNOWN = "side_unknown"
    NOT_ADULT = "not_adult"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    POSSIBLE_METAL = "possible_metal"
    CUT_OFF = "cut_off"
    TOO_UNCERTAIN = "too_uncertain"
    OTHER_FRAMES = "other_frames"


LOOK: Final = frozenset(
    {
        AbstentionReason.HIP_NOT_FOUND,
        AbstentionReason.OUT_OF_DISTRIBUTION,
        AbstentionReason.POSSIBLE_METAL,
        AbstentionReason.CUT_OFF,
        AbstentionReason.TOO_UNCERTAIN,
        AbstentionReason.OTHER_FRAMES,
    }
)
"""Reasons for which a person should look now: there is a hip, and nobody could judge it."""
_SOON: Final = frozenset(
    {
        AbstentionReason.UNREADABLE,
        AbstentionReason.UNDECODABLE,
        AbstentionReason.TOO_SMALL,
        AbstentionReason.PIXEL_SHAPE,
        AbstentionReason.SIDE_UNKNOWN,
        AbstentionReason.IMPLANT,
    }
)


@dataclass(frozen=True, slots=True)
class Abstention:
    """A value, not an exception: the coded reason, and the measured detail for the audit log.

    ``p_judged`` and ``p_alone`` are P(fracture) of a hip that a higher one would have had named,
    after both hips were judged together and before; None where no probability would have. They
    are never reported: thresholds are chosen on them.
    """

    reason: AbstentionReason
    detail: str = ""
    p_judged: float | None = None
    p_alone: float | None = None

    @property
    def attention(self) -> Attention:
        """How soon a person should look at what was not judged."""
        if self.reason in LOOK:
            return Attention.NOW
        return Attention.SOON if self.reason in _SOON else Attention.ROUTINE


@dataclass(frozen=True, slots=True)
class HipReading:
    """One hip: findings, or an abstention that concerns this hip alone (an implant, say)."""

    roi: HipROI
    findings: tuple[Finding, ...] = ()
    abstention: Abstention | None = None
    caveats: tuple[Caveat, ...] = ()
    unasked: tuple[Task, ...] = ()  # what a hip that may be broken does not tell

    def __post_init__(self) -> None:
        if bool(self.findings) == bool(self.abstention):
            raise ValueError("a hip has either findings or an abstention")

    @property
    def verdict(self) -> Verdict:
        """What is said of the hip in the end."""
        if self.abstention is not None:
            look = self.abstention.reason in LOOK
            return Verdict.LOOK_NOW if look else Verdict.NOT_ASSESSED
        for finding in self.findings:
            if finding.task is Task.HIP_FRACTURE and not finding.shadow:
                return _VERDICTS[finding.decision]
        return Verdict.OTHER_QUESTION

    @property
    def attention(self) -> Attention:
        """How soon a person should look at this hip."""
        if self.abstention is not None:
            return self.abstention.attention
        if self.verdict in SUSPICIONS:
            return Attention.NOW
        raised = any(f.decision is Decision.PRESENT for f in self.findings if not f.shadow)
        return Attention.SOON if raised else Attention.ROUTINE


_VERDICTS: Final = {
    Decision.PRESENT: Verdict.DEFINITE,
    Decision.DOUBTFUL: Verdict.DOUBTFUL,
    Decision.EQUIVOCAL: Verdict.EQUIVOCAL,
    Decision.ABSENT: Verdict.NONE_SEEN,
}
SUSPICIONS: Final = frozenset(_VERDICTS[decision] for decision in RAISED)
"""What asks for a look because of what was seen."""


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
    measured: dict[str, float] = field(
        default_factory=dict
    )  # of the picture, for who looks for drift
    view: View | None = None  # as the gate tells it; None for a scan, or where no gate was asked
    missing: Side | None = None  # the side of a pelvis on which no hip was found
    frame: int | None = None  # where there are several: the one that the boxes are in, from 1
    frames: int = 1
    unused: tuple[Unused, ...] = ()  # what was known of the patient, and why it was not used

    def __post_init__(self) -> None:
        if bool(self.hips) == bool(self.abstention):
            raise ValueError("a reading has either hips or an abstention")

    @property
    def attention(self) -> Attention:
        """How soon a person should look at this image: that of its most urgent hip."""
        if self.abstention is not None:
            return self.abstention.attention
        of_missing = (Attention.NOW,) if self.missing else ()
        return Attention.most_urgent((*(hip.attention for hip in self.hips), *of_missing))

    def to_json(self) -> bytes:
        """Return the reading as one JSON document (no pixels, no names)."""
        return _adapter().dump_json(self)

    def facts(self) -> dict[str, Any]:
        """Return what goes on the audit log: codes, numbers and digests."""
        facts: dict[str, Any] = {
            "model_set": self.model_set,
            "model_set_digest": self.model_set_digest,
            "attention": self.attention,
            "view": self.view,
            "timings_ms": self.timings_ms,
            "measured": self.measured,
        }
        if self.frames > 1:
            facts |= {"frame": self.frame, "frames": self.frames}
        if self.abstention is not None:
            return facts | {"abstained": self.abstention.reason, "why": self.abstention.detail}
        if self.unused:
            facts["unused"] = [asdict(each) for each in self.unused]
        hips = []
        for hip in self.hips:
            facts_of_hip: dict[str, Any] = {"side": hip.roi.side, "verdict": hip.verdict}
            facts_of_hip |= {"attention": hip.attention, "caveats": list(hip.caveats)}
            if hip.unasked:
                facts_of_hip["unasked"] = list(hip.unasked)
            if hip.abstention is not None:
                facts_of_hip["abstained"] = hip.abstention.reason
                facts_of_hip["why"] = hip.abstention.detail
            facts_of_hip["findings"] = [
                {
                    "task": finding.task,
                    "label": finding.label,
                    "p_positive": round(finding.p_positive, 6),
                    "p_alone": finding.p_alone,
                    "distance": finding.distance,
                    "decision": finding.decision,
                    "nhfd": finding.nhfd,
                    "operating_point": finding.operating_point.name,
                    "doubtful_from": finding.operating_point.doubtful_from,
                    "present_from": finding.operating_point.present_from,
                    "model": finding.model.name,
                    "model_version": finding.model.version,
                    "model_digest": finding.model.digest,
                    "shadow": finding.shadow,
                    "covariates": [asdict(known) for known in finding.covariates],
                }
                for finding in hip.findings
            ]
            hips.append(facts_of_hip)
        return facts | {"hips": hips}

    @staticmethod
    def from_json(document: bytes | str) -> Reading:
        """Return the reading that `to_json` wrote.

        Raises
        ------
        pydantic.ValidationError
            If the document is not a reading.
        """
        return _adapter().validate_json(document)


def attention_of(readings: Iterable[Reading | str | None]) -> Attention:
    """Return how soon a person should look at a study: that of its most urgent image.

    What nobody could read for a technical reason is for a person to read.
    """
    return Attention.most_urgent(
        r.attention if isinstance(r, Reading) else Attention.SOON for r in readings
    )


@cache  # made at its first use: most processes that know a reading write none
def _adapter() -> TypeAdapter[Reading]:
    adapter: TypeAdapter[Reading] = import_module("pydantic").TypeAdapter(Reading)
    return adapter
