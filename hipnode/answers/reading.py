"""A reading as one JSON document. Its keys are stable: programs of others rely on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hipnode import DISCLAIMER
from hipnode.domain import HipReading, Reading


def document(path: Path, reading: Reading) -> dict[str, Any]:
    """Return the JSON document of one image; its keys are stable."""
    return {
        "file": str(path),
        "sop_instance_uid": reading.sop_instance_uid,
        "abstained": reading.abstention.reason.value if reading.abstention else None,
        "detail": reading.abstention.detail if reading.abstention else "",
        "attention": reading.attention.value,
        "view": reading.view.value if reading.view else None,
        "missing": reading.missing.value if reading.missing else None,
        "frame": reading.frame,
        "frames": reading.frames,
        "hips": [_hip_document(hip) for hip in reading.hips],
        "unused": [{"name": each.name, "reason": each.reason} for each in reading.unused],
        "notes": list(reading.notes),
        "model_set": reading.model_set,
        "model_set_digest": reading.model_set_digest,
        "disclaimer": DISCLAIMER,
    }


def _hip_document(hip: HipReading) -> dict[str, Any]:
    box = hip.roi.box
    base = {
        "side": hip.roi.side.value,
        "box": [box.x0, box.y0, box.x1, box.y1],
        "verdict": hip.verdict.value,
        "attention": hip.attention.value,
        "caveats": [caveat.value for caveat in hip.caveats],
        "unasked": [task.value for task in hip.unasked],
        "abstained": hip.abstention.reason.value if hip.abstention else None,
        "detail": hip.abstention.detail if hip.abstention else "",
        "probabilities": None,
        "decision": None,
        "operating_point": None,
        "findings": [],
    }
    findings = [
        {
            "task": f.task.value,
            "label": f.label,
            "probabilities": f.probabilities,
            "p_positive": f.p_positive,
            "p_alone": f.p_alone,
            "distance": f.distance,
            "decision": f.decision.value,
            "nhfd": f.nhfd or None,
            "operating_point": {
                "name": f.operating_point.name,
                "doubtful_from": f.operating_point.doubtful_from,
                "present_from": f.operating_point.present_from,
                "equivocal_from": f.operating_point.equivocal_from,
                "equivocal_to": f.operating_point.equivocal_to,
            },
            "model": f.model.name,
            "model_version": f.model.version,
            "model_digest": f.model.digest,
            "covariates": [
                {
                    "name": known.name,
                    "value": known.value,
                    "unit": known.unit,
                    "source": known.source.value,
                    "measured": known.measured,
                }
                for known in f.covariates
            ],
        }
        for f in hip.findings
    ]
    if findings:  # the first is the fracture classifier's: what most callers want
        first = {k: findings[0][k] for k in ("probabilities", "decision", "operating_point")}
        return base | first | {"findings": findings}
    return base
