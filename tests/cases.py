"""Every study that a report is tried on: for the unit tests, the validators and the viewer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from pydicom.dataset import Dataset

from hipnode.domain import (
    REPORTED,
    Abstention,
    AbstentionReason,
    Box,
    Caveat,
    Covariate,
    CovariateSource,
    Decision,
    HipReading,
    HipROI,
    ModelRef,
    OperatingPoint,
    Reading,
    Result,
    ResultKind,
    Side,
    Task,
)
from hipnode.reporting import NodeIdentity, ReportRequest, SourceImage
from tests import factory
from tests.factory import finding, header, hip, radiograph, reading, reread, scene

MADE_UTC = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
NODE = NodeIdentity(institution="General Hospital")
DEFAULT_OBJECTS = frozenset({ResultKind.SR, ResultKind.CAPTURE, ResultKind.TEXT})
ALL_OBJECTS = REPORTED
R, L = Side.RIGHT, Side.LEFT
BANDED = OperatingPoint("banded", 0.12, 0.85, 0.05, 0.5)


def source(
    study: str,
    read: Reading | str,
    image: str = "1",
    *,
    ds: Dataset | None = None,
    pixels: bool = True,
) -> SourceImage:
    """Return one image of a study: a reading, or a failure in words."""
    dataset = reread(ds if ds is not None else header(study, image))
    if isinstance(read, str):
        return SourceImage(dataset, failure=read)
    return SourceImage(dataset, read, pixels=scene() if pixels else None)


def request(*sources: SourceImage, **changes: Any) -> ReportRequest:
    """Return a request for every kind of object, at a fixed time."""
    values: dict[str, Any] = {"node": NODE, "made_utc": MADE_UTC, "objects": ALL_OBJECTS}
    return ReportRequest(sources, **{**values, **changes})


@dataclass(frozen=True)
class Case:
    """A study, and what a person must be able to read in its text report."""

    make: Callable[[str], ReportRequest]
    says: tuple[str, ...]
    measured: bool = True  # has an SR with measurements

    def request(self, name: str) -> ReportRequest:
        """Return the request; the case's name becomes part of all its UIDs."""
        return self.make(name)


def _hips(*hips: HipReading) -> Callable[[str], ReportRequest]:
    return lambda name: request(source(name, reading(hips, name)))


def _abstained(reason: AbstentionReason) -> Callable[[str], ReportRequest]:
    return lambda name: request(source(name, reading(reason, name)))


def _flipped(name: str) -> ReportRequest:
    """The patient's right on the image's right, as PatientOrientation says."""
    ds = header(name, PatientOrientation=["R", "F"])
    hips = [hip(R, 0.97, factory.LEFT_BOX), hip(L, 0.02, factory.RIGHT_BOX)]
    return request(source(name, reading(hips, name), ds=ds))


def _monochrome1(name: str) -> ReportRequest:
    ds = radiograph(name, PhotometricInterpretation="MONOCHROME1")
    return request(source(name, reading([hip(R, 0.02), hip(L, 0.91)], name), ds=ds))


def _several(name: str) -> ReportRequest:
    """An AP pelvis, an AP hip of the same side, a lateral view, and one that failed."""
    return request(
        source(name, reading([hip(R, 0.97), hip(L, 0.02)], name, "1")),
        source(name, reading([hip(R, 0.45, Box(300, 200, 900, 800))], name, "2"), "2"),
        source(name, reading(AbstentionReason.NOT_FRONTAL, name, "3"), "3"),
        source(name, "The pixel data cannot be decoded.", "4"),
    )


def _second(name: str) -> ReportRequest:
    earlier = Result(
        1, ResultKind.SR, factory.uid(name), "1.2.840.10008.5.1.4.1.1.88.34",
        factory.uid(name, "sr 1"), "sr-1", "0" * 64, 1,
    )  # fmt: skip
    text = replace(
        earlier,
        kind=ResultKind.TEXT,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.11",
        sop_instance_uid=factory.uid(name, "text 1"),
    )
    first = source(name, reading([hip(R, 0.02), hip(L, 0.03)], name))
    late = source(name, reading([hip(R, 0.93)], name, "2"), "2")
    return request(first, late, version=2, predecessors=(earlier, text))


