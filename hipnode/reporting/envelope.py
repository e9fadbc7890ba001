"""What every object that leaves the node has in common: patient, study, series, equipment, UIDs.

References
----------
PS3.3 A.35.13 (Comprehensive 3D SR), A.8.1 (SC), A.35.1 (Basic Text SR), A.33.1 (GSPS), A.45.1
(Encapsulated PDF): the modules. C.12.1 (SOP Common), C.7.5.1 (General Equipment).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian

from hipnode import DISCLAIMER, codes
from hipnode.codes import Concept
from hipnode.domain import ModelRef, Result, ResultKind
from hipnode.reporting.forms import ready
from hipnode.reporting.ranking import flag_of
from hipnode.reporting.request import NodeIdentity, ReportRequest, SourceImage
from hipnode.reporting.study import Study
from hipnode.reporting.words import ascii_text, models_of, phrases_of, title

_UNPAIRED = frozenset(
    "ABDOMEN ABDOMENPELVIS AORTA BACK BLADDER BRAIN CHEST CHESTABDOMEN CHESTABDPELVIS COCCYX COLON "
    "CSPINE CTSPINE ESOPHAGUS FACE GALLBLADDER HEAD HEADNECK HEART JAW LARYNX LIVER LSPINE LSSPINE "
    "MAXILLA MEDIASTINUM NECK NOSE PANCREAS PELVIS PROSTATE RECTUM SKULL SPINE SPLEEN SSPINE "
    "STERNUM STOMACH TLSPINE TONGUE TRACHEA TSPINE UTERUS WHOLEBODY".split()
)
DOCUMENTS = frozenset({ResultKind.SR, ResultKind.TEXT, ResultKind.PDF, ResultKind.NOTE})
_SERIES = {
    # kind: modality, series number, name, in that order of trust
    ResultKind.SR: ("SR", 9101, "SR"),
    ResultKind.TEXT: ("SR", 9102, "text"),
    ResultKind.CAPTURE: ("OT", 9103, "map"),
    ResultKind.GSPS: ("PR", 9104, "boxes"),
    ResultKind.PDF: ("DOC", 9105, "PDF"),
    ResultKind.NOTE: ("KO", 9106, "rejection"),
}
_LO = 64
"""Characters of a Series Description (PS3.5 6.2, VR LO)."""


def envelope(
    study: Study,
    kind: ResultKind,
    sop_class_uid: str,
    identity: str,
    number: int = 1,
    *,
    of: SourceImage | None = None,
) -> Dataset:
    """Return a new object of the study, complete but for its content.

    Parameters
    ----------
    identity
        A digest of all that decides the content: what the SOP Instance UID is derived from.
    number
        Instance Number within the series.
    of
        The image that was drawn; None for a document, which is of all of them.

    Notes
    -----
    A document has a series for each version. What is drawn of an image is the same in all of them,
    so that a late image does not send the others' captures again; captures of images with the same
    outcome share a series, whose description names it.
    """
    _request, node = study.request, study.request.node
    out = Dataset()
    out.SpecificCharacterSet = "ISO_IR 192"
    for element in (*study.common, *_of_node(node)):
        out[element.tag] = element
    document = kind in DOCUMENTS
    out.Modality, out.SeriesNumber, _ = _SERIES[kind]
    out.SeriesDescription = _description(study, kind, of)
    identify(study, kind, out, sop_class_uid, identity, number, of)
    out.InstanceNumber = number
    out["ContributingEquipmentSequence"] = _contributing(study)
    _clock(study, out)
    if not document:
        del out.SeriesDate, out.SeriesTime  # of the first of the series, which is not known here
    out.file_meta = FileMetaDataset()
    out.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out.file_meta.ImplementationClassUID = UID(codes.IMPLEMENTATION_CLASS_UID)
    out.file_meta.ImplementationVersionName = codes.IMPLEMENTATION_VERSION_NAME
    out.file_meta.SourceApplicationEntityTitle = node.ae_title
    return out


@lru_cache(maxsize=16)
def _of_node(node: NodeIdentity) -> tuple[RawDataElement | DataElement, ...]:
    """Return what every object of a node says of it."""
    out = Dataset()
    out.Manufacturer = codes.MANUFACTURER
    out.ManufacturerModelName = codes.MANUFACTURER
    out.DeviceSerialNumber = node.device_uid.rsplit(".", 1)[-1]
    out.DeviceUID = node.device_uid
    out.SoftwareVersions = node.software_version
    out.StationName = node.ae_title
    if node.institution:
        out.InstitutionName = node.institution[:64]
    return tuple(ready(element) for element in out)


def outcome(request: ReportRequest, of: Sequence[SourceImage] = ()) -> str:
    """Return the outcome of a study, or of some images, in a word or two; "" where unwanted."""
    phrases = phrases_of(request)
    flag = flag_of(of or request.sources)
    return f"{phrases.ai} {phrases.flags[flag.value]}" if request.flagged else ""


def titled(study: Study) -> str:
    """Return the title of a document, the outcome first."""
    said = outcome(study.request)
    return f"{said} - {title(study.request)}" if said else title(study.request)


def _description(study: Study, kind: ResultKind, of: SourceImage | None) -> str:
    """Return the Series Description: the outcome first, since lists cut what is long."""
    request = study.request
    said = outcome(request, (of,) if of else ()) or phrases_of(request).ai
    version = f" v{request.version}" if kind in DOCUMENTS and request.version > 1 else ""
    head = f"{said} {_SERIES[kind][2]}{version}"
    whole = f"{head} - {DISCLAIMER}"
    return whole if len(whole) <= _LO else f"{head[: _LO - 1 - len(DISCLAIMER)]} {DISCLAIMER}"


def identify(
    study: Study,
    kind: ResultKind,
    out: Dataset,
    sop_class_uid: str,
    identity: str,
    number: int,
    of: SourceImage | None = None,
) -> None:
    """Set what sets an object apart from its like in another SOP Class: its class and its UIDs.

    Parameters
    ----------
    out
        The object.
    identity, number, of
        As for `envelope`.
    """
    out.SOPClassUID = UID(sop_class_uid)
    out.SOPInstanceUID = codes.derive_uid(
        "object", kind.value, sop_class_uid, identity, str(number), study.identity
    )
    if of is None:
        out.SeriesInstanceUID = series_uid(study, kind, sop_class_uid, study.request.version)
    else:
        said = outcome(study.request, (of,))
        which = f"software {study.request.node.software_version} {said}".strip()
        out.SeriesInstanceUID = _series_uid(study, kind, sop_class_uid, which)


def series_uid(study: Study, kind: ResultKind, sop_class_uid: str, version: int) -> str:
    """Return the series that a version's documents of one kind are in, so that it can be named."""
    return _series_uid(study, kind, sop_class_uid, f"version {version}")


