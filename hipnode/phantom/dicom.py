"""Simulated images as DICOM: Digital X-Ray Image Storage, For Presentation."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    SecondaryCaptureImageStorage,
)

from hipnode.phantom.truth import Phantom, Truth

DISCLAIMER: Final = "Simulated image of no person. NOT FOR CLINICAL USE."
_DATE: Final = "20250101"
_CODES: Final = {
    "frontal": ("12921003", "Pelvis", "PELVIS"),
    "abdomen": ("818981001", "Abdomen", "ABDOMEN"),
    "one_hip": ("24136001", "Hip joint", "HIP"),
    "lateral": ("24136001", "Hip joint", "HIP"),
}
_VIEWS: Final = {
    "frontal": ("399348003", "antero-posterior", "AP"),
    "one_hip": ("399348003", "antero-posterior", "AP"),
    "abdomen": ("399348003", "antero-posterior", "AP"),
    "lateral": ("399067008", "lateral projection", "LL"),
}


def write_dicom(phantom: Phantom, path: Path, *, compress: bool = True) -> Path:
    """Write the image as a DICOM file, losslessly compressed (JPEG-LS) if wanted.

    All identifiers follow from the image's name and pixels: the same image, the same file.
    """
    ds = to_dataset(phantom)
    if compress:
        ds.compress(JPEGLSLossless, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def to_dataset(phantom: Phantom) -> Dataset:
    """Return the image as an uncompressed data set with file meta information."""
    truth = phantom.truth
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    _patient_and_study(ds, truth, uid_of(truth.patient_id, "study"))
    _equipment(ds)
    if truth.kind == "dxa":
        _secondary_capture(ds, truth)
    else:
        _digital_xray(ds, truth)
    ds.SOPInstanceUID = uid_of(truth.image_id, sha256(phantom.pixels.tobytes()).hexdigest())
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    _pixels(ds, phantom)
    return ds


def uid_of(*words: str) -> str:
    """Return a UID that depends on these words alone (PS3.5 B.2: 2.25 and a 128-bit number)."""
    digest = bytearray(sha256("\0".join(words).encode()).digest()[:16])
    digest[6] = (digest[6] & 0x0F) | 0x50
    digest[8] = (digest[8] & 0x3F) | 0x80
    return f"2.25.{int.from_bytes(digest, 'big')}"


def _patient_and_study(ds: Dataset, truth: Truth, study: str) -> None:
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = f"PHANTOM^{truth.image_id.upper()}"
    ds.PatientID = truth.patient_id
    ds.PatientBirthDate = f"{2025 - truth.age - 1}0701"
    ds.PatientSex = truth.sex
    ds.PatientAge = f"{truth.age:03d}Y"
    ds.PatientSize = f"{truth.height_m:.2f}"
    ds.PatientWeight = f"{truth.weight_kg:.1f}"
    ds.PatientComments = DISCLAIMER
    ds.StudyInstanceUID = study
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = _DATE
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "120000"
    ds.ReferringPhysicianName = ""
    ds.StudyID = "1"
    ds.AccessionNumber = f"PH{uid_of(truth.patient_id)[-12:]}"
    ds.StudyDescription = "SIMULATED " + _CODES[truth.view][1].upper()
    ds.SeriesInstanceUID = uid_of(truth.patient_id, "series")
    ds.SeriesNumber = "1"
    ds.InstanceNumber = "1"
    ds.SeriesDescription = ds.StudyDescription
    ds.ImageComments = DISCLAIMER


def _equipment(ds: Dataset) -> None:
    ds.Manufacturer = "hipnode phantom"
    ds.ManufacturerModelName = "simulated radiograph"
    ds.InstitutionName = "NOWHERE"
    ds.StationName = "PHANTOM"
    ds.DeviceSerialNumber = "0"
    ds.SoftwareVersions = "1"


def _digital_xray(ds: Dataset, truth: Truth) -> None:
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.Modality = "DX"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.ImageType = ["DERIVED", "PRIMARY", ""]
    ds.DerivationDescription = DISCLAIMER
    one = truth.view in ("one_hip", "lateral") and len(truth.hips) == 1
    ds.ImageLaterality = truth.hips[0].side.value if one else "U"
    code, meaning, part = _CODES[truth.view]
    ds.BodyPartExamined = part
    ds.AnatomicRegionSequence = Sequence([_code(code, meaning)])
    view_code, view_meaning, position = _VIEWS[truth.view]
    view = _code(view_code, view_meaning)
    view.ViewModifierCodeSequence = Sequence([])
    ds.ViewCodeSequence = Sequence([view])
    ds.ViewPosition = position
    ds.PatientOrientation = _orientation(truth)
    ds.KVP = "75"
    ds.DetectorType = "DIRECT"
    ds.DetectorConfiguration = "AREA"
    ds.DetectorDescription = "simulated"
    ds.ImagerPixelSpacing = [f"{truth.spacing_mm:.5f}"] * 2
    ds.DistanceSourceToDetector = "1150"
    ds.DistanceSourceToPatient = "1000"
    ds.EstimatedRadiographicMagnificationFactor = "1.15"
    ds.AcquisitionContextSequence = Sequence([])
    ds.PositionerType = "NONE"
    ds.Exposure = "10"
    ds.ExposureIndex = "400"
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = 1 if truth.photometric == "MONOCHROME1" else -1


def _secondary_capture(ds: Dataset, truth: Truth) -> None:
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.Modality = "BMD"  # PS3.3 C.7.3.1.1.1: bone densitometry
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.DerivationDescription = DISCLAIMER
    ds.SeriesDescription = ds.StudyDescription = "SIMULATED DXA HIP"
    ds.PatientOrientation = ["L", "F"]
    ds.BodyPartExamined = "HIP"
    ds.Laterality = truth.hips[0].side.value if truth.hips else ""


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def _orientation(truth: Truth) -> list[str]:
    """Return which way rows and columns run, after turning and mirroring."""
    across, down = ("R", "F") if truth.mirrored else ("L", "F")
    opposite = {"L": "R", "R": "L", "F": "H", "H": "F"}
    for _ in range(truth.rotation_deg // 90):  # clockwise: what ran down now runs to the left
        across, down = opposite[down], across
    return [across, down]


def _pixels(ds: Dataset, phantom: Phantom) -> None:
    pixels = phantom.pixels
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = phantom.truth.photometric
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelRepresentation = 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape = (
        "INVERSE" if phantom.truth.photometric == "MONOCHROME1" else "IDENTITY"
    )
    ds.WindowCenter, ds.WindowWidth = "2048", "4096"
    ds.BurnedInAnnotation = "YES" if phantom.truth.marker_box else "NO"
    ds.LossyImageCompression = "00"
    ds.PixelData = np.ascontiguousarray(pixels, dtype="<u2").tobytes()