def _several_tasks(name: str) -> ReportRequest:
    bone = finding(
        0.71,
        task=Task.OSTEOPOROSIS,
        probabilities={"normal": 0.29, "osteopenia": 0.4, "osteoporosis": 0.31},
        label="osteopenia",
        decision=Decision.DOUBTFUL,
        model=ModelRef("bone-density", "0.2.0", "beef" * 16, "Trained on simulated radiographs."),
        covariates_used=("age", "hip_fracture_history"),
        covariates=(
            Covariate("age", 78.0, "a", CovariateSource.HEADER),
            Covariate("hip_fracture_history", 1.0, "", CovariateSource.CSV, "2024-02-29", 7),
        ),
    )
    shadow = finding(0.99, task=Task.FRACTURE_RISK, shadow=True, decision=Decision.PRESENT)
    hips = [
        HipReading(HipROI(R, factory.RIGHT_BOX, 0.9), (finding(0.04), bone, shadow)),
        HipReading(HipROI(L, factory.LEFT_BOX, 0.9), (finding(0.97), replace(bone, shadow=True))),
    ]
    return request(source(name, reading(hips, name)))


def _scan(name: str) -> ReportRequest:
    """One hip from edge to edge, as a densitometer scans it, sorted by risk; without a map."""
    risk = finding(
        0.88,
        task=Task.FRACTURE_RISK,
        probabilities={"low": 0.02, "moderate": 0.1, "high": 0.88},
        label="high",
        saliency=None,
    )
    rows, columns = 1120, 960  # higher than wide: a viewer has room for words beside it
    only = HipReading(HipROI(L, Box(0, 0, columns, rows), 1.0), (risk,))
    made = reading([only], name, rows=rows, columns=columns)
    ds = header(name, BodyPartExamined="HIP", ImageLaterality="L", Rows=rows, Columns=columns)
    return request(SourceImage(reread(ds), made, pixels=scene(rows, columns)))


def _long_names(name: str) -> ReportRequest:
    long = "Wolfeschlegelsteinhausenbergerdorff^Hubert Blaine Max^^Dr.^Sr."
    node = replace(NODE, name="n" * 80, institution="Hospital of " + "very " * 20)
    model = ModelRef("m" * 64, "10.20.30", "c0de" * 16, "A card that is long. " * 19)
    hips = [hip(R, 0.91, model=model), hip(L, 0.5, model=model)]
    ds = header(name, PatientName=long, StudyDescription="d" * 64, StationName="s" * 16)
    return request(source(name, reading(hips, name), ds=ds), node=node)


def _unjudged(side: Side, reason: AbstentionReason) -> HipReading:
    box = factory.RIGHT_BOX if side is R else factory.LEFT_BOX
    return HipReading(HipROI(side, box, 0.7), abstention=Abstention(reason))


def _missing(name: str) -> ReportRequest:
    return request(source(name, reading([hip(R, 0.02)], name, missing=L)))


def _not_told_apart(name: str) -> ReportRequest:
    hips = [replace(hip(side, 0.5), caveats=(Caveat.EITHER_HIP,)) for side in (R, L)]
    return request(source(name, reading(hips, name)))


def _judged_on_one(name: str) -> ReportRequest:
    """A hip that was read on one image and could not be judged on another."""
    blurred = [_unjudged(L, AbstentionReason.TOO_UNCERTAIN)]
    return request(
        source(name, reading([hip(R, 0.02), hip(L, 0.03)], name, "1")),
        source(name, reading(blurred, name, "2"), "2"),
    )


def _lateral_too(name: str) -> ReportRequest:
    return request(
        source(name, reading([hip(R, 0.01), hip(L, 0.02)], name, "1")),
        source(name, reading(AbstentionReason.NOT_FRONTAL, name, "2"), "2"),
    )


