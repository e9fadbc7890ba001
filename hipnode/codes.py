"""Every coded concept and fixed UID that hipnode writes, once, each with its source.

*VSAC* is the value set "Hip fracture" (2.16.840.1.113883.3.464.1003.113.12.1037) or "Osteoporosis"
(…12.1038); *PS3.16* the DICOM Content Mapping Resource; *local* our own scheme, ``99HIPNODE``,
used only where no published code says the same thing.

References
----------
PS3.16 Annexes B and C (context groups), PS3.3 8.2 (code sequences), PS3.5 B.2 (UIDs from UUIDs).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from uuid import NAMESPACE_DNS, UUID, uuid5

from hipnode import __version__

NAMESPACE: Final[UUID] = uuid5(NAMESPACE_DNS, "hipnode")
"""The namespace of every UUIDv5 that hipnode derives."""


def derive_uid(*parts: str) -> str:
    """Return the UID of ``parts``: the same parts, the same UID; other parts, another.

    Returns
    -------
    str
        ``2.25.`` and a UUIDv5 as a decimal number.

    References
    ----------
    PS3.5 B.2, UUID Derived UID.
    """
    return f"2.25.{uuid5(NAMESPACE, chr(0).join(parts)).int}"


def tracking_uid(sop_instance_uid: str, side: str, task: str, model_digest: str) -> str:
    """Return the Tracking Unique Identifier of a finding: others speak of it by this UID.

    Parameters
    ----------
    sop_instance_uid
        The image's.
    side
        The patient's: "R" or "L".
    task, model_digest
        What was asked, and who answered.
    """
    return derive_uid("tracking", sop_instance_uid, side, task, model_digest)


def short_id(uid: str, characters: int) -> str:
    """Return a UID from a UUID as a shorter identifier, as good as unique.

    Parameters
    ----------
    uid
        From `derive_uid`.
    characters
        How many to return.
    """
    number, digits = int(uid.removeprefix("2.25.")), "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    return "".join(digits[number >> 5 * place & 31] for place in range(characters))


IMPLEMENTATION_CLASS_UID: Final = derive_uid("implementation", "1")
IMPLEMENTATION_VERSION_NAME: Final = f"HIPNODE_{__version__}"[:16]
LOCAL_SCHEME: Final = "99HIPNODE"
LOCAL_SCHEME_UID: Final = derive_uid("coding scheme", LOCAL_SCHEME)
MANUFACTURER: Final = "hipnode"


def device_uid(institution: str, name: str, ae_title: str) -> str:
    """Return a node's Device UID (0018,1002): the same node, the same UID.

    Parameters
    ----------
    institution, name, ae_title
        What the settings call the node.
    """
    return derive_uid("device", institution, name, ae_title)


@dataclass(frozen=True, slots=True)
class Concept:
    """A code of a published or the local scheme. ``source`` says where it was verified."""

    value: str
    scheme: str
    meaning: str
    source: str = field(compare=False, repr=False)


def _local(value: str, meaning: str) -> Concept:
    return Concept(value, LOCAL_SCHEME, meaning, "local")


FHIR_SYSTEMS: Final = {
    "SCT": "http://snomed.info/sct",
    "LN": "http://loinc.org",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    LOCAL_SCHEME: f"urn:oid:{LOCAL_SCHEME_UID}",
}
"""How FHIR calls a coding scheme."""
FHIR_TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem"
FHIR_UIDS: Final = "urn:dicom:uid"


# --- the frame of a report --------------------------------------------------------------------

LANGUAGE: Final = Concept(
    "121049", "DCM", "Language of Content Item and Descendants", "PS3.16 TID 1204"
)
ENGLISH: Final = Concept("en", "RFC5646", "English", "PS3.16 CID 5000")
GERMAN: Final = Concept("de", "RFC5646", "German", "PS3.16 CID 5000")
FRENCH: Final = Concept("fr", "RFC5646", "French", "PS3.16 CID 5000")
DEVICE: Final = Concept("121007", "DCM", "Device", "PS3.16 CID 270")
IMAGING_PROCEDURE: Final = Concept("363679005", "SCT", "Imaging procedure", "PS3.16 CID 100")
STUDY_INSTANCE_UID: Final = Concept("110180", "DCM", "Study Instance UID", "PS3.16 Annex D")
COMMENT: Final = Concept("121106", "DCM", "Comment", "PS3.16 TID 1500")
IMPRESSION: Final = Concept("121073", "DCM", "Impression", "PS3.16 CID 3001")
QUALITATIVE_EVALUATIONS: Final = Concept(
    "C0034375", "UMLS", "Qualitative Evaluations", "PS3.16 TID 1500 row 12"
)
ILLUSTRATION: Final = Concept("121200", "DCM", "Illustration of ROI", "PS3.16 TID 1410 row 9")
IMAGE_QUALITY: Final = Concept("111101", "DCM", "Image Quality", "PS3.16 TID 4006")
QUALITY_UNUSABLE: Final = Concept(
    "111235", "DCM", "Unusable - Quality renders image unusable", "PS3.16 CID 6044"
)
QUALITY_MET: Final = Concept(
    "111237", "DCM", "Usable - Meets the quality control standard", "PS3.16 CID 6044"
)
PERCENT: Final = Concept("%", "UCUM", "percent", "PS3.16 CID 7181")
ARTIFICIAL_INTELLIGENCE: Final = Concept(
    "123110", "DCM", "Artificial Intelligence", "PS3.16 CID 7162"
)
PRESENT: Final = Concept("52101004", "SCT", "Present", "PS3.16 CID 240")
ABSENT: Final = Concept("272519000", "SCT", "Absent", "PS3.16 CID 240")
UNDETERMINED: Final = Concept("373068000", "SCT", "Undetermined", "PS3.16 CID 240")
DIAGNOSTIC_REPORT: Final = Concept("18748-4", "LN", "Diagnostic imaging report", "PS3.16 CID 7000")
FINDINGS_SECTION: Final = Concept("121070", "DCM", "Findings", "PS3.16 CID 7001")
FINDING: Final = Concept("121071", "DCM", "Finding", "PS3.16 TID 1500, TID 2002")
IMPRESSIONS_SECTION: Final = Concept("121072", "DCM", "Impressions", "PS3.16 CID 7001")
SOURCE_IMAGE: Final = Concept(
    "121322", "DCM", "Source of Image for Image Processing Operation", "PS3.16 CID 7202"
)
CLASS_ACTIVATION: Final = Concept("130402", "DCM", "Class activation", "PS3.16 CID 217")
ACQUISITION_EQUIPMENT: Final = Concept("109101", "DCM", "Acquisition Equipment", "PS3.16 CID 7005")
PROCESSING_EQUIPMENT: Final = Concept("109102", "DCM", "Processing Equipment", "PS3.16 CID 7005")

REJECTIONS: Final[dict[str, Concept]] = {
    concept.value: concept
    for concept in (
        Concept("113001", "DCM", "Rejected for Quality Reasons", "PS3.16 CID 7010, IHE IOCM"),
        Concept(
            "113037", "DCM", "Rejected for Patient Safety Reasons", "PS3.16 CID 7010, IHE IOCM"
        ),
        Concept("113038", "DCM", "Incorrect Modality Worklist Entry", "PS3.16 CID 7010, IHE IOCM"),
        Concept("113039", "DCM", "Data Retention Policy Expired", "PS3.16 CID 7010, IHE IOCM"),
    )
}
"""Titles of a Key Object Selection that takes back what it names (IHE IOCM), by Code Value."""
KEY_OBJECT_DESCRIPTION: Final = Concept(
    "113012", "DCM", "Key Object Description", "PS3.16 TID 2010"
)
MOVED: Final = "113038"
"""What an image is rejected with in the study that it has left."""

# --- where ------------------------------------------------------------------------------------

PROXIMAL_FEMUR: Final = Concept("310651003", "SCT", "Proximal Femur", "pydicom, PS3.16 CID 4031")
RIGHT: Final = Concept("24028007", "SCT", "Right", "PS3.16 CID 244")
LEFT: Final = Concept("7771000", "SCT", "Left", "PS3.16 CID 244")

# --- what: fracture ---------------------------------------------------------------------------

HIP_FRACTURE: Final = Concept(
    "263225007", "SCT", "Fracture of proximal end of femur", "VSAC …1037, 2020-2022"
)
HIP_FRACTURE_DOUBTFUL: Final = _local("FX_DOUBTFUL", "Hip fracture indeterminate")
HIP_FRACTURE_EQUIVOCAL: Final = _local(
    "FX_EQUIVOCAL", "Hip fracture equivocal, further imaging advised"
)
HIP_FRACTURE_ABSENT: Final = _local("FX_NOT_DETECTED", "No hip fracture detected")
FEMORAL_NECK: Final = Concept("5913000", "SCT", "Fracture of neck of femur", "VSAC …1037")
SUBCAPITAL: Final = Concept("263226008", "SCT", "Subcapital fracture of femur", "VSAC …1037")
MIDCERVICAL: Final = Concept("263227004", "SCT", "Midcervical fracture of femur", "VSAC …1037")
BASICERVICAL: Final = Concept("263228009", "SCT", "Basicervical fracture of femur", "VSAC …1037")
TROCHANTERIC: Final = Concept("445875009", "SCT", "Trochanteric fracture of femur", "VSAC …1037")
INTERTROCHANTERIC: Final = Concept(
    "127287001", "SCT", "Intertrochanteric fracture of femur", "VSAC …1037"
)
PERTROCHANTERIC: Final = Concept(
    "208562000", "SCT", "Pertrochanteric fracture of femur", "VSAC …1037"
)
SUBTROCHANTERIC: Final = Concept(
    "263229001", "SCT", "Subtrochanteric fracture of femur", "VSAC …1037"
)
INTRACAPSULAR: Final = _local("FX_INTRACAPSULAR", "Intracapsular fracture of proximal femur")
"""SNOMED CT has it only as *closed* (20100009), which a radiograph does not tell."""

NHFD_CLASS: Final = _local("NHFD_CLASS", "Class of the National Hip Fracture Database")
NHFD: Final[dict[str, Concept]] = {
    "intracapsular": _local("NHFD_IC", "intracapsular; displaced or not is not told"),
    "intracapsular_undisplaced": _local("NHFD_IC_UNDISP", "intracapsular, undisplaced"),
    "intracapsular_displaced": _local("NHFD_IC_DISP", "intracapsular, displaced"),
    "trochanteric": _local("NHFD_TR", "trochanteric; A1-A2 or A3 is not told"),
    "trochanteric_a1_a2": _local("NHFD_TR_A12", "trochanteric, A1-A2"),
    "trochanteric_a3": _local("NHFD_TR_A3", "trochanteric, A3"),
    "subtrochanteric": _local("NHFD_ST", "subtrochanteric"),
}
"""By a fracture model's label: what of the database's class it tells, and never more. The classes
are intracapsular (displaced or not), trochanteric A1-A2 and A3 (AO/OTA 31), subtrochanteric."""

# --- what: bone -------------------------------------------------------------------------------

OSTEOPOROSIS: Final = Concept("64859006", "SCT", "Osteoporosis", "VSAC …1038, 2020-2022")
OSTEOPENIA: Final = _local("OP_OSTEOPENIA", "Osteopenia")
OSTEOPOROSIS_DOUBTFUL: Final = _local("OP_DOUBTFUL", "Osteoporosis indeterminate")
OSTEOPOROSIS_ABSENT: Final = _local("OP_NOT_DETECTED", "No sign of osteoporosis detected")
FRACTURE_RISK: Final = _local("FX_RISK", "Raised risk of hip fracture")
FRACTURE_RISK_DOUBTFUL: Final = _local("FX_RISK_DOUBT", "Risk of hip fracture indeterminate")
FRACTURE_RISK_ABSENT: Final = _local("FX_RISK_NO", "Risk of hip fracture not raised")


def probability(code: str, meaning: str) -> Concept:
    """Return the concept name of one model's probability: no published code names its classes.

    Parameters
    ----------
    code
        Made into a Code Value: ``P_``, upper case, at most 16 characters (PS3.5 6.2, SH).
    meaning
        The Code Meaning, at most 64 characters (LO).
    """
    return _local(f"P_{code}".upper().replace(" ", "_")[:16], meaning[:64])


# --- what was not assessed, and why -----------------------------------------------------------

IMAGE_NOT_ASSESSED: Final = _local("IMG_NOT_ASSESSED", "Image not assessed")
RIGHT_HIP_NOT_ASSESSED: Final = _local("HIP_R_NOT_ASSD", "RIGHT hip not assessed")
LEFT_HIP_NOT_ASSESSED: Final = _local("HIP_L_NOT_ASSD", "LEFT hip not assessed")

HIP_NOT_ASSESSED: Final = _local("HIP_U_NOT_ASSD", "Hip not assessed, side not known")
HIP_MISSING: Final = _local("HIP_MISSING", "hip not found")

ATTENTION: Final = _local("ATTENTION", "When a person should look")
ATTENTIONS: Final[dict[str, Concept]] = {
    "now": _local("ATT_NOW", "now"),
    "soon": _local("ATT_SOON", "soon"),
    "routine": _local("ATT_ROUTINE", "in the usual order"),
}
"""By `hipnode.domain.Attention`."""
CAVEAT: Final = _local("DOUBT_BECAUSE", "Doubtful because")
CAVEATS: Final[dict[str, Concept]] = {
    "unusual": _local("DB_UNUSUAL", "the hip is unlike those the model is made for"),
    "possible_metal": _local("DB_METAL", "there may be metal at the hip"),
    "cut_off": _local("DB_CUT_OFF", "the hip is not whole in the image"),
    "faint": _local("DB_FAINT", "the hip was not found for certain"),
    "view": _local("DB_VIEW", "the model is not validated on this view"),
    "side_unsure": _local("DB_SIDE_UNSURE", "the side is not certain"),
    "side_unknown": _local("DB_SIDE_UNKNOWN", "the side is not known"),
    "other_hip": _local("DB_OTHER_HIP", "the other hip could not be judged"),
    "either_hip": _local("DB_EITHER_HIP", "it is one of the two hips, and not told which"),
}
"""By `hipnode.domain.Caveat`; the meaning is what people read."""

REASONS: Final[dict[str, Concept]] = {
    "not_frontal": _local("NA_NOT_FRONTAL", "not a frontal view of the pelvis or hip"),
    "not_a_radiograph": _local("NA_NO_RADIOGRAPH", "not a radiograph"),
    "child": _local("NA_CHILD", "patient younger than the model is made for"),
    "implant": _local("NA_IMPLANT", "implant or other metal at the hip"),
    "unreadable": _local("NA_UNREADABLE", "image quality too poor"),
    "too_small": _local("NA_TOO_SMALL", "image too small"),
    "undecodable": _local("NA_UNDECODABLE", "could not be decoded"),
    "pixel_shape": _local("NA_PIXEL_SHAPE", "shape of the pixels not known"),
    "hip_not_found": _local("NA_NO_HIP", "no complete hip found"),
    "side_unknown": _local("NA_SIDE_UNKNOWN", "right or left side not known"),
    "not_adult": _local("NA_NOT_ADULT", "not an adult's hip, by its size or shape"),
    "out_of_distribution": _local("NA_UNUSUAL", "image unlike those the model is made for"),
    "possible_metal": _local("NA_MAYBE_METAL", "there may be metal at the hip"),
    "cut_off": _local("NA_CUT_OFF", "the hip is not whole in the image"),
    "too_uncertain": _local("NA_UNCERTAIN", "the hip could not be judged"),
    "other_frames": _local("NA_OTHER_FRAMES", "other frames say more, or were not assessed"),
    "failed": _local("NA_FAILED", "technical failure"),
}
"""By `hipnode.domain.AbstentionReason`, and ``failed``; the meaning is what people read."""