def _series_uid(study: Study, kind: ResultKind, sop_class_uid: str, which: str) -> str:
    node, language = study.request.node, study.request.language
    if language != "en":
        which = f"{which} {language}"
    return codes.derive_uid(
        "series", node.device_uid, study.uid, kind.value, sop_class_uid, which, *study.patient
    )


def predecessors_of(study: Study, kind: ResultKind, sop_class_uid: str) -> tuple[Result, ...]:
    """Return what a document replaces: its like if there was one, else the other document.

    Of documents in several languages, those in its own.
    """
    documents = [
        p for p in study.request.predecessors if p.kind in (ResultKind.SR, ResultKind.TEXT)
    ]
    language = study.request.language
    documents = [p for p in documents if p.language in ("", language)] or documents
    for alike in (
        [p for p in documents if p.kind is kind and p.sop_class_uid == sop_class_uid],
        [p for p in documents if p.kind is kind],
        documents,
    ):
        if alike:
            return tuple(alike)
    return ()


def references(items: Iterable[tuple[str, str, str]], study_instance_uid: str) -> list[Dataset]:
    """Return a Hierarchical SOP Instance Reference (PS3.3 C.17.2.1) to objects of one study.

    Parameters
    ----------
    items
        Series Instance UID, SOP Class UID and SOP Instance UID of each object.
    """
    by_series: dict[str, list[Dataset]] = {}
    for series, sop_class, sop_instance in items:
        by_series.setdefault(series, []).append(reference(sop_class, sop_instance))
    if not by_series:
        return []
    out = Dataset()
    out.StudyInstanceUID = study_instance_uid
    out.ReferencedSeriesSequence = []
    for series, objects in by_series.items():
        item = Dataset()
        item.ReferencedSOPSequence = objects
        item.SeriesInstanceUID = series
        out.ReferencedSeriesSequence.append(item)
    return [out]


