"""Synthetic inputs, made in code: DX data sets that pass dciodvfy, and readings of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from hipnode.codes import derive_uid
from hipnode.domain import (
    Abstention,
    AbstentionReason,
    Box,
    Finding,
    HipReading,
    HipROI,
    ModelRef,
    OperatingPoint,
    Reading,
    Saliency,
    Side,
    Task,
)

ROWS, COLUMNS = 1000, 1200
MODEL = ModelRef(
    "hip-fracture-densenet", "1.0.0", "a1b2c3d4" * 8, "Trained on simulated radiographs only."
)
POINT = OperatingPoint("balanced", doubtful_from=0.12, present_from=0.85)
RIGHT_BOX = Box(150, 330, 470, 700)  # the patient's right lies on the image's left
LEFT_BOX = Box(730, 335, 1050, 705)


def uid(*parts: str) -> str:
    """Return the test UID of ``parts``."""
    return derive_uid("test", *parts)


@cache
def scene(rows: int = ROWS, columns: int = COLUMNS) -> NDArray[np.uint8]:
    """Return a crude AP pelvis, bright bone: (rows, columns) uint8. A shape, no phantom."""
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    u, v = np.abs(x / columns - 0.5), y / rows
    body = np.clip(1.3 - 2.2 * np.hypot(u, 0.55 * (v - 0.5)), 0, 1) * 0.45

    def blob(cu: float, cv: float, ru: float, rv: float) -> NDArray[np.float32]:
        return np.clip(1.6 - 1.6 * np.hypot((u - cu) / ru, (v - cv) / rv), 0, 1)

    bone = np.maximum.reduce(
        [
            blob(0.22, 0.47, 0.06, 0.075),  # head
            np.clip(1.4 - 16 * np.abs(v - 0.5 - 0.9 * (u - 0.24)), 0, 1)
            * (np.abs(u - 0.27) < 0.06),
            blob(0.335, 0.57, 0.045, 0.08),  # trochanter
            np.clip(1.5 - 30 * np.abs(u - 0.33), 0, 1) * (v > 0.58),  # shaft
            blob(0.16, 0.28, 0.13, 0.2) * 0.8,  # ilium
            blob(0.0, 0.25, 0.07, 0.25) * 0.8,  # sacrum
            np.clip(1.2 - 24 * np.abs(v - 0.58 - 0.2 * u), 0, 1) * (u < 0.2) * 0.8,  # pubis
        ]
    )
    grain = np.random.default_rng(7).normal(0, 0.015, (rows, columns))
    return (255 * np.clip(body + 0.5 * bone + grain, 0, 1)).astype(np.uint8)


def _values(study: str, image: str) -> dict[str, Any]:
    return {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["DERIVED", "PRIMARY"],
        "SOPClassUID": DigitalXRayImageStorageForPresentation,
        "SOPInstanceUID": uid(study, image),
        "StudyInstanceUID": uid(study),
        "SeriesInstanceUID": uid(study, "series"),
        "PatientName": "Muster^Hanna",
        "PatientID": f"P{study}",
        "IssuerOfPatientID": "HOSPITAL",
        "PatientBirthDate": "19400229",
        "PatientSex": "F",
        "PatientAge": "086Y",
        "StudyDate": "20261120",
        "SeriesDate": "20261120",
        "ContentDate": "20261120",
        "AcquisitionDate": "20261120",
        "StudyTime": "101500",
        "SeriesTime": "101500",
        "ContentTime": "101500",
        "AcquisitionTime": "101500",
        "AccessionNumber": f"ACC{study}"[:16],
        "ReferringPhysicianName": "Arzt^Otto",
        "StudyID": "S1",
        "StudyDescription": "XR PELVIS",
        "SeriesDescription": "AP",
        "Modality": "DX",
        "PresentationIntentType": "FOR PRESENTATION",
        "Manufacturer": "ACME",
        "ManufacturerModelName": "DR 9",
        "StationName": "XRAY2",
        "InstitutionName": "General Hospital",
        "DeviceSerialNumber": "12345",
        "SoftwareVersions": "4.2",
        "BodyPartExamined": "PELVIS",
        "ViewPosition": "AP",
        "PatientOrientation": ["L", "F"],
        "SeriesNumber": 1,
        "InstanceNumber": int(image) if image.isdigit() else 1,
        "LossyImageCompression": "00",
        "BurnedInAnnotation": "NO",
        "ImagerPixelSpacing": [0.15, 0.15],
        "Rows": ROWS,
        "Columns": COLUMNS,
    }


def header(study: str = "1", image: str = "1", **changes: Any) -> Dataset:
    """Return a DX data set without pixels. ``changes`` set attributes; None deletes one."""
    ds = Dataset()
    for keyword, value in _values(study, image).items():
        setattr(ds, keyword, value)
    request = Dataset()
    request.RequestedProcedureID = "RP1"
    request.RequestedProcedureDescription = "Pelvis AP"
    request.ScheduledProcedureStepID = "SPS1"
    request.ScheduledProcedureStepDescription = "Pelvis AP"
    ds.RequestAttributesSequence = [request]
    for keyword, value in changes.items():
        if value is None:
            ds.pop(keyword, None)
        else:
            setattr(ds, keyword, value)
    return ds


def radiograph(study: str = "1", image: str = "1", **changes: Any) -> Dataset:
    """Return a whole 12-bit DX object of `scene` that dciodvfy passes without an error."""
    ds = header(study, image, **changes)
    laterality, anatomy, view = Dataset(), Dataset(), Dataset()
    anatomy.CodeValue, anatomy.CodingSchemeDesignator = "12921003", "SCT"
    anatomy.CodeMeaning = "Pelvis"
    view.CodeValue, view.CodingSchemeDesignator = "399348003", "SCT"
    view.CodeMeaning = "antero-posterior"
    del laterality
    for keyword, value in {
        "AcquisitionContextSequence": [],
        "ImageLaterality": "U",
        "AnatomicRegionSequence": [anatomy],
        "ViewCodeSequence": [view],
        "DetectorType": "DIRECT",
        "PositionerType": "NONE",
        "PatientOrientation": list(ds.get("PatientOrientation") or ["L", "F"]),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": -1,
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "US",
        "PresentationLUTShape": "IDENTITY",
        "WindowCenter": 2048,
        "WindowWidth": 4096,
        "BurnedInAnnotation": "NO",
        "PixelData": (scene(ds.Rows, ds.Columns).astype(np.uint16) * 16).tobytes(),
    }.items():
        if keyword not in changes:
            setattr(ds, keyword, value)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        ds.PresentationLUTShape = "INVERSE"
        ds.PixelData = (4095 - scene(ds.Rows, ds.Columns).astype(np.uint16) * 16).tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def as_cr(ds: Dataset) -> Dataset:
    """Return a data set as Computed Radiography, which need not say how the patient lies."""
    ds.SOPClassUID = ComputedRadiographyImageStorage
    ds.Modality = "CR"
    for keyword in ("PatientOrientation", "PresentationIntentType"):
        ds.pop(keyword, None)
    return ds


def reread(ds: Dataset) -> Dataset:
    """Return a data set as it comes from disk: raw bytes that nobody has decoded yet."""
    if not hasattr(ds, "file_meta"):
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return dcmread(BytesIO(buffer.getvalue()))


def hot_spot() -> Saliency:
    """Return a map with one hot spot off its centre."""
    y, x = np.mgrid[0:14, 0:14]
    values = np.exp(-((x - 6) ** 2 + (y - 5) ** 2) / 9)
    return tuple(tuple(float(v) for v in row) for row in values)


def finding(p: float, *, intracapsular: float = 0.85, **changes: Any) -> Finding:
    """Return a fracture finding with P(fracture) = ``p``."""
    probabilities = {
        "no_fracture": 1 - p,
        "intracapsular": p * intracapsular,
        "trochanteric": p * (1 - intracapsular),
    }
    values: dict[str, Any] = {
        "task": Task.HIP_FRACTURE,
        "probabilities": probabilities,
        "label": max(probabilities, key=lambda k: probabilities[k]),
        "p_positive": p,
        "decision": POINT.decide(p),
        "operating_point": POINT,
        "model": MODEL,
        "saliency": hot_spot(),
        "positive": ("intracapsular", "trochanteric"),
    }
    return Finding(**{**values, **changes})


def hip(side: Side, p: float | None, box: Box | None = None, **changes: Any) -> HipReading:
    """Return one hip: with P(fracture) = ``p``, or with an implant where ``p`` is None."""
    box = box or (RIGHT_BOX if side is Side.RIGHT else LEFT_BOX)
    roi = HipROI(side, box, 0.98)
    if p is None:
        return HipReading(roi, abstention=Abstention(AbstentionReason.IMPLANT, "metal 0.99"))
    return HipReading(roi, findings=(finding(p, **changes),))


def reading(
    hips: Iterable[HipReading] | AbstentionReason,
    study: str = "1",
    image: str = "1",
    **changes: Any,
) -> Reading:
    """Return a reading of `header`'s image: hips, or an abstention."""
    values: dict[str, Any] = {
        "sop_instance_uid": uid(study, image),
        "rows": ROWS,
        "columns": COLUMNS,
        "model_set": "default",
        "model_set_digest": "d" * 64,
        "timings_ms": {"total": 12.5},
    }
    if isinstance(hips, AbstentionReason):
        values["abstention"] = Abstention(hips)
    else:
        values["hips"] = tuple(hips)
    return Reading(**{**values, **changes})
