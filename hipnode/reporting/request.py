"""What a report is made from, and what it is made into."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    XRayRadiofluoroscopicImageStorage,
)

from hipnode import __version__, codes
from hipnode.dicom.charset import check_declared
from hipnode.domain import Finding, HipReading, Language, Reading, Result, ResultKind, Side
from hipnode.reporting.forms import settled

_MULTI_FRAME: Final = frozenset(
    {
        MultiFrameSingleBitSecondaryCaptureImageStorage,
        MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        MultiFrameTrueColorSecondaryCaptureImageStorage,
        XRayRadiofluoroscopicImageStorage,
    }
)
SRClass = Literal["comprehensive-3d", "comprehensive"]
PICTURED: Final = frozenset({ResultKind.CAPTURE, ResultKind.PDF})
"""What shows the image itself."""
SR_CLASSES: Final[dict[SRClass, str]] = {
    "comprehensive-3d": Comprehensive3DSRStorage,
    "comprehensive": ComprehensiveSRStorage,
}


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Who reports: goes into the equipment, device observer and series of every object.

    ``timezone_offset`` (``+0100``) is the local time of the site, ``""`` where nobody said.
    ``assumed_character_set`` is a defined term of PS3.3 C.12.1.1.2 for text whose data set does
    not declare one; ``""`` assumes nothing. ``feedback_url`` is where readers say whether a report
    was right; a Study Instance UID follows. ``""``: nowhere.
    """

    ae_title: str = "HIPNODE"
    name: str = "hipnode"
    institution: str = ""
    software_version: str = __version__
    timezone_offset: str = ""
    assumed_character_set: str = ""
    feedback_url: str = ""

    @property
    def device_uid(self) -> str:
        """The Device UID (0018,1002): the same node, the same UID."""
        return codes.device_uid(self.institution, self.name, self.ae_title)


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One image of the study: its header, and what became of it.

    Attributes
    ----------
    dataset
        The data set as received; its Pixel Data is not used and need not be there.
    reading
        What was read, or None if nothing could be (then ``failure`` says why in plain English).
    pixels
        A view of the radiograph for the capture: (rows, columns) uint8, bright bone, any scale;
        the boxes of the reading are scaled to it. None where the image could not be decoded, or
        where nothing that is made shows it.
    digest
        Of the file as received: makes changed content a new UID. May be empty.
    """

    dataset: Dataset
    reading: Reading | None = None
    failure: str = ""
    pixels: NDArray[np.uint8] | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        if bool(self.reading) == bool(self.failure):
            raise ValueError("an image has either a reading or a failure")
        if self.pixels is not None and (self.pixels.ndim != 2 or self.pixels.dtype != np.uint8):
            raise ValueError("pixels for the capture are (rows, columns) uint8")

    @property
    def hips(self) -> tuple[HipReading, ...]:
        """The hips about which something may be said: shadow findings are left out."""
        if self.reading is None:
            return ()
        return tuple(h for h in self.reading.hips if h.abstention or findings_of(h))

    @property
    def missing(self) -> Side | None:
        """The side of a pelvis on which no hip was found."""
        return self.reading.missing if self.reading is not None else None

    @property
    def frame(self) -> int | None:
        """The frame that the boxes are in, from 1, where the image has several."""
        several = self.reading is not None and self.reading.frames > 1
        return self.reading.frame if several and self.reading is not None else None

    @property
    def referenced_frames(self) -> list[int] | None:
        """What a reference to the image names; without it, every frame is meant (PS3.3 10.3).

        Only images of a multi-frame SOP Class may be referred to so. Of others, the words say it.
        """
        is_multi_frame = str(self.dataset.get("SOPClassUID", "")) in _MULTI_FRAME
        return [self.frame] if self.frame is not None and is_multi_frame else None

    @cached_property
    def fingerprint(self) -> bytes:
        """A digest of what was received, and of what became of it."""
        digest = sha256(self.digest.encode() + self.failure.encode())
        digest.update(repr(self.dataset.get("SOPInstanceUID")).encode())
        if self.reading is not None:
            digest.update(replace(self.reading, timings_ms={}, measured={}).to_json())
        if self.pixels is not None:
            digest.update(repr(self.pixels.shape).encode())
            digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.digest()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the decoder or the reader had to mend or assume, in plain English."""
        return self.reading.notes if self.reading is not None else ()


