"""One measurement group (TID 1410): a finding of a hip, where it is, how sure, by which model.

Every group of a look is made by highdicom once, with marks for what differs from hip to hip; then
it is a form to fill in (`hipnode.reporting.forms`).

References
----------
PS3.16 TID 1410 (Planar ROI Measurements), TID 300 (Measurement), TID 4019 (Algorithm
Identification); PS3.3 C.18.6.1.1 (spatial coordinates).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from struct import pack
from typing import Final

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation
from pydicom.valuerep import DSfloat

from hipnode import codes
from hipnode.codes import Concept
from hipnode.domain import TASKS, Box, Decision, Finding, HipReading, OperatingPoint, Side, Task
from hipnode.reporting.forms import Form, padded
from hipnode.reporting.request import SourceImage
from hipnode.reporting.terms import PRESENCE, SIDES, answer, probability_name, told_apart
from hipnode.reporting.tree import concept
from hipnode.reporting.words import ascii_text, threshold


@dataclass(frozen=True, slots=True)
class Look:
    """All that groups can have in common: with the same look, only `Values` differ."""

    side: Side
    task: Task
    decision: Decision
    answer: Concept
    names: tuple[Concept, ...]  # of P(positive), then of each class that is told apart
    model: tuple[str, str]  # name and version
    parameters: tuple[str, ...]
    covariates: int  # how many values of the patient the model was given
    nhfd: str  # of `codes.NHFD`; "" where the model does not tell it
    caveats: tuple[str, ...]
    frame: int | None
    sop_class_uid: str
    referenced_frames: tuple[int, ...]
    captured: str  # the SOP Class of the picture that is named; "" without one


@dataclass(frozen=True, slots=True)
class Values:
    """What differs: UIDs, the box as (column, row) corners, a percentage for each name, and what
    the model was told of the patient.
    """

    tracking_uid: str
    image_uid: str
    capture_uid: str
    corners: tuple[tuple[float, float], ...]
    percents: tuple[float, ...]
    covariates: tuple[str, ...] = ()


def look_of(
    image: Dataset,
    source: SourceImage,
    hip: HipReading,
    finding: Finding,
    capture: Dataset | None,
) -> tuple[Look, Values]:
    """Return what a finding's group looks like, and what stands in it.

    Parameters
    ----------
    image
        The mended identity of the image.
    source, hip, finding
        Of which image, of which hip, and what was found.
    capture
        The heat-map capture of the image, if it is to be named.
    """
    apart, side, box = told_apart(finding), hip.roi.side, hip.roi.box
    doubted = finding.task is Task.HIP_FRACTURE and finding.decision is Decision.DOUBTFUL
    look = Look(
        side=side,
        task=finding.task,
        decision=finding.decision,
        answer=answer(finding),
        names=tuple(probability_name(finding.task, side, label) for label in ("", *apart)),
        model=(ascii_text(finding.model.name, 64), ascii_text(finding.model.version, 64)),
        parameters=_parameters(finding),
        covariates=len(finding.covariates),
        nhfd=finding.nhfd,
        caveats=tuple(c.value for c in hip.caveats) if doubted else (),
        frame=source.frame,
        sop_class_uid=str(image.SOPClassUID),
        referenced_frames=tuple(source.referenced_frames or ()),
        captured="" if capture is None else str(capture.SOPClassUID),
    )
    uid = str(image.SOPInstanceUID)
    return look, Values(
        tracking_uid=codes.tracking_uid(uid, side, finding.task, finding.model.digest),
        image_uid=uid,
        capture_uid="" if capture is None else str(capture.SOPInstanceUID),
        corners=corners_of(box),
        percents=tuple(round(100.0 * p, 2) for p in (finding.p_positive, *apart.values())),
        covariates=tuple(
            ascii_text(f"covariate {known.in_words}, by {known.source}")
            for known in finding.covariates
        ),
    )


def corners_of(box: Box) -> tuple[tuple[float, float], ...]:
    """Return a box as a closed polyline: (column, row), (0, 0) the top-left pixel's corner."""
    x0, y0, x1, y1 = float(box.x0), float(box.y0), float(box.x1), float(box.y1)
    return (x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)


def _parameters(finding: Finding) -> tuple[str, ...]:
    """Return the parameters of TID 4019: thresholds, decision, bundle."""
    point = finding.operating_point
    bounds = f"{threshold(point.doubtful_from)}, likely from {threshold(point.present_from)}"
    return (
        f"operating point {ascii_text(point.name, 64)}: possible from {bounds}",
        f"decision {finding.decision.value}",
        *_band(point),
        f"bundle sha256 {finding.model.digest}",
    )


def _band(point: OperatingPoint) -> list[str]:
    if point.equivocal_from is None or point.equivocal_to is None:
        return []
    return [f"equivocal from {threshold(point.equivocal_from)} to {threshold(point.equivocal_to)}"]


# --- by highdicom -----------------------------------------------------------------------------


def prepare() -> None:
    """Have highdicom read its tables of the Standard, which it else does for the first report."""
    group(*ANY_GROUP)


ANY_GROUP: Final = (
    Look(
        Side.UNKNOWN, Task.HIP_FRACTURE, Decision.ABSENT, TASKS[Task.HIP_FRACTURE].absent,
        (probability_name(Task.HIP_FRACTURE, Side.UNKNOWN),), ("model", "1"), (), 0, "", (), None,
        str(DigitalXRayImageStorageForPresentation), (), "",
    ),
    Values("2.25.1", "2.25.2", "", corners_of(Box(0, 0, 1, 1)), (0.0,)),
)  # fmt: skip
"""A group of nobody: what holds its place has that of every other."""


