"""What goes on the audit log about a reading: codes, numbers and digests."""

from __future__ import annotations

from typing import Any

from hipnode.domain import Reading


def reading_facts(made: Reading) -> dict[str, Any]:
    """Return what was found, with which models and thresholds."""
    facts: dict[str, Any] = {
        "model_set": made.model_set,
        "model_set_digest": made.model_set_digest,
        "timings_ms": made.timings_ms,
    }
    if made.abstention is not None:
        return facts | {"abstained": made.abstention.reason, "why": made.abstention.detail}
    hips = []
    for hip in made.hips:
        facts_of_hip: dict[str, Any] = {"side": hip.roi.side}
        if hip.abstention is not None:
            facts_of_hip["abstained"] = hip.abstention.reason
        facts_of_hip["findings"] = [
            {
                "task": finding.task,
                "label": finding.label,
                "p_positive": round(finding.p_positive, 6),
                "decision": finding.decision,
                "operating_point": finding.operating_point.name,
                "doubtful_from": finding.operating_point.doubtful_from,
                "present_from": finding.operating_point.present_from,
                "model": finding.model.name,
                "model_digest": finding.model.digest,
                "shadow": finding.shadow,
            }
            for finding in hip.findings
        ]
        hips.append(facts_of_hip)
    return facts | {"hips": hips}