def findings_of(hip: HipReading) -> tuple[Finding, ...]:
    """Return what may be reported of a hip: shadow findings are for the audit log alone."""
    return tuple(f for f in hip.findings if not f.shadow)


@dataclass(frozen=True, eq=False, slots=True)
class ReportRequest:
    """Everything that a report depends on; the same request makes the same bytes.

    Attributes
    ----------
    made_utc
        When the report is made. It is not part of the UIDs: give a repeated run of the same job
        the same time, and it makes the same bytes.
    version, predecessors
        2 and up replace what was sent before: ``predecessors`` are the results of the version
        that this one replaces.
    sr_classes
        One SR is made for each.
    other_patients
        Under how many other Patient IDs the study holds images: they are reported apart.
    language
        Of what people read; codes and their meanings stay English.
    flagged
        Whether Series Description and the document's title carry the outcome.
    """

    sources: tuple[SourceImage, ...]
    node: NodeIdentity
    made_utc: datetime
    version: int = 1
    predecessors: tuple[Result, ...] = ()
    objects: frozenset[ResultKind] = frozenset({ResultKind.SR, ResultKind.CAPTURE, ResultKind.TEXT})
    sr_classes: tuple[SRClass, ...] = ("comprehensive-3d",)
    other_patients: int = 0
    language: Language = "en"
    flagged: bool = True

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("a report needs at least one image")
        if self.made_utc.tzinfo is None:
            raise ValueError("made_utc has no time zone")


@dataclass(frozen=True, eq=False, slots=True)
class BuiltObject:
    """A DICOM object, ready to be stored and sent."""

    kind: ResultKind
    dataset: Dataset
    notes: tuple[str, ...] = field(default=())  # what was mended in the identity, for the audit log
    stands_for_sr: bool = False  # a text where there is nothing to measure

    @property
    def patient_id(self) -> str:
        """Patient ID (0010,0020)."""
        return str(self.dataset.PatientID or "")

    @property
    def sop_class_uid(self) -> str:
        """SOP Class UID (0008,0016)."""
        return str(self.dataset.SOPClassUID)

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID (0008,0018)."""
        return str(self.dataset.SOPInstanceUID)

    def to_bytes(self) -> bytes:
        """Return the object in the DICOM File Format (PS3.10 7)."""
        return encoded(self.dataset)


@dataclass(frozen=True, slots=True)
class BuiltMessage:
    """A result that is no DICOM object: bytes, and what they are known by."""

    kind: ResultKind
    content: bytes
    sop_instance_uid: str  # the message's own identifier; the ledger knows results by it
    notes: tuple[str, ...] = field(default=())
    patient_id: str = ""
    stands_for_sr: bool = False

    @property
    def sop_class_uid(self) -> str:
        """None: it is no DICOM object."""
        return ""

    def to_bytes(self) -> bytes:
        """Return what is sent."""
        return self.content


def encoded(dataset: Dataset) -> bytes:
    """Return a data set in the DICOM File Format (PS3.10 7).

    Raises
    ------
    CharacterSetUndeclared
        If it holds text outside ASCII and declares no character set: such bytes never leave.
    """
    check_declared(dataset)
    settled(dataset)
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def fingerprint(request: ReportRequest, *extra: Any) -> str:
    """Return a digest of all that decides the content of an object, except the clock."""
    digest = sha256()
    for source in request.sources:
        digest.update(source.fingerprint)
    node = request.node
    predecessors = sorted(p.sop_instance_uid for p in request.predecessors)
    said = (request.language, request.flagged)
    apart = (request.other_patients,) if request.other_patients else ()
    for part in (node, request.version, predecessors, said, *apart, *extra):
        digest.update(repr(part).encode() + b"\0")
    return digest.hexdigest()
