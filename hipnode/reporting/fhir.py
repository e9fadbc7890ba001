"""What a study came to as FHIR R4: a DiagnosticReport and its Observations, in one transaction.

Their ids derive from study, patient and node, so that a new version replaces the one before, and
what is sent twice is there once. The patient is named by identifier alone.

References
----------
HL7 FHIR R4: 3.1.0.11.2 (transaction), DiagnosticReport, Observation, 2.26.3 (data types).
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from html import escape
from typing import Any, Final

from hipnode import codes
from hipnode.codes import Concept
from hipnode.domain import TASKS, Decision, ResultKind
from hipnode.reporting.envelope import local_now
from hipnode.reporting.notice import message_uid
from hipnode.reporting.ranking import Statement, attention_of, statements
from hipnode.reporting.request import BuiltMessage
from hipnode.reporting.study import Study
from hipnode.reporting.terms import HIP_NOT_ASSESSED, PRESENCE, answer, reason_of
from hipnode.reporting.words import headline, hip_sentences, phrases_of

Resource = dict[str, Any]

_INTERPRETATION: Final = {
    Decision.PRESENT: "POS",
    Decision.DOUBTFUL: "IND",
    Decision.EQUIVOCAL: "IND",
    Decision.ABSENT: "NEG",
}


def fhir(study: Study) -> BuiltMessage:
    """Return the transaction of a study, as JSON."""
    uid, request = message_uid(study, ResultKind.FHIR), study.request
    identity = (request.node.device_uid, study.uid, *study.patient, request.language)
    observed = [_attention(study), *(_observed(study, s) for s in statements(request.sources))]
    for observation in observed:
        key = observation.pop("_key")
        observation["id"] = codes.derive_uid("fhir observation", *identity, key)
    report = _report(study, codes.derive_uid("fhir report", *identity), uid, observed)
    document = {
        "resourceType": "Bundle",
        "id": uid,
        "type": "transaction",
        "entry": [
            {
                "resource": resource,
                "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
            }
            for resource in (*observed, report)
        ],
    }
    content = json.dumps(document, ensure_ascii=False, indent=1).encode()
    return BuiltMessage(ResultKind.FHIR, content, uid, study.notes, str(study.newest.PatientID))


def _report(study: Study, number: str, uid: str, observed: list[Resource]) -> Resource:
    request, phrases, newest = study.request, phrases_of(study.request), study.newest
    first = headline(request.sources, phrases)
    sentences = [first, *hip_sentences(request.sources, phrases), phrases.unreviewed]
    said = "".join(f"<p>{escape(s)}</p>" for s in (phrases.disclaimer, *sentences))
    identifiers: list[Resource] = [{"system": codes.FHIR_UIDS, "value": f"urn:oid:{uid}"}]
    if accession := str(newest.get("AccessionNumber") or ""):
        kind = {"coding": [{"system": f"{codes.FHIR_TERMINOLOGY}/v2-0203", "code": "ACSN"}]}
        identifiers.append({"type": kind, "value": accession})
    return {
        "resourceType": "DiagnosticReport",
        "id": number,
        "language": request.language,
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{said}</div>',
        },
        "identifier": identifiers,
        **_common(study),
        "category": [{"coding": [{"system": f"{codes.FHIR_TERMINOLOGY}/v2-0074", "code": "RAD"}]}],
        "code": _concept(codes.DIAGNOSTIC_REPORT, study.procedure),
        "issued": local_now(study).isoformat(timespec="seconds"),
        "result": [{"reference": f"Observation/{o['id']}"} for o in observed],
        "imagingStudy": [
            {"identifier": {"system": codes.FHIR_UIDS, "value": f"urn:oid:{study.uid}"}}
        ],
        "conclusion": f"{first} {phrases.unreviewed} {phrases.disclaimer}.",
    }


def _attention(study: Study) -> Resource:
    when = codes.ATTENTIONS[attention_of(study.request.sources).value]
    return {
        "_key": "attention",
        "resourceType": "Observation",
        **_common(study),
        "code": _concept(codes.ATTENTION),
        "valueCodeableConcept": _concept(when),
        "note": _note(study),
    }


def _observed(study: Study, said: Statement) -> Resource:
    """Return one statement about a hip: a finding, or why there is none."""
    finding, phrases = said.finding, phrases_of(study.request)
    out: Resource = {
        "_key": f"{said.side.value} {said.image} {finding.task.value if finding else ''}",
        "resourceType": "Observation",
        **_common(study),
        "bodySite": _concept(codes.PROXIMAL_FEMUR) | {"text": phrases.hip(said.side)},
        "note": _note(study),
    }
    if finding is None:
        why = codes.HIP_MISSING if said.reason is None else reason_of(said.reason)
        absent = {"system": f"{codes.FHIR_TERMINOLOGY}/data-absent-reason", "code": "not-performed"}
        return out | {
            "code": _concept(HIP_NOT_ASSESSED[said.side]),
            "dataAbsentReason": {"coding": [absent, *_concept(why)["coding"]]},
        }
    terms = TASKS[finding.task]
    meaning = {
        "system": f"{codes.FHIR_TERMINOLOGY}/v3-ObservationInterpretation",
        "code": _INTERPRETATION[finding.decision],
    }
    model = finding.model
    if finding.nhfd:
        kind = _concept(codes.NHFD[finding.nhfd])
        out["component"] = [{"code": _concept(codes.NHFD_CLASS), "valueCodeableConcept": kind}]
    return out | {
        "code": _concept(terms.question),
        "valueCodeableConcept": _concept(PRESENCE[finding.decision], answer(finding)),
        "interpretation": [{"coding": [meaning]}],
        "method": {"text": f"{model.name} {model.version} ({model.digest[:12]})"},
    }


def _common(study: Study) -> Resource:
    """Return what report and observations have in common: whose, of when, and how far it is."""
    newest = study.newest
    subject: Resource = {"value": str(newest.PatientID)}
    if issuer := str(newest.get("IssuerOfPatientID") or ""):
        subject["assigner"] = {"display": issuer}
    out: Resource = {"status": "preliminary", "subject": {"identifier": subject}}
    with suppress(ValueError):
        day = datetime.strptime(str(newest.get("StudyDate") or ""), "%Y%m%d")  # noqa: DTZ007
        out["effectiveDateTime"] = day.date().isoformat()
    return out


def _note(study: Study) -> list[Resource]:
    return [{"text": f"{phrases_of(study.request).disclaimer}."}]


def _concept(*concepts: Concept) -> Resource:
    """Return concepts that mean the same, the first one's words as the text."""
    coding = [{"code": c.value, "display": c.meaning} for c in concepts]
    for made, concept in zip(coding, concepts, strict=True):
        if concept.scheme in codes.FHIR_SYSTEMS:
            made["system"] = codes.FHIR_SYSTEMS[concept.scheme]
    return {"coding": coding, "text": concepts[0].meaning}
