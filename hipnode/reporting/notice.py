"""What a study came to, as a short JSON document for whoever must act: no picture, no name.

References
----------
RFC 8259 (JSON).
"""

from __future__ import annotations

import json
from typing import Any

from hipnode import codes
from hipnode.domain import ResultKind
from hipnode.reporting.envelope import local_now
from hipnode.reporting.ranking import Statement, attention_of, flag_of, statements
from hipnode.reporting.request import BuiltMessage, fingerprint
from hipnode.reporting.study import Study
from hipnode.reporting.words import headline, hip_sentences, phrases_of


def message_uid(study: Study, kind: ResultKind) -> str:
    """Return what a message is known by: the same content has the same."""
    return codes.derive_uid(
        "message", kind.value, fingerprint(study.request), study.newest.to_json()
    )


def notice(study: Study) -> BuiltMessage:
    """Return the document of a study."""
    request, first = study.request, study.newest
    phrases, uid = phrases_of(request), message_uid(study, ResultKind.NOTICE)
    document = {
        "id": uid,
        "type": "hip.report",
        "made": local_now(study).isoformat(timespec="seconds"),
        "study_instance_uid": str(first.StudyInstanceUID),
        "accession_number": str(first.get("AccessionNumber") or ""),
        "version": request.version,
        "attention": attention_of(request.sources).value,
        "outcome": flag_of(request.sources).value,
        "language": request.language,
        "headline": headline(request.sources, phrases),
        "sentences": hip_sentences(request.sources, phrases),
        "hips": [_said(statement) for statement in statements(request.sources)],
        "node": request.node.name,
        "software": request.node.software_version,
        "disclaimer": phrases.disclaimer,
    }
    content = json.dumps(document, ensure_ascii=False, indent=1).encode()
    return BuiltMessage(ResultKind.NOTICE, content, uid, study.notes, str(study.newest.PatientID))


def _said(statement: Statement) -> dict[str, Any]:
    """Return one statement in codes: a finding, or why there is none."""
    said: dict[str, Any] = {"side": statement.side.value, "image": statement.image}
    finding = statement.finding
    if finding is None:
        return said | {"not_assessed": statement.reason or "hip_not_found"}
    return said | {
        "task": finding.task.value,
        "decision": finding.decision.value,
        "label": finding.label,
        "caveats": [caveat.value for caveat in statement.caveats],
        "model": finding.model.name,
        "model_version": finding.model.version,
        "model_digest": finding.model.digest,
    }
