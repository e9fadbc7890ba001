"""The report as an HL7 v2 message, ORU^R01, for a RIS.

Its identifier (MSH-10) follows from the content, so that a message that is sent twice is known as
the same. Results are preliminary (OBR-25, OBX-11): no physician has seen them.

References
----------
HL7 v2.5.1, 7.3.1 (ORU^R01), 7.4.1 (OBR), 7.4.2 (OBX), 2.7 (escapes), 3.4.2 (PID), 2.A.89 (XPN).
PS3.5 6.2.1 (Person Name).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydicom.dataset import Dataset

from hipnode import codes
from hipnode.codes import Concept
from hipnode.domain import TASKS, Attention, Decision, ResultKind
from hipnode.reporting.envelope import local_now
from hipnode.reporting.notice import message_uid
from hipnode.reporting.ranking import attention_of, statements
from hipnode.reporting.request import BuiltMessage
from hipnode.reporting.study import Study
from hipnode.reporting.terms import HIP_NOT_ASSESSED, PRESENCE, answer, reason_of
from hipnode.reporting.words import (
    headline,
    hip_sentences,
    phrases_of,
    provenance,
    scope,
    unreviewed,
)

_ESCAPES: Final = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
_ABNORMAL: Final = {Attention.NOW: "AA", Attention.SOON: "A", Attention.ROUTINE: "N"}
"""OBX-8, Abnormal Flags (table 0078): very abnormal, abnormal, normal."""
_ID_CHARACTERS: Final = 20
"""Of MSH-10, which may have no more (HL7 v2.5.1, 2.15.9.10)."""


def oru(study: Study) -> BuiltMessage:
    """Return the message of a study; the courier adds to whom it goes (MSH-5, 6 and 11)."""
    uid = message_uid(study, ResultKind.ORU)
    segments = [_msh(study, uid), _pid(study.newest), _obr(study), *_observations(study)]
    content = "".join(f"{segment}\r" for segment in segments)
    return BuiltMessage(
        ResultKind.ORU, content.encode(), uid, study.notes, str(study.newest.PatientID)
    )


def escaped(text: object) -> str:
    """Return text as a component holds it: on one line, delimiters escaped."""
    line = " ".join(str(text).split())
    return "".join(_ESCAPES.get(character, character) for character in line)


def _segment(*fields: str) -> str:
    return "|".join(fields).rstrip("|")


def _coded(concept: Concept) -> str:
    parts = (concept.value, concept.meaning, concept.scheme)
    return "^".join(escaped(part) for part in parts)


def _moment(study: Study) -> str:
    now = local_now(study)
    return now.strftime("%Y%m%d%H%M%S%z")


def _msh(study: Study, uid: str) -> str:
    node = study.request.node
    return _segment(
        "MSH", "^~\\&", escaped(node.name), escaped(node.institution), "", "", _moment(study), "",
        "ORU^R01^ORU_R01", codes.short_id(uid, _ID_CHARACTERS), "P", "2.5.1", "", "", "", "", "",
        "UNICODE UTF-8",
    )  # fmt: skip


def _pid(first: Dataset) -> str:
    """Return the patient; DICOM and HL7 have prefix and suffix of a name in another order."""
    groups = str(first.get("PatientName") or "").split("=")
    name = (next((g for g in groups if g), "").split("^") + [""] * 5)[:5]
    family, given, middle, prefix, suffix = (escaped(part) for part in name)
    issuer = escaped(first.get("IssuerOfPatientID") or "")
    return _segment(
        "PID", "1", "", f"{escaped(first.get('PatientID') or '')}^^^{issuer}".rstrip("^"), "",
        f"{family}^{given}^{middle}^{suffix}^{prefix}".rstrip("^"), "",
        escaped(first.get("PatientBirthDate") or ""),
        sex if (sex := str(first.get("PatientSex") or "")) in ("M", "F", "O") else "U",
    )  # fmt: skip


def _obr(study: Study) -> str:
    first = study.newest
    asked = next(iter(first.get("RequestAttributesSequence") or []), Dataset())
    placer = escaped(asked.get("PlacerOrderNumberImagingServiceRequest") or "")
    accession = escaped(asked.get("AccessionNumber") or first.get("AccessionNumber") or "")
    filler = escaped(asked.get("FillerOrderNumberImagingServiceRequest") or "") or accession
    when = f"{first.get('StudyDate') or ''}{first.get('StudyTime') or ''}".split(".")[0]
    fields = dict.fromkeys(range(1, 26), "")
    fields |= {1: "1", 2: placer, 3: filler, 4: _coded(study.procedure), 7: escaped(when)}
    fields |= {18: accession, 22: _moment(study), 25: "P"}
    return _segment("OBR", *fields.values())


def _observations(study: Study) -> Iterator[str]:
    """Yield what is observed: when to look, in words, then in codes."""
    request, phrases = study.request, phrases_of(study.request)
    sources, when = request.sources, attention_of(request.sources)
    rows: list[tuple[str, Concept, str, str]] = [
        ("CWE", codes.ATTENTION, "", _coded(codes.ATTENTIONS[when.value])),
        ("TX", codes.IMPRESSION, "", escaped(headline(sources, phrases))),
    ]
    rows += [("TX", codes.FINDING, "", escaped(s)) for s in hip_sentences(sources, phrases)]
    rows += list(_in_codes(study))
    rows.append(("ST", codes.STUDY_INSTANCE_UID, "", escaped(study.newest.StudyInstanceUID)))
    last = (scope(sources, phrases), *provenance(request), unreviewed(phrases))
    rows += [("TX", codes.COMMENT, "", escaped(line)) for line in last if line]
    for number, (kind, name, sub_id, value) in enumerate(rows, start=1):
        flag = _ABNORMAL[when] if name is codes.IMPRESSION else ""
        fields = (str(number), kind, _coded(name), sub_id, value, "", "", flag, "", "", "P")
        yield _segment("OBX", *fields)


def _in_codes(study: Study) -> Iterator[tuple[str, Concept, str, str]]:
    """Yield each statement about a hip; OBX-4 is its side and image, as ``R.1``."""
    for said in statements(study.request.sources):
        sub_id = f"{said.side.value.replace('?', 'U')}.{said.image}"
        finding = said.finding
        if finding is None:
            missing = said.reason is None
            why = codes.HIP_MISSING if missing else reason_of(said.reason)
            yield "CWE", HIP_NOT_ASSESSED[said.side], sub_id, _coded(why)
            continue
        terms = TASKS[finding.task]
        yield "CWE", terms.question, sub_id, _coded(PRESENCE[finding.decision])
        if finding.decision in {Decision.PRESENT, Decision.EQUIVOCAL}:
            yield "CWE", codes.FINDING, sub_id, _coded(answer(finding))
