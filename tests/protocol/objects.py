"""DICOM objects for the protocol tests: small, valid, and different each time."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian as Deflated
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

DX = "1.2.840.10008.5.1.4.1.1.1.1"


def radiograph(rows: int = 64, columns: int = 48, **attributes: object) -> Dataset:
    """Return a DX image of noise."""
    ds = Dataset()
    ds.SOPClassUID = DX
    ds.SOPInstanceUID = generate_uid(None)
    ds.StudyInstanceUID = generate_uid(None)
    ds.SeriesInstanceUID = generate_uid(None)
    ds.Modality = "DX"
    ds.PatientID = "P1"
    ds.PatientName = "Doe^Jane"
    ds.AccessionNumber = "A1"
    ds.StationName = "ROOM1"
    ds.Rows, ds.Columns = rows, columns
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.PixelData = os.urandom(rows * columns * 2)
    ds["PixelData"].VR = "OW"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def rich(**attributes: object) -> Dataset:
    """Return a small image whose header has a bit of everything, sequences of each form too."""
    ds = radiograph(2, 2, PatientName="Müller^Zoë", SpecificCharacterSet="ISO_IR 192")
    ds.PatientID, ds.IssuerOfPatientID = "P-4711", "HOSPITAL"
    ds.PatientAge, ds.PatientSex, ds.PatientSize = "067Y", "F", "1.62"
    ds.PatientBirthDate, ds.StudyDate = "19590301", "20260301"
    ds.ImageType, ds.PatientOrientation = ["DERIVED", "PRIMARY"], ["L", "F"]
    ds.ImageLaterality, ds.ViewPosition, ds.BodyPartExamined = "U", "AP", "HIP"
    ds.add_new(0x00091010, "OB", bytes(100))
    ds.add_new(0x00091011, "UN", b"\x01\x02")
    inner, outer = Dataset(), Dataset()
    inner.ReferencedSOPClassUID, inner.ReferencedSOPInstanceUID = DX, "1.2.3.4"
    inner.PurposeOfReferenceCodeSequence = [Dataset()]
    outer.ReferencedImageSequence = [inner, inner]
    outer.PatientID = "not this one"
    for keyword in ("RequestAttributesSequence", "ReferencedStudySequence"):
        setattr(ds, keyword, [outer, Dataset()])
        ds[keyword].is_undefined_length = keyword.startswith("Request")
    outer.is_undefined_length_sequence_item = True
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def data_set(ds: Dataset, syntax: str) -> bytes:
    """Return the data set in one of the transfer syntaxes of PS3.5 A.1 to A.3 and A.5."""
    buffer = DicomBytesIO()
    buffer.is_little_endian = syntax != ExplicitVRBigEndian
    buffer.is_implicit_VR = syntax == ImplicitVRLittleEndian
    write_dataset(buffer, ds)
    return deflated(buffer.getvalue()) if syntax == Deflated else buffer.getvalue()


def deflated(data: bytes) -> bytes:
    """Return bytes deflated as PS3.5 A.5 has it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def encoded(ds: Dataset) -> bytes:
    """Return the data set in Explicit VR Little Endian, without file meta."""
    return data_set(ds, ExplicitVRLittleEndian)


def save(ds: Dataset, path: Path) -> Path:
    """Write the data set as a DICOM file."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
    return path
