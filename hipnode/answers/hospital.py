"""A record of the audit log in the words of hospitals' own: ATNA's XML and FHIR's AuditEvent.

Work within the node (jobs, leases) is nobody else's: it stays at home.

References
----------
PS3.15 A.5 (Audit Trail Message Format), A.5.3 (its events); PS3.16 Annex D (codes).
HL7 FHIR R4 AuditEvent; IHE ITI BALP.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from hipnode import codes
from hipnode.domain import AuditEvent, AuditRecord, Outcome

Code = tuple[str, str]
"""A code of DCM and its meaning."""

_DCM: Final = codes.FHIR_SYSTEMS["DCM"]
_SOURCE: Final = ("110153", "Source Role ID")
_DESTINATION: Final = ("110152", "Destination Role ID")
_APPLICATION: Final = ("110150", "Application")
_OUTCOMES: Final = {Outcome.OK: "0", Outcome.REFUSED: "4", Outcome.FAILED: "8"}

_ACTIVITY: Final = ("110100", "Application Activity")
_LOG_USED: Final = ("110101", "Audit Log Used")
_ACCESSED: Final = ("110103", "DICOM Instances Accessed")
_TRANSFERRED: Final = ("110104", "DICOM Instances Transferred")
_DELETED: Final = ("110105", "DICOM Study Deleted")
_QUERY: Final = ("110112", "Query")
_ALERT: Final = ("110113", "Security Alert")
_AUTHENTICATION: Final = ("110114", "User Authentication")
_NODE: Final = ("110126", "Node Authentication")
_CONFIGURATION: Final = ("110131", "Software Configuration")
_SECURITY: Final = ("110129", "Security Configuration")
_RESTRICTED: Final = ("110132", "Use of Restricted Function")

E = AuditEvent
_EVENTS: Final[dict[AuditEvent, tuple[Code, Code | None, str]]] = {
    E.SERVICE_STARTED: (_ACTIVITY, ("110120", "Application Start"), "E"),
    E.SERVICE_STOPPED: (_ACTIVITY, ("110121", "Application Stop"), "E"),
    E.ASSOCIATION_REFUSED: (_ALERT, _NODE, "E"),
    E.INSTANCE_STORED: (_TRANSFERRED, None, "C"),
    E.INSTANCE_DUPLICATED: (_TRANSFERRED, None, "R"),
    E.INSTANCE_CHANGED: (_TRANSFERRED, None, "U"),
    E.INSTANCE_DISCARDED: (_TRANSFERRED, None, "R"),
    E.INSTANCE_REFUSED: (_TRANSFERRED, None, "C"),
    E.OBJECT_DELIVERED: (_TRANSFERRED, None, "R"),
    E.DELIVERY_FAILED: (_TRANSFERRED, None, "R"),
    E.HISTORY_ASKED: (_QUERY, None, "E"),
    E.RESULT_VIEWED: (_ACCESSED, None, "R"),
    E.GLASS_BROKEN: (_ALERT, ("110127", "Emergency Override Started"), "E"),
    E.AUDIT_QUERIED: (_LOG_USED, None, "R"),
    E.AUDIT_EXPORTED: (_LOG_USED, None, "R"),
    E.AUDIT_VERIFIED: (_LOG_USED, None, "R"),
    E.AUDIT_ARCHIVED: (_LOG_USED, None, "D"),
    E.HOLD_SET: (_ALERT, _SECURITY, "E"),
    E.HOLD_LIFTED: (_ALERT, _SECURITY, "E"),
    E.AUDIT_BROKEN: (_ALERT, _SECURITY, "E"),
    E.AUDIT_ACKNOWLEDGED: (_ALERT, _SECURITY, "E"),
    E.FILES_RETIRED: (_DELETED, None, "D"),
    E.SIGNED_IN: (_AUTHENTICATION, ("110122", "Login"), "E"),
    E.SIGNED_OUT: (_AUTHENTICATION, ("110123", "Logout"), "E"),
    E.SIGN_IN_REFUSED: (_AUTHENTICATION, ("110122", "Login"), "E"),
    E.DESK_REFUSED: (_ALERT, _RESTRICTED, "E"),
    E.ACCOUNT_CHANGED: (_ALERT, _SECURITY, "E"),
    E.SETTINGS_LOADED: (_ALERT, _CONFIGURATION, "E"),
    E.MODEL_SET_LOADED: (_ALERT, _CONFIGURATION, "E"),
    E.MODELS_PROPOSED: (_ALERT, _CONFIGURATION, "E"),
    E.MODELS_CONFIRMED: (_ALERT, _CONFIGURATION, "E"),
    E.MODELS_DECLINED: (_ALERT, _CONFIGURATION, "E"),
    E.NODE_ADOPTED: (_ALERT, _SECURITY, "E"),
    E.BACKUP_RESTORED: (_ALERT, _SECURITY, "E"),
    E.IMAGE_DAMAGED: (_ALERT, _SECURITY, "E"),
}
del E
_PEOPLE: Final = frozenset({_LOG_USED, _ACCESSED, _AUTHENTICATION})
"""What a person does, not a machine."""
_SENT: Final = frozenset({AuditEvent.OBJECT_DELIVERED, AuditEvent.DELIVERY_FAILED})
_SEALED: Final = "audit_sealed"


@dataclass(frozen=True, slots=True)
class Source:
    """Who tells: the node."""

    ae_title: str
    name: str
    site: str
    host: str


@dataclass(frozen=True, slots=True)
class Participant:
    """Who took part."""

    user: str
    is_requestor: bool
    role: Code | None = None
    address: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """An event, before it is written in one way or another."""

    identifier: str
    at_utc: datetime
    event: Code
    kind: Code | None
    action: str
    outcome: Outcome
    words: str
    participants: tuple[Participant, ...]
    patient_id: str = ""
    study_uid: str = ""
    accession_number: str = ""
    sop_class: str = ""
    security_resource: str = ""
    scheme: str = "DCM"  # of ``kind``


def told(identifier: str, at_utc: datetime, record: AuditRecord, source: Source) -> Told | None:
    """Return what of a record is for the hospital; None where it stays at home."""
    if record.event not in _EVENTS:
        return None
    event, kind, action = _EVENTS[record.event]
    address = str(record.detail.get("address") or "")
    return Told(
        identifier=identifier,
        at_utc=at_utc,
        event=event,
        kind=kind,
        action=action,
        outcome=record.outcome,
        words=record.event.value,
        participants=_participants(record, event, source, address),
        patient_id=record.patient_id,
        study_uid=record.study_instance_uid,
        accession_number=record.accession_number,
        sop_class=str(record.detail.get("sop_class") or ""),
        security_resource="hipnode audit log" if event is _LOG_USED else "",
    )


def sealed(identifier: str, at_utc: datetime, head: str, source: Source) -> Told:
    """Return that the log was sealed: who keeps it can say later that this head was there."""
    node = Participant(source.ae_title, is_requestor=False, role=_APPLICATION, address=source.host)
    return Told(
        identifier=identifier,
        at_utc=at_utc,
        event=_ALERT,
        kind=(_SEALED, "Audit log sealed"),
        action="E",
        outcome=Outcome.OK,
        words=_SEALED,
        participants=(node,),
        security_resource=head,
        scheme=codes.LOCAL_SCHEME,
    )


def _participants(
    record: AuditRecord, event: Code, source: Source, address: str
) -> tuple[Participant, ...]:
    sends = record.event in _SENT
    own = _APPLICATION
    if event is _TRANSFERRED:
        own = _SOURCE if sends else _DESTINATION
    node = Participant(source.ae_title, is_requestor=sends, role=own, address=source.host)
    if event in _PEOPLE or not record.ae_title:
        who = record.actor or source.ae_title
        return (node, Participant(who, is_requestor=True, address=address))
    theirs = _DESTINATION if sends else _SOURCE
    role = theirs if event is _TRANSFERRED else None
    return (node, Participant(record.ae_title, not sends, role, address))


# --- ATNA -------------------------------------------------------------------------------------


def atna(event: Told, source: Source) -> bytes:
    """Return an event as XML (PS3.15 A.5.1), UTF-8."""
    root = ET.Element("AuditMessage")
    about = ET.SubElement(
        root, "EventIdentification",
        EventActionCode=event.action, EventDateTime=_moment(event.at_utc),
        EventOutcomeIndicator=_OUTCOMES[event.outcome],
    )  # fmt: skip
    _code(about, "EventID", event.event)
    if event.kind:
        _code(about, "EventTypeCode", event.kind, event.scheme)
    for one in event.participants:
        attributes = {
            "UserID": _storable(one.user),
            "UserIsRequestor": str(one.is_requestor).lower(),
        }
        if one.address:
            attributes["NetworkAccessPointID"] = _storable(one.address)
            attributes["NetworkAccessPointTypeCode"] = _access_point(one.address)
        who = ET.SubElement(root, "ActiveParticipant", attributes)
        if one.role:
            _code(who, "RoleIDCode", one.role)
    told_by = ET.SubElement(root, "AuditSourceIdentification", AuditSourceID=source.name)
    if source.site:
        told_by.set("AuditEnterpriseSiteID", source.site)
    ET.SubElement(told_by, "AuditSourceTypeCode", {"csd-code": "4"})
    _objects(root, event)
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()


def _objects(root: ET.Element, event: Told) -> None:
    if event.study_uid:
        study = _object(root, event.study_uid, "2", "3", ("110180", "Study Instance UID"))
        if event.sop_class or event.accession_number:
            described = ET.SubElement(study, "ParticipantObjectDescription")
            if event.accession_number:
                ET.SubElement(described, "Accession", Number=event.accession_number)
            if event.sop_class:
                instances = {"UID": event.sop_class, "NumberOfInstances": "1"}
                ET.SubElement(described, "SOPClass", instances)
    if event.patient_id:
        _object(root, event.patient_id, "1", "1", ("2", "Patient Number"), "RFC-3881")
    if event.security_resource:
        log = _object(root, event.security_resource, "2", "13", ("12", "URI"), "RFC-3881")
        ET.SubElement(log, "ParticipantObjectName").text = "Security Audit Log"


def _object(
    root: ET.Element, number: str, kind: str, role: str, id_type: Code, scheme: str = "DCM"
) -> ET.Element:
    made = ET.SubElement(
        root, "ParticipantObjectIdentification",
        ParticipantObjectID=_storable(number), ParticipantObjectTypeCode=kind,
        ParticipantObjectTypeCodeRole=role,
    )  # fmt: skip
    _code(made, "ParticipantObjectIDTypeCode", id_type, scheme)
    return made


def _code(parent: ET.Element, tag: str, code: Code, scheme: str = "DCM") -> None:
    value, meaning = code
    attributes = {"csd-code": value, "codeSystemName": scheme, "originalText": meaning}
    ET.SubElement(parent, tag, attributes)


def _storable(text: str) -> str:
    """Return text without what XML 1.0 cannot hold (2.2, Characters)."""
    return "".join(c if c >= " " or c in "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _moment(at_utc: datetime) -> str:
    return at_utc.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _access_point(address: str) -> str:
    """Return 2 for an IP address, 1 for a machine's name."""
    return "2" if address.replace(".", "").isdigit() or ":" in address else "1"