def body_part(out: Dataset, image: Dataset) -> None:
    """Copy what was imaged, with its side: empty where nobody said it and the part may be paired.

    Parameters
    ----------
    out
        The object that is made.
    image
        The mended identity of its image.

    References
    ----------
    PS3.3 C.7.3.1, Laterality (type 2C); PS3.16 Annex L, Body Part Examined.
    """
    part = image.get("BodyPartExamined") or ""
    if part:
        out.BodyPartExamined = part
    if "Laterality" in image or part not in _UNPAIRED:
        out.Laterality = image.get("Laterality") or ""


def reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Return a SOP Instance Reference (PS3.3 10.8)."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def code(concept: Concept) -> Dataset:
    """Return a code sequence item (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue = concept.value
    item.CodingSchemeDesignator = concept.scheme
    item.CodeMeaning = concept.meaning
    return item


def coding_scheme() -> Dataset:
    """Return the declaration of the local scheme (PS3.3 C.12.1, Coding Scheme Identification)."""
    item = Dataset()
    item.CodingSchemeDesignator = codes.LOCAL_SCHEME
    item.CodingSchemeUID = codes.LOCAL_SCHEME_UID
    item.CodingSchemeName = "hipnode"
    item.CodingSchemeResponsibleOrganization = codes.MANUFACTURER
    return item


def local_now(study: Study) -> datetime:
    """Return when the report is made, in the time zone that the object's times are in."""
    offset = study.newest.get("TimezoneOffsetFromUTC") or study.request.node.timezone_offset
    if not offset:
        return study.request.made_utc.astimezone(UTC)
    text = str(offset)
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    shift = timedelta(minutes=-minutes if text[0] == "-" else minutes)
    return study.request.made_utc.astimezone(timezone(shift))


def _clock(study: Study, out: Dataset) -> None:
    """Set the times. The offset is stated only where the source or the site's setting states it."""
    now = local_now(study)
    offset = study.newest.get("TimezoneOffsetFromUTC") or study.request.node.timezone_offset
    if offset:
        out.TimezoneOffsetFromUTC = offset
    day, moment = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    for keyword in ("SeriesDate", "InstanceCreationDate", "ContentDate"):
        setattr(out, keyword, day)
    for keyword in ("SeriesTime", "InstanceCreationTime", "ContentTime"):
        setattr(out, keyword, moment)


def _contributing(study: Study) -> RawDataElement | DataElement:
    """Return the Contributing Equipment Sequence, which is the same in all objects of a study."""
    if (made := study.made.get("equipment")) is None:
        tag = Tag("ContributingEquipmentSequence")
        made = study.made["equipment"] = ready(DataElement(tag, "SQ", _equipment(study)))
    element: RawDataElement | DataElement = made
    return element


def _equipment(study: Study) -> list[Dataset]:
    """Return who contributed: each scanner, and each model that spoke (PS3.3 C.12.1.1.5)."""
    items: list[Dataset] = []
    seen = set()
    for image in study.images:
        scanner = Dataset()
        for keyword in (
            "Manufacturer", "InstitutionName", "StationName", "InstitutionalDepartmentName",
            "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions",
        ):  # fmt: skip
            if image.get(keyword):
                scanner[keyword] = image[keyword]
        scanner.Manufacturer = scanner.get("Manufacturer", "") or "unknown"
        scanner.PurposeOfReferenceCodeSequence = [code(codes.ACQUISITION_EQUIPMENT)]
        if (key := scanner.to_json()) not in seen:
            seen.add(key)
            items.append(scanner)
    items += [_algorithm(study, model) for model in models_of(study.request.sources)]
    return items


def _algorithm(study: Study, model: ModelRef) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code(codes.PROCESSING_EQUIPMENT)]
    item.Manufacturer = codes.MANUFACTURER
    item.ManufacturerModelName = ascii_text(model.name, 64)
    item.SoftwareVersions = ascii_text(model.version, 64)
    item.DeviceUID = codes.derive_uid("model", model.digest)
    item.ContributionDateTime = local_now(study).strftime("%Y%m%d%H%M%S%z")
    item.ContributionDescription = f"AI inference. {DISCLAIMER}."
    return item
