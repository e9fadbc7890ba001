"""The measurement report: a Comprehensive 3D (or Comprehensive) SR after TID 1500.

One measurement group for each finding of each hip that was read, negatives included, each with its
region: a group without one stops OHIF. What was not assessed, and the sentences for people, stand
in the Qualitative Evaluations.

References
----------
PS3.16 TID 1500 (Measurement Report), TID 1410 (Planar ROI Measurements), TID 300 (Measurement),
TID 4019 (Algorithm Identification), TID 1001 (Observation Context), TID 1004 (Device Observer);
PS3.3 A.35.13.
"""

from __future__ import annotations

from collections.abc import Mapping

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from hipnode import codes
from hipnode.codes import Concept
from hipnode.domain import TASKS, Box, Decision, Finding, HipReading, ResultKind, Task
from hipnode.reporting.documents import document, twins
from hipnode.reporting.ranking import attention_of
from hipnode.reporting.request import SR_CLASSES, SourceImage, findings_of
from hipnode.reporting.study import Study
from hipnode.reporting.terms import (
    HIP_NOT_ASSESSED,
    PRESENCE,
    SIDES,
    UNUSABLE,
    answer,
    probability_name,
    reason_of,
    told_apart,
)
from hipnode.reporting.words import (
    ascii_text,
    headline,
    hip_sentences,
    image_sentence,
    phrases_of,
    provenance,
    scope,
    threshold,
    unreviewed,
)


def prepare() -> None:
    """Have highdicom read its tables of the Standard, which it else does for the first report."""
    nobodys = Dataset()
    nobodys.SOPClassUID = nobodys.SOPInstanceUID = DigitalXRayImageStorageForPresentation
    _region(nobodys, Box(0, 0, 1, 1))


def measurement_reports(study: Study, captures: Mapping[str, Dataset]) -> list[Dataset]:
    """Return the SR in each SOP Class of the request, with one content tree for all.

    Where no hip was read there is none: an empty TID 1500 has nothing to show.

    Parameters
    ----------
    captures
        The heat-map capture of an image, by the image's SOP Instance UID.
    """
    groups = [
        _group(image, source, hip, finding, captures.get(image.SOPInstanceUID))
        for source, image in zip(study.request.sources, study.images, strict=True)
        for hip in source.hips
        for finding in findings_of(hip)
    ]
    if not groups:
        return []
    report = hd.sr.MeasurementReport(
        observation_context=_observer(study),
        procedure_reported=concept(study.procedure),
        imaging_measurements=groups,
        language_of_content_item_and_descendants=hd.sr.LanguageOfContentItemAndDescendants(
            concept(phrases_of(study.request).concept)
        ),
    )
    root = report[0]
    root.ContentSequence.append(_evaluations(study))
    _separate(root)
    shown = [captures[i.SOPInstanceUID] for i in study.images if i.SOPInstanceUID in captures]
    first, *others = (SR_CLASSES[sr_class] for sr_class in study.request.sr_classes)
    made = document(study, ResultKind.SR, first, root, shown)
    return twins(study, ResultKind.SR, made, others)


def concept(of: Concept) -> hd.sr.CodedConcept:
    """Return a concept as highdicom has it."""
    return hd.sr.CodedConcept(of.value, of.scheme, of.meaning)


def _observer(study: Study) -> hd.sr.ObservationContext:
    node = study.request.node
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=node.device_uid,
        name=ascii_text(node.name, 64),
        manufacturer_name=codes.MANUFACTURER,
        model_name=codes.MANUFACTURER,
        serial_number=node.device_uid.rsplit(".", 1)[-1],
    )
    return hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=concept(codes.DEVICE), observer_identifying_attributes=device
        )
    )


