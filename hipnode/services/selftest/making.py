"""A self-test's image, and the note that takes it back: made in a process that ends with it.

What draws, decodes and reports is heavy, and needed for a second a day.

References
----------
PS3.3 C.7.1.1 (Patient), Quality Control Subject (0010,0200); C.7.6.1 (General Image), Quality
Control Image (0028,0300): the standard's own mark of what is of no patient.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from hipnode.domain.selftest import SelfTest
from hipnode.settings import Settings

if TYPE_CHECKING:
    from pydicom import Dataset

TITLE: Final = "113039"
"""Data Retention Policy Expired (PS3.16 CID 7010): by IHE IOCM the archive shows it no more."""
NAME: Final = "HIPNODE^SELF-TEST"
_WORDS: Final = "SELF-TEST OF HIPNODE - NO PATIENT"
_SAYS: Final = "The image of a self-test: of no patient. It has served its purpose."


@dataclass(frozen=True, slots=True)
class Made:
    """A DICOM file, and of an image the digest of its picture."""

    file: bytes
    pixels: str = ""


def image(test: SelfTest, settings: Settings) -> Made:
    """Draw the image, in a process of its own; the same self-test, the same bytes."""
    return _apart(_image, test, settings)


def note(test: SelfTest, settings: Settings) -> Made:
    """Make the rejection note, in a process of its own."""
    return _apart(_note, test, settings)


def _apart(make, test: SelfTest, settings: Settings) -> Made:  # type: ignore[no-untyped-def]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        made: Made = pool.submit(make, test, settings).result()
    return made


def _image(test: SelfTest, settings: Settings) -> Made:
    from hipnode import imaging  # noqa: PLC0415 - numpy and the decoders

    file = _bytes(_dataset(test, settings))
    with TemporaryDirectory(prefix="hipnode-") as folder:
        path = Path(folder) / "image.dcm"
        path.write_bytes(file)
        digest = imaging.picture_digest(path, max_pixels=settings.worker.max_pixels)
        return Made(file, digest)


def _dataset(test: SelfTest, settings: Settings) -> Dataset:
    """Return the image with the identity of nobody."""
    from pydicom.uid import UID  # noqa: PLC0415

    from hipnode.phantom.daily import phantom_of  # noqa: PLC0415
    from hipnode.phantom.dicom import to_dataset  # noqa: PLC0415

    ds = to_dataset(phantom_of(test.day, test.number))
    ds.PatientName, ds.PatientID = NAME, settings.self_test.patient_id
    ds.QualityControlSubject = ds.QualityControlImage = "YES"
    ds.PatientComments = ds.ImageComments = f"{_WORDS}. {ds.ImageComments}"
    ds.StudyDescription = ds.SeriesDescription = _WORDS
    ds.AccessionNumber = test.accession_number
    ds.StudyInstanceUID, ds.SeriesInstanceUID = test.study_uid, test.series_uid
    ds.SOPInstanceUID = test.sop_uid
    ds.file_meta.MediaStorageSOPInstanceUID = UID(test.sop_uid)
    day, time = f"{test.asked_utc:%Y%m%d}", f"{test.asked_utc:%H%M%S}"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = day
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = time
    ds.StationName = settings.node.ae_title
    return ds


def _note(test: SelfTest, settings: Settings) -> Made:
    from hipnode import codes, reporting  # noqa: PLC0415
    from hipnode.reporting.request import encoded  # noqa: PLC0415

    ds = _dataset(test, settings)
    del ds.PixelData
    node = settings.node
    withdrawal = reporting.Withdrawal(
        objects=(ds,),
        title=codes.REJECTIONS[TITLE],
        node=reporting.NodeIdentity(
            ae_title=node.ae_title,
            name=node.name,
            institution=node.institution,
            timezone_offset=node.timezone_offset,
        ),
        made_utc=test.ended_utc or test.asked_utc,
        version=1,
        why=_SAYS,
    )
    (made,) = reporting.rejection_notes(withdrawal)
    return Made(encoded(made.dataset))


def _bytes(ds: Dataset) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
