"""The images of a study, sorted by whose they are: each patient gets a report of their own.

An archive that corrects a patient's identity does so image by image, and errs; for a while, or for
good, one study then holds images under two Patient IDs. Which of them is right nobody here knows:
every image is reported under the ID that it came with.

References
----------
PS3.3 C.7.1.1 (Patient): a Patient ID is unique within its issuer. C.7.2.1 (General Study).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

from hipnode import codes
from hipnode.codes import Concept
from hipnode.dicom.identity import Mender
from hipnode.domain import Result
from hipnode.errors import ReportRefused
from hipnode.reporting.forms import ready
from hipnode.reporting.request import ReportRequest, SourceImage

STUDY = (
    "PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "OtherPatientIDsSequence", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
    "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
    "IssuerOfAccessionNumberSequence", "StudyDescription", "ProcedureCodeSequence", "PatientAge",
    "PatientSize", "PatientWeight",
)  # fmt: skip
"""What all objects of a study have in common; the newest image has the last word."""

Patient = tuple[str, str]
"""Patient ID and its issuer."""


@dataclass(frozen=True, eq=False)
class Study:
    """A request with the identities of its images mended, in the order of the sources.

    The images are of one patient; ``request.other_patients`` says of how many more the study holds
    some.
    """

    request: ReportRequest
    images: tuple[Dataset, ...]
    notes: tuple[str, ...]
    declared: tuple[str, ...] = ()  # the source's character set, where all agree on a valid one
    made: dict[str, Any] = field(default_factory=dict)  # what its objects have in common

    @property
    def newest(self) -> Dataset:
        """The identity that stands for the study: of the image that came last."""
        return self.images[-1]

    @property
    def uid(self) -> str:
        """The Study Instance UID."""
        return str(self.newest.StudyInstanceUID)

    @property
    def procedure(self) -> Concept:
        """The imaging procedure that was done, else what was asked for, else any imaging."""
        newest = self.newest
        asked = newest.get("RequestAttributesSequence") or []
        for items in (
            newest.get("ProcedureCodeSequence") or [],
            *(item.get("RequestedProcedureCodeSequence") or [] for item in asked),
        ):
            for item in items:
                value, scheme, meaning = (
                    str(item.get(keyword) or "")
                    for keyword in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
                )
                if value and scheme and meaning:
                    return Concept(value, scheme, meaning, "the image")
        return codes.IMAGING_PROCEDURE

    @property
    def patient(self) -> Patient:
        """Whose images these are."""
        return _patient_of(self.newest)

    @cached_property
    def common(self) -> tuple[RawDataElement | DataElement, ...]:
        """What all objects have from the study (`STUDY`), encoded where that is for good."""
        newest = self.newest
        return tuple(ready(newest[keyword]) for keyword in STUDY if keyword in newest)

    @cached_property
    def identity(self) -> str:
        """All that an object has from the study, as one text: other content, another UID."""
        common = Dataset()
        for keyword in (*STUDY, "TimezoneOffsetFromUTC"):
            if keyword in self.newest:
                common[keyword] = self.newest[keyword]
        return common.to_json()


def mend_studies(request: ReportRequest) -> list[Study]:
    """Mend the identity of every image, and put together what is of one patient.

    Raises
    ------
    ReportRefused
        If an identity cannot be used, or the images are not of one study.
    """
    menders = [Mender(s.dataset, request.node.assumed_character_set) for s in request.sources]
    if len(uids := {str(m.mended.StudyInstanceUID) for m in menders}) > 1:
        raise ReportRefused(f"the images are of {len(uids)} different studies")
    patients = _sorted([_patient_of(m.mended) for m in menders])
    found = list(dict.fromkeys(patients))
    studies = []
    for patient in found:
        pairs = zip(request.sources, menders, patients, strict=True)
        mine = [(source, mender) for source, mender, whose in pairs if whose == patient]
        studies.append(_study(request, mine, found, patient))
    return studies


def _study(
    request: ReportRequest,
    mine: Sequence[tuple[SourceImage, Mender]],
    patients: Sequence[Patient],
    patient: Patient,
) -> Study:
    own = replace(
        request,
        sources=tuple(source for source, _ in mine),
        predecessors=tuple(p for p in request.predecessors if _replaces(p, patient, patients)),
        other_patients=len(patients) - 1,
    )
    images = [mender.mended for _, mender in mine]
    _fill(images)
    notes = dict.fromkeys(note for _, mender in mine for note in mender.notes)
    declared = {mender.declared for _, mender in mine}
    return Study(own, tuple(images), tuple(notes), declared.pop() if len(declared) == 1 else ())


def _fill(images: Sequence[Dataset]) -> None:
    """Give each image what it lacks and another has, the newest first."""
    for keyword in STUDY:
        known = [image[keyword] for image in reversed(images) if not _lacks(image, keyword)]
        for image in images:
            if known and _lacks(image, keyword):
                image[keyword] = known[0]


def _lacks(image: Dataset, keyword: str) -> bool:
    return image.get(keyword) in (None, "", [])


def _patient_of(image: Dataset) -> Patient:
    return str(image.get("PatientID") or ""), str(image.get("IssuerOfPatientID") or "")


def _sorted(patients: Sequence[Patient]) -> list[Patient]:
    """Return whose each image is: one that lacks ID or issuer is the only patient's, if any."""
    names = {name for name, _ in patients} - {""}
    only = names.pop() if len(names) == 1 else ""
    named = [(name or only, issuer) for name, issuer in patients]
    out = []
    for name, issuer in named:
        issuers = {i for n, i in named if n == name} - {""}
        out.append((name, issuer or (issuers.pop() if len(issuers) == 1 else "")))
    return out


def _replaces(earlier: Result, patient: Patient, patients: Sequence[Patient]) -> bool:
    """Tell whether an earlier object gives way to this patient's: its own, or one of nobody's.

    An ID that no image has any more has been corrected to one of those that they have.
    """
    whose = earlier.patient_id
    return whose is None or whose == patient[0] or whose not in {name for name, _ in patients}