def _group(
    image: Dataset,
    source: SourceImage,
    hip: HipReading,
    finding: Finding,
    capture: Dataset | None,
) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return TID 1410 for one finding: what, where, how sure, according to which model."""
    terms, side = TASKS[finding.task], hip.roi.side
    frame = "" if source.frame is None else f", frame {source.frame}"
    group = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=codes.tracking_uid(image.SOPInstanceUID, side, finding.task, finding.model.digest),
            identifier=f"{side.word} hip {terms.short}{frame}",
        ),
        referenced_region=_region(image, hip.roi.box, source.referenced_frames),
        finding_type=concept(answer(finding)),
        finding_sites=[
            hd.sr.FindingSite(
                anatomic_location=concept(codes.PROXIMAL_FEMUR),
                laterality=concept(SIDES[side]) if side in SIDES else None,
            )
        ],
        measurements=_probabilities(hip, finding),
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(
                name=concept(terms.question), value=concept(PRESENCE[finding.decision])
            ),
            hd.sr.QualitativeEvaluation(
                name=concept(codes.IMAGE_QUALITY), value=concept(codes.QUALITY_MET)
            ),
            *_nhfd(finding),
            *_caveats(hip, finding),
        ],
    )
    if capture is not None:
        group[0].ContentSequence.append(
            hd.sr.ImageContentItem(
                name=concept(codes.ILLUSTRATION),
                referenced_sop_class_uid=capture.SOPClassUID,
                referenced_sop_instance_uid=capture.SOPInstanceUID,
                relationship_type="CONTAINS",
            )
        )
    return group


def _nhfd(finding: Finding) -> list[hd.sr.QualitativeEvaluation]:
    """Return the class that hospitals audit by, where the model tells it."""
    if not finding.nhfd:
        return []
    value = concept(codes.NHFD[finding.nhfd])
    return [hd.sr.QualitativeEvaluation(name=concept(codes.NHFD_CLASS), value=value)]


def _caveats(hip: HipReading, finding: Finding) -> list[hd.sr.QualitativeEvaluation]:
    """Return why a suspicion is doubtful at most, coded."""
    if finding.task is not Task.HIP_FRACTURE or finding.decision is not Decision.DOUBTFUL:
        return []
    return [
        hd.sr.QualitativeEvaluation(
            name=concept(codes.CAVEAT), value=concept(codes.CAVEATS[caveat.value])
        )
        for caveat in hip.caveats
    ]


def _region(image: Dataset, box: Box, frames: list[int] | None = None) -> hd.sr.ImageRegion:
    """Return the box as a closed polyline: (column, row), (0, 0) the top-left pixel's corner.

    ``frames`` names the frame it is in, where there are several.

    References
    ----------
    PS3.3 C.18.6.1.1, C.18.4.1 (without Referenced Frame Number, all frames are meant).
    """
    corners = [(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)]
    return hd.sr.ImageRegion(
        graphic_type="POLYLINE",
        graphic_data=np.array([*corners, corners[0]], dtype=np.float64),
        source_image=hd.sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID, frames),
    )


def _probabilities(hip: HipReading, finding: Finding) -> list[hd.sr.Measurement]:
    """Return P(positive), inferred from the P of each class where the model tells them apart.

    A viewer writes every NUM of the group beside the box; those below the first it does not.
    """
    side = hip.roi.side
    total = hd.sr.Measurement(
        name=concept(probability_name(finding.task, side)),
        value=round(100.0 * finding.p_positive, 2),
        unit=concept(codes.PERCENT),
        algorithm_id=_algorithm(finding),
    )
    for label, p in told_apart(finding).items():
        total[0].ContentSequence.append(
            hd.sr.NumContentItem(
                name=concept(probability_name(finding.task, side, label)),
                value=round(100.0 * p, 2),
                unit=concept(codes.PERCENT),
                relationship_type="INFERRED FROM",
            )
        )
    return [total]


def _algorithm(finding: Finding) -> hd.sr.AlgorithmIdentification:
    """Return TID 4019: a probability never without its thresholds and its model."""
    point, model = finding.operating_point, finding.model
    bounds = f"{threshold(point.doubtful_from)}, likely from {threshold(point.present_from)}"
    parameters = [
        f"operating point {ascii_text(point.name, 64)}: possible from {bounds}",
        f"decision {finding.decision.value}",
        f"bundle sha256 {model.digest}",
    ]
    parameters += [
        ascii_text(f"covariate {known.in_words}, by {known.source}") for known in finding.covariates
    ]
    return hd.sr.AlgorithmIdentification(
        name=ascii_text(model.name, 64),
        version=ascii_text(model.version, 64),
        parameters=parameters,
        family=concept(codes.ARTIFICIAL_INTELLIGENCE),
    )


def _evaluations(study: Study) -> hd.sr.ContainerContentItem:
    """Return TID 1500 rows 12 to 14: what was not assessed, and the sentences for people."""
    out = hd.sr.ContainerContentItem(
        name=concept(codes.QUALITATIVE_EVALUATIONS), relationship_type="CONTAINS"
    )
    sources, phrases = study.request.sources, phrases_of(study.request)
    when = codes.ATTENTIONS[attention_of(sources).value]
    items: list[hd.sr.ContentItem] = [
        _code(codes.ATTENTION, when),
        _text(codes.COMMENT, f"{headline(sources, phrases)} {phrases.disclaimer}."),
    ]
    items += [_text(codes.IMPRESSION, sentence) for sentence in hip_sentences(sources, phrases)]
    for number, source in enumerate(sources, start=1):
        items += not_assessed(source)
        if not source.hips or len(sources) > 1 or source.notes or source.frame is not None:
            items.append(_text(codes.COMMENT, image_sentence(source, number, phrases)))
    last = [scope(sources, phrases), *provenance(study.request), unreviewed(phrases)]
    if study.request.other_patients:
        last.insert(0, phrases.other_patients(study.request.other_patients))
    items += [_text(codes.COMMENT, text) for text in last]
    out.ContentSequence = hd.sr.ContentSequence(items)
    return out


def not_assessed(source: SourceImage) -> list[hd.sr.CodeContentItem]:
    """Return the coded reasons why an image, or a hip on it, was not assessed."""
    abstention = source.reading.abstention if source.reading else None
    if source.reading is None or abstention is not None:
        reason = abstention.reason if abstention else None
        items = [_code(codes.IMAGE_NOT_ASSESSED, reason_of(reason))]
        if reason in UNUSABLE:
            items.append(_code(codes.IMAGE_QUALITY, codes.QUALITY_UNUSABLE))
        return items
    items = [
        _code(HIP_NOT_ASSESSED[hip.roi.side], reason_of(hip.abstention.reason))
        for hip in source.hips
        if hip.abstention is not None
    ]
    if source.missing is not None:
        items.append(_code(HIP_NOT_ASSESSED[source.missing], codes.HIP_MISSING))
    return items


def _text(name: Concept, text: str) -> hd.sr.TextContentItem:
    return hd.sr.TextContentItem(name=concept(name), value=text, relationship_type="CONTAINS")


def _code(name: Concept, value: Concept) -> hd.sr.CodeContentItem:
    return hd.sr.CodeContentItem(
        name=concept(name), value=concept(value), relationship_type="CONTAINS"
    )


def _separate(item: Dataset) -> None:
    """Make every container SEPARATE: OHIF runs the items of a continuous one together."""
    if item.get("ValueType") == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence", []):
        _separate(child)
