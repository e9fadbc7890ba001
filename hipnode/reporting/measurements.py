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
from functools import lru_cache
from typing import Final

import highdicom as hd
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from hipnode import codes
from hipnode.codes import Concept
from hipnode.domain import ResultKind
from hipnode.reporting.documents import document, twins
from hipnode.reporting.forms import Form, NotPrepared
from hipnode.reporting.groups import (
    ANY_GROUP,
    Look,
    Values,
    filled_group,
    group,
    look_of,
    prepare,
    separate,
)
from hipnode.reporting.ranking import attention_of
from hipnode.reporting.request import SR_CLASSES, NodeIdentity, SourceImage, findings_of
from hipnode.reporting.study import Study
from hipnode.reporting.terms import HIP_NOT_ASSESSED, UNUSABLE, reason_of
from hipnode.reporting.tree import Content, Leaf, concept, heads_of, plain, under
from hipnode.reporting.words import (
    ascii_text,
    headline,
    hip_sentences,
    image_sentence,
    phrases_of,
    provenance,
    scope,
    unreviewed,
)

__all__ = ["measurement_reports", "not_assessed", "prepare"]

_Groups = list[tuple[Look, Values]]


def measurement_reports(
    study: Study, captures: Mapping[str, Dataset], *, prepared: bool
) -> list[Dataset]:
    """Return the SR in each SOP Class of the request, with one content tree for all.

    Where no hip was read there is none: an empty TID 1500 has nothing to show.

    Parameters
    ----------
    captures
        The heat-map capture of an image, by the image's SOP Instance UID.
    prepared
        Whether pieces that were made before are filled in; else highdicom makes all of it.
    """
    groups = [
        look_of(image, source, hip, finding, captures.get(image.SOPInstanceUID))
        for source, image in zip(study.request.sources, study.images, strict=True)
        for hip in source.hips
        for finding in findings_of(hip)
    ]
    if not groups:
        return []
    shown = [captures[i.SOPInstanceUID] for i in study.images if i.SOPInstanceUID in captures]
    first, *others = (SR_CLASSES[sr_class] for sr_class in study.request.sr_classes)
    content: Content | Dataset
    try:
        content = _content(study, groups) if prepared else _tree(study, groups)
    except NotPrepared:
        content = _tree(study, groups)
    made = document(study, ResultKind.SR, first, content, shown)
    return twins(study, ResultKind.SR, made, others)


# --- by highdicom -----------------------------------------------------------------------------


def _tree(study: Study, groups: _Groups) -> Dataset:
    """Return the root of the report."""
    language = phrases_of(study.request).concept
    root = _root(study.request.node, study.procedure, language, groups)
    root.ContentSequence[-1].ContentSequence = plain(_evaluations(study))
    return root


def _root(node: NodeIdentity, procedure: Concept, language: Concept, groups: _Groups) -> Dataset:
    """Return the root with its groups; the last item is for what is said for people."""
    report = hd.sr.MeasurementReport(
        observation_context=_observer(node),
        procedure_reported=concept(procedure),
        imaging_measurements=[group(look, values) for look, values in groups],
        language_of_content_item_and_descendants=hd.sr.LanguageOfContentItemAndDescendants(
            concept(language)
        ),
    )
    root: Dataset = report[0]
    root.ContentSequence.append(
        hd.sr.ContainerContentItem(
            name=concept(codes.QUALITATIVE_EVALUATIONS), relationship_type="CONTAINS"
        )
    )
    separate(root)
    return root


def _observer(node: NodeIdentity) -> hd.sr.ObservationContext:
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


# --- prepared ---------------------------------------------------------------------------------

_GROUPS: Final = "{groups}"
_SAID: Final = "{said}"
_CONTENT: Final = Tag("ContentSequence")


def _content(study: Study, groups: _Groups) -> Content:
    """Return the same, of pieces that highdicom has made before."""
    request = study.request
    heads, form = _frame(request.node, study.procedure, phrases_of(request).concept)
    measured = b"".join(filled_group(look, values) for look, values in groups)
    said = _evaluations(study)

    def encoded(encodings: list[str]) -> bytes:
        leaves = b"".join(leaf.encoded(encodings) for leaf in said)
        return form.filled({"groups": measured, "said": leaves})

    texts = tuple(leaf.value for leaf in said if isinstance(leaf.value, str))
    return Content(heads, texts, encoded)


@lru_cache(maxsize=64)
def _frame(
    node: NodeIdentity, procedure: Concept, language: Concept
) -> tuple[tuple[RawDataElement | DataElement, ...], Form]:
    """Return the root's elements, and what is under it with holes for groups and sentences."""
    root = _root(node, procedure, language, [ANY_GROUP])
    for container, mark in zip(root.ContentSequence[-2:], (_GROUPS, _SAID), strict=True):
        place = Dataset()
        place.TextValue = mark
        container[_CONTENT] = DataElement(_CONTENT, "SQ", [place])
    return heads_of(root), under(root, {_GROUPS: "groups", _SAID: "said"})


# --- what is said for people ------------------------------------------------------------------


def _evaluations(study: Study) -> list[Leaf]:
    """Return TID 1500 rows 12 to 14: what was not assessed, and the sentences for people."""
    sources, phrases = study.request.sources, phrases_of(study.request)
    when = codes.ATTENTIONS[attention_of(sources).value]
    items = [
        Leaf(codes.ATTENTION, when),
        Leaf(codes.COMMENT, f"{headline(sources, phrases)} {phrases.disclaimer}."),
    ]
    items += [Leaf(codes.IMPRESSION, sentence) for sentence in hip_sentences(sources, phrases)]
    for number, source in enumerate(sources, start=1):
        items += not_assessed(source)
        if not source.hips or len(sources) > 1 or source.notes or source.frame is not None:
            items.append(Leaf(codes.COMMENT, image_sentence(source, number, phrases)))
    last = [scope(sources, phrases), *provenance(study.request), unreviewed(phrases)]
    if study.request.other_patients:
        last.insert(0, phrases.other_patients(study.request.other_patients))
    return items + [Leaf(codes.COMMENT, text) for text in last]


def not_assessed(source: SourceImage) -> list[Leaf]:
    """Return the coded reasons why an image, or a hip on it, was not assessed."""
    abstention = source.reading.abstention if source.reading else None
    if source.reading is None or abstention is not None:
        reason = abstention.reason if abstention else None
        items = [Leaf(codes.IMAGE_NOT_ASSESSED, reason_of(reason))]
        if reason in UNUSABLE:
            items.append(Leaf(codes.IMAGE_QUALITY, codes.QUALITY_UNUSABLE))
        return items
    items = [
        Leaf(HIP_NOT_ASSESSED[hip.roi.side], reason_of(hip.abstention.reason))
        for hip in source.hips
        if hip.abstention is not None
    ]
    if source.missing is not None:
        items.append(Leaf(HIP_NOT_ASSESSED[source.missing], codes.HIP_MISSING))
    return items