# --- FHIR -------------------------------------------------------------------------------------


def balp(event: Told, source: Source) -> dict[str, Any]:
    """Return an event as a FHIR R4 AuditEvent."""
    systems = codes.FHIR_TERMINOLOGY
    out: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": event.identifier,
        "type": {"system": _DCM, "code": event.event[0], "display": event.event[1]},
        "action": event.action,
        "recorded": _moment(event.at_utc),
        "outcome": _OUTCOMES[event.outcome],
        "outcomeDesc": event.words,
        "agent": [_agent(one) for one in event.participants],
        "source": {
            "observer": {"identifier": {"value": source.ae_title}, "display": source.name},
            "type": [{"system": f"{systems}/security-source-type", "code": "4"}],
            **({"site": source.site} if source.site else {}),
        },
    }
    if event.kind:
        code, meaning = event.kind
        system = codes.FHIR_SYSTEMS[event.scheme]
        out["subtype"] = [{"system": system, "code": code, "display": meaning}]
    entities = [
        ({"system": codes.FHIR_UIDS, "value": f"urn:oid:{event.study_uid}"}, "2", "3"),
        ({"value": event.patient_id}, "1", "1"),
        ({"value": event.security_resource}, "2", "13"),
    ]
    known = (event.study_uid, event.patient_id, event.security_resource)
    found = [
        {
            "what": {"identifier": identifier},
            "type": {"system": f"{systems}/audit-entity-type", "code": kind},
            "role": {"system": f"{systems}/object-role", "code": role},
        }
        for (identifier, kind, role), text in zip(entities, known, strict=True)
        if text
    ]
    return out | ({"entity": found} if found else {})


def _agent(one: Participant) -> dict[str, Any]:
    out: dict[str, Any] = {
        "who": {"identifier": {"value": one.user}},
        "requestor": one.is_requestor,
    }
    if one.role:
        code, meaning = one.role
        out["type"] = {"coding": [{"system": _DCM, "code": code, "display": meaning}]}
    if one.address:
        out["network"] = {"address": one.address, "type": _access_point(one.address)}
    return out