def _two_classes(name: str) -> ReportRequest:
    """A bundle that names the healthy ones "healthy", and says that "fracture" is the positive."""

    def said(p: float) -> dict[str, Any]:
        labels = {"healthy": 1 - p, "fracture": p}
        return {"probabilities": labels, "label": max(labels, key=lambda k: labels[k])}

    whole, broken = ({**said(p), "positive": ("fracture",)} for p in (0.02, 0.97))
    return request(source(name, reading([hip(R, 0.97, **broken), hip(L, 0.02, **whole)], name)))


CASES: Final[dict[str, Case]] = {
    "positive-right": Case(
        _hips(hip(R, 0.97), hip(L, 0.02)),
        (
            "LOOK NOW. RIGHT hip: FRACTURE LIKELY. LEFT hip: no fracture seen, not excluded.",
            "RIGHT hip: FRACTURE LIKELY. Type: intracapsular. Expert review advised.",
        ),
    ),
    "positive-left": Case(
        _hips(hip(R, 0.02), hip(L, 0.97, intracapsular=0.1)),
        (
            "LOOK NOW. LEFT hip: FRACTURE LIKELY. RIGHT hip: no fracture seen, not excluded.",
            "Type: trochanteric.",
        ),
    ),
    "positive-both": Case(
        _hips(hip(R, 0.9999), hip(L, 0.91)), ("LOOK NOW. RIGHT and LEFT hip: FRACTURE LIKELY.",)
    ),
    "negative": Case(
        _hips(hip(R, 0.001), hip(L, 0.02)),
        (
            "Look in the usual order. RIGHT and LEFT hip: no fracture seen, not excluded.",
            "An occult fracture is not excluded.",
        ),
    ),
    "doubtful": Case(
        _hips(hip(R, 0.03), hip(L, 0.45)),
        (
            "LOOK NOW. LEFT hip: FRACTURE POSSIBLE. RIGHT hip: no fracture seen, not excluded.",
            "Neither confirmed nor excluded. Expert review advised.",
        ),
    ),
    "equivocal": Case(
        _hips(hip(R, 0.03), hip(L, 0.45, decision=Decision.EQUIVOCAL, operating_point=BANDED)),
        (
            "LOOK NOW. LEFT hip: FRACTURE EQUIVOCAL. RIGHT hip: no fracture seen, not excluded.",
            "Neither confirmed nor excluded: further imaging (CT, MRI) advised.",
        ),
    ),
    "not-told-apart": Case(
        _not_told_apart,
        ("LOOK NOW. RIGHT or LEFT hip, not told apart: FRACTURE POSSIBLE.",),
    ),
    "unusual": Case(
        _hips(
            _unjudged(R, AbstentionReason.OUT_OF_DISTRIBUTION),
            replace(hip(L, 0.97, decision=Decision.DOUBTFUL), caveats=(Caveat.OTHER_HIP,)),
        ),
        (
            (
                "LOOK NOW. RIGHT hip: NOT JUDGED (image unlike those the model is made for). "
                "LEFT hip: FRACTURE POSSIBLE."
            ),
            "Only possible, because the other hip could not be judged.",
        ),
    ),
    "cut-off": Case(
        _hips(hip(R, 0.01), _unjudged(L, AbstentionReason.CUT_OFF)),
        ("LOOK NOW. LEFT hip: NOT JUDGED (the hip is not whole in the image). RIGHT hip: no",),
    ),
    "missing-hip": Case(
        _missing, ("LOOK NOW. LEFT hip: NOT JUDGED (no hip was found there). RIGHT hip: no frac",)
    ),
    "judged-on-one": Case(
        _judged_on_one,
        (
            "LOOK NOW. LEFT hip: NOT JUDGED (the hip could not be judged). RIGHT hip: no fracture",
            "LEFT hip (image 1): no fracture seen.",
        ),
    ),
    "implant": Case(
        _hips(hip(R, None), hip(L, 0.88)),
        (
            (
                "LOOK NOW. LEFT hip: FRACTURE LIKELY. "
                "RIGHT hip: NOT ASSESSED (implant or other metal at the hip)."
            ),
        ),
    ),
    "implants": Case(
        _hips(hip(R, None), hip(L, None)),
        ("Look soon. RIGHT and LEFT hip: NOT ASSESSED (implant or other metal at the hip).",),
        measured=False,
    ),
    "one-hip": Case(
        _hips(hip(L, 0.66, Box(200, 150, 1000, 900))),
        ("LOOK NOW. LEFT hip: FRACTURE POSSIBLE.",),
    ),
    "side-unknown": Case(
        _hips(hip(Side.UNKNOWN, 0.97, Box(200, 150, 1000, 900))),
        ("LOOK NOW. Hip, SIDE NOT KNOWN: FRACTURE LIKELY.",),
    ),
    "child": Case(
        _abstained(AbstentionReason.CHILD),
        (
            (
                "Look in the usual order. NOT ASSESSED: patient younger than the model is made "
                "for. Read it without the AI."
            ),
        ),
        measured=False,
    ),
    "not-frontal": Case(
        _abstained(AbstentionReason.NOT_FRONTAL),
        ("NOT ASSESSED: not a frontal view of the pelvis or hip. Read it without the AI.",),
        measured=False,
    ),
    "no-hip": Case(
        _abstained(AbstentionReason.HIP_NOT_FOUND),
        ("LOOK NOW. NOT JUDGED: no complete hip found. Read it without the AI.",),
        measured=False,
    ),
    "unusable": Case(
        _abstained(AbstentionReason.UNREADABLE),
        ("Look soon. NOT ASSESSED: image quality too poor.",),
        measured=False,
    ),
    "failed": Case(
        lambda name: request(source(name, "The pixel data cannot be decoded.")),
        (
            "Look soon. NOT ASSESSED: technical failure. Read it without the AI.",
            "technical failure (The pixel data cannot be decoded).",
        ),
        measured=False,
    ),
    "flipped": Case(_flipped, ("RIGHT hip: FRACTURE LIKELY. LEFT hip: no fracture seen",)),
    "monochrome1": Case(_monochrome1, ("LOOK NOW. LEFT hip: FRACTURE LIKELY.",)),
    "lateral-too": Case(
        _lateral_too, ("RIGHT and LEFT hip: no fracture seen, not excluded. 1 of 2 images not",)
    ),
    "several-images": Case(
        _several,
        (
            (
                "LOOK NOW. RIGHT hip: FRACTURE LIKELY. LEFT hip: no fracture seen, not excluded. "
                "2 of 4 images not assessed."
            ),
            "RIGHT hip (image 1): FRACTURE LIKELY",
            "RIGHT hip (image 2): FRACTURE POSSIBLE",
            "Image 3 (series 1, image 3): NOT ASSESSED - not a frontal view",
            "Image 4 (series 1, image 4): NOT ASSESSED - technical failure",
        ),
    ),
    "second-version": Case(
        _second, ("Version 2: replaces the report sent before.", "RIGHT hip (image 2): FRACTURE L")
    ),
    "several-tasks": Case(
        _several_tasks,
        (
            (
                "LOOK NOW. LEFT hip: FRACTURE LIKELY. "
                "RIGHT hip: LOW BONE DENSITY POSSIBLE; no fracture seen, not excluded."
            ),
        ),
    ),
    "healthy-label": Case(
        _two_classes,
        (
            "LOOK NOW. RIGHT hip: FRACTURE LIKELY. LEFT hip: no fracture seen, not excluded.",
            "RIGHT hip: FRACTURE LIKELY. Expert review advised.",
        ),
    ),
    "dxa": Case(
        _scan,
        (
            "Look soon. LEFT hip: HIGH FRACTURE RISK LIKELY.",
            "No fracture was looked for, and no bone density was measured.",
        ),
    ),
    "long-names": Case(
        _long_names, ("LOOK NOW. RIGHT hip: FRACTURE LIKELY. LEFT hip: FRACTURE POSSIBLE.",)
    ),
}
