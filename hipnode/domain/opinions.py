"""What people say of what the node said: was it right?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Opinion(StrEnum):
    """Whether somebody agrees with what was said of a hip."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNSURE = "unsure"


class OpinionSource(StrEnum):
    """Whence an opinion came."""

    PAGE = "page"
    CSV = "csv"
    ORU = "oru"  # the words of a final report, by HL7
    SR = "sr"  # an assessment, by DICOM
    KOS = "kos"


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody said of one hip and one question. Nothing of it ever changes a report.

    ``side`` is the patient's, "R" or "L". ``said`` is what the model had decided; ``truth`` what
    the person, or the final report, says there is: "present", "absent", or "" where that is open.
    """

    study_instance_uid: str
    side: str
    task: str
    opinion: Opinion
    said: str
    truth: str
    model: str
    model_version: str
    model_digest: str
    source: OpinionSource
    given_by: str
    given_utc: datetime
    comment: str = ""
    id: int = 0
