"""All that a validation found, and the files that it leaves: a page, a table, and JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from io import StringIO
from typing import Any

import numpy as np

from hipnode import DISCLAIMER
from hipnode.training.stats.estimates import Share
from hipnode.validation.figures import Group, Part, Row
from hipnode.validation.gallery import Gallery
from hipnode.validation.labels import Unused
from hipnode.validation.outcomes import Unit
from hipnode.validation.thresholds import Choice, Proposal


@dataclass(frozen=True)
class Report:
    """What the page says; ``parts`` begins with the images."""

    made: str
    version: str
    source: str
    labels: str
    patients: str
    models: tuple[str, ...]
    intervals: str
    read_now: bool
    parts: tuple[Part, ...]
    groups: dict[str, list[Group]]
    reasons: list[tuple[str, str, int, int]]
    choices: tuple[Choice, ...] = ()
    as_set: Choice | None = None
    proposal: Proposal | None = None
    no_proposal: str = ""
    applied: str = ""
    gallery: Gallery | None = None
    unused: tuple[Unused, ...] = ()
    unlabelled: int = 0
    images: tuple[Unit, ...] = field(default=(), repr=False)


def document(report: Report) -> dict[str, Any]:
    """Return the figures as plain values; the keys are stable."""
    proposal = report.proposal
    return {
        "disclaimer": DISCLAIMER,
        "made": report.made,
        "hipnode": report.version,
        "models": list(report.models),
        "intervals": report.intervals,
        "parts": {part.name.lower(): _part(part) for part in report.parts},
        "groups": {
            name: {g.name: {"broken": _row(g.broken), "intact": _row(g.intact)} for g in groups}
            for name, groups in report.groups.items()
        },
        "proposal": None
        if proposal is None
        else {
            "doubtful_from": proposal.doubtful.threshold,
            "present_from": proposal.definite.threshold,
            "false_alarms": _share(proposal.doubtful.false_alarms),
            "sensitivity": _share(proposal.doubtful.sensitivity),
            "held_out_false_alarms": _share(proposal.held_out_alarms),
            "held_out_sensitivity": _share(proposal.held_out_sensitivity),
        },
        "no_proposal": report.no_proposal,
        "unlabelled": report.unlabelled,
        "unused": [asdict(one) for one in report.unused],
    }


def _part(part: Part) -> dict[str, Any]:
    curves, calibration = part.curves, part.calibration
    return {
        "broken": _row(part.broken),
        "intact": _row(part.intact),
        "too_few": part.too_few,
        "auc": None if curves is None else [curves.auc.value, curves.auc.low, curves.auc.high],
        "average_precision": None if curves is None else curves.average_precision,
        "calibration_error": None if calibration is None else calibration.error,
    }


def _row(row: Row) -> dict[str, Any]:
    shares = {name: _share(one) for name, one in row.shares.items()} if row.total else {}
    return {
        "total": row.total,
        "said": {said.value: count for said, count in row.counts.items()},
        "shares": shares,
    }


def _share(share: Share) -> dict[str, Any]:
    estimate = share.estimate
    interval = [estimate.low, estimate.high]
    return {
        "count": share.count,
        "of": share.of,
        "value": None if np.isnan(estimate.value) else estimate.value,
        "interval": None if np.isnan(estimate.value) else interval,
        "by_patient": share.by_patient,
    }


def to_json(report: Report) -> str:
    """Return ``results.json``."""
    return json.dumps(document(report), indent=2) + "\n"


def to_csv(images: Sequence[Unit]) -> str:
    """Return ``images.csv``: one row an image, in the order of the labels."""
    out = StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["image", "label", "said", "why", "p_judged", "suspected_from", "at"])
    for unit in images:
        scores = unit.scores
        writer.writerow(
            [
                unit.name,
                int(unit.broken),
                unit.said.value,
                unit.why,
                "" if scores.p is None else scores.p,
                "" if scores.suspected is None else scores.suspected,
                unit.case.label.at if unit.case else "",
            ]
        )
    return out.getvalue()
