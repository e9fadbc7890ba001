"""The spine: immutable values that every part of the node speaks in.

*Side* is always the patient's; *image half* is the viewer's. Boxes are half-open and in the
original image's pixels, with (0, 0) the top-left corner of the top-left pixel.
"""

from hipnode.domain.audit import AuditRecord, Outcome
from hipnode.domain.covariates import (
    COVARIATES,
    Covariate,
    CovariateSource,
    Told,
    Unused,
)
from hipnode.domain.events import AuditEvent
from hipnode.domain.findings import (
    SUSPICIONS,
    Abstention,
    AbstentionReason,
    Attention,
    Caveat,
    Finding,
    HipReading,
    HipROI,
    ModelRef,
    OperatingPoint,
    Reading,
    Saliency,
    Verdict,
    View,
    attention_of,
)
from hipnode.domain.images import Box, Header, Instance, Radiograph, Rejection, Side
from hipnode.domain.tasks import RAISED, TASKS, Decision, Role, Task, TaskRow, TaskWords
from hipnode.domain.work import (
    REPORTED,
    TRANSITIONS,
    CommitmentState,
    Job,
    JobKind,
    JobState,
    Language,
    Result,
    ResultKind,
)

__all__ = [
    "COVARIATES",
    "RAISED",
    "REPORTED",
    "SUSPICIONS",
    "TASKS",
    "TRANSITIONS",
    "Abstention",
    "AbstentionReason",
    "Attention",
    "AuditEvent",
    "AuditRecord",
    "Box",
    "Caveat",
    "CommitmentState",
    "Covariate",
    "CovariateSource",
    "Decision",
    "Finding",
    "Header",
    "HipROI",
    "HipReading",
    "Instance",
    "Job",
    "JobKind",
    "JobState",
    "Language",
    "ModelRef",
    "OperatingPoint",
    "Outcome",
    "Radiograph",
    "Reading",
    "Rejection",
    "Result",
    "ResultKind",
    "Role",
    "Saliency",
    "Side",
    "Task",
    "TaskRow",
    "TaskWords",
    "Told",
    "Unused",
    "Verdict",
    "View",
    "attention_of",
]
