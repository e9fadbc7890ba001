"""What a viewer writes when somebody agrees with a result or not: an SR or Key Object Selection."""

from __future__ import annotations

from typing import Any

import highdicom as hd
from pydicom import Dataset
from pydicom.sr.coding import Code

AGREES = Code("122775", "DCM", "Agreement with prior findings")
DISAGREES = Code("122776", "DCM", "Disagreement with prior findings")
PRIVATE = Code("NO", "99VIEWER", "Rejected")
ASSESSED = Code("121071", "DCM", "Finding")


def common(of: Dataset) -> dict[str, Any]:
    return {
        "series_instance_uid": hd.UID(), "series_number": 9, "sop_instance_uid": hd.UID(),
        "instance_number": 1, "manufacturer": "Viewer", "institution_name": "H",
    }  # fmt: skip


def assessment(of: Dataset, said: dict[str, Code]) -> Dataset:
    """Return an SR of a viewer (TID 1500): of each tracking UID, a code."""
    observer = hd.sr.ObserverContext(
        observer_type=hd.sr.CodedConcept("121006", "DCM", "Person"),
        observer_identifying_attributes=hd.sr.PersonObserverIdentifyingAttributes(name="Ross^Ada"),
    )
    groups = [
        hd.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(uid=uid, identifier="hip"),
            qualitative_evaluations=[
                hd.sr.QualitativeEvaluation(
                    name=hd.sr.CodedConcept(*ASSESSED[:3]), value=hd.sr.CodedConcept(*value[:3])
                )
            ],
        )
        for uid, value in said.items()
    ]
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_person_context=observer),
        procedure_reported=Code("363679005", "SCT", "Imaging procedure"),
        imaging_measurements=groups,
    )
    return hd.sr.Comprehensive3DSR(
        evidence=[of], content=report[0], is_complete=True, is_verified=False, **common(of)
    )


def key_objects(of: Dataset, title: Code) -> Dataset:
    content = hd.ko.KeyObjectSelection(
        document_title=hd.sr.CodedConcept(*title[:3]), referenced_objects=[of]
    )
    return hd.ko.KeyObjectSelectionDocument(evidence=[of], content=content, **common(of))