def group(look: Look, values: Values) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return the group as highdicom makes it.

    Parameters
    ----------
    look, values
        As `look_of` returns them.
    """
    terms = TASKS[look.task]
    frame = "" if look.frame is None else f", frame {look.frame}"
    made = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=values.tracking_uid, identifier=f"{look.side.word} hip {terms.short}{frame}"
        ),
        referenced_region=_region(look.sop_class_uid, look.referenced_frames, values),
        finding_type=concept(look.answer),
        finding_sites=[
            hd.sr.FindingSite(
                anatomic_location=concept(codes.PROXIMAL_FEMUR),
                laterality=concept(SIDES[look.side]) if look.side in SIDES else None,
            )
        ],
        measurements=[_probabilities(look, values)],
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(name=concept(name), value=concept(value))
            for name, value in (
                (terms.question, PRESENCE[look.decision]),
                (codes.IMAGE_QUALITY, codes.QUALITY_MET),
                *([(codes.NHFD_CLASS, codes.NHFD[look.nhfd])] if look.nhfd else []),
                *((codes.CAVEAT, codes.CAVEATS[caveat]) for caveat in look.caveats),
            )
        ],
    )
    if look.captured:
        made[0].ContentSequence.append(
            hd.sr.ImageContentItem(
                name=concept(codes.ILLUSTRATION),
                referenced_sop_class_uid=look.captured,
                referenced_sop_instance_uid=values.capture_uid,
                relationship_type="CONTAINS",
            )
        )
    return made


def _region(sop_class_uid: str, frames: tuple[int, ...], values: Values) -> hd.sr.ImageRegion:
    """Return the region; ``frames`` names the frame it is in, where there are several.

    References
    ----------
    PS3.3 C.18.6.1.1, C.18.4.1 (without Referenced Frame Number, all frames are meant).
    """
    named = list(frames) or None
    return hd.sr.ImageRegion(
        graphic_type="POLYLINE",
        graphic_data=np.array(values.corners, dtype=np.float64),
        source_image=hd.sr.SourceImageForRegion(sop_class_uid, values.image_uid, named),
    )


def _probabilities(look: Look, values: Values) -> hd.sr.Measurement:
    """Return P(positive), inferred from the P of each class where the model tells them apart.

    A viewer writes every NUM of the group beside the box; those below the first it does not.
    """
    name, version = look.model
    total = hd.sr.Measurement(
        name=concept(look.names[0]),
        value=values.percents[0],
        unit=concept(codes.PERCENT),
        algorithm_id=hd.sr.AlgorithmIdentification(
            name=name,
            version=version,
            parameters=[*look.parameters, *values.covariates],
            family=concept(codes.ARTIFICIAL_INTELLIGENCE),
        ),
    )
    for of, percent in zip(look.names[1:], values.percents[1:], strict=True):
        total[0].ContentSequence.append(
            hd.sr.NumContentItem(
                name=concept(of),
                value=percent,
                unit=concept(codes.PERCENT),
                relationship_type="INFERRED FROM",
            )
        )
    return total


def separate(item: Dataset) -> None:
    """Make every container SEPARATE: OHIF runs the items of a continuous one together."""
    if item.get("ValueType") == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence", []):
        separate(child)


# --- prepared ---------------------------------------------------------------------------------

_MARKED: Final = Values(
    "2.25.7001", "2.25.7002", "2.25.7003", ((-7.0, -7.0), (-7.0, -8.0), (-7.0, -7.0)), ()
)
"""Values that no group has: where they stand, a form has its holes."""
_FIRST_PERCENT: Final = -7001.0


def filled_group(look: Look, values: Values) -> bytes:
    """Return the group as an encoded item: the bytes that `group` would be.

    Parameters
    ----------
    look, values
        As `look_of` returns them.

    Raises
    ------
    NotPrepared
        If the names of its classes are not ASCII.
    """
    holes = {
        "tracking": padded(values.tracking_uid, b"\0"),
        "image": padded(values.image_uid, b"\0"),
        "capture": padded(values.capture_uid, b"\0"),
        "corners": pack(f"<{2 * len(values.corners)}f", *(x for at in values.corners for x in at)),
    }
    for n, percent in enumerate(values.percents):
        holes[f"percent {n}"] = padded(_written(percent))
        holes[f"percent {n} exactly"] = pack("<d", percent)
    for n, text in enumerate(values.covariates):
        holes[f"covariate {n}"] = padded(text)
    return _form(look).filled(holes)


@lru_cache(maxsize=256)
def _form(look: Look) -> Form:
    percents = tuple(_FIRST_PERCENT - n for n in range(len(look.names)))
    marked = Values(
        _MARKED.tracking_uid, _MARKED.image_uid, _MARKED.capture_uid, _MARKED.corners, percents,
        tuple(f"covariate {n}" for n in range(look.covariates)),
    )  # fmt: skip
    (made,) = group(look, marked)
    separate(made)
    marks: dict[object, str] = {
        marked.tracking_uid: "tracking",
        marked.image_uid: "image",
        marked.capture_uid: "capture",
        tuple(x for at in marked.corners for x in at): "corners",
    }
    for n, percent in enumerate(percents):
        marks |= {_written(percent): f"percent {n}", percent: f"percent {n} exactly"}
    marks |= {text: f"covariate {n}" for n, text in enumerate(marked.covariates)}
    return Form.of_items([made], marks)


def _written(percent: float) -> str:
    """Return a number as highdicom writes it (PS3.5 6.2, VR DS)."""
    return str(DSfloat(percent, auto_format=True))
