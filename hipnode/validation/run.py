"""From labels and readings to the report, and on to a model set with a site's own thresholds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from hipnode import __version__
from hipnode.domain import Finding, Task
from hipnode.errors import BundleRefused, StorageUnavailable
from hipnode.services.worker import reader
from hipnode.validation import figures, page, report, thresholds
from hipnode.validation.apply import Applied, apply
from hipnode.validation.cases import Gathered
from hipnode.validation.gallery import Locate, gallery
from hipnode.validation.outcomes import Counted, Unit, count

_BY_PATIENT: Final = (
    "95 % intervals are by patient (a bootstrap that draws patients, or Wilson's where each is "
    "there once)"
)
_BY_IMAGE: Final = (
    "95 % intervals are Wilson's, over images: patients are not known of all of them, and images "
    "of one patient count as if they were of several"
)


@dataclass(frozen=True)
class Wanted:
    """What is asked for."""

    source: str
    labels: str
    read_now: bool
    false_alarms: float
    definite_false_alarms: float
    gallery: int  # pictures of each kind; 0 for none
    apply_to: Path | None = None


@dataclass(frozen=True)
class Done:
    """The report, and the model set that was written, or why it was not."""

    report: report.Report
    applied: Applied | None = None
    refused: str = ""


def validate(
    gathered: Gathered,
    wanted: Wanted,
    spec: reader.ReaderSpec,
    locate: Locate,
    references: dict[str, str],
) -> Done:
    """Count, choose thresholds, and put everything together.

    Parameters
    ----------
    gathered
        Images with labels and readings.
    wanted
        What is asked for.
    spec, locate
        How pictures of the gallery are decoded, and where they lie.
    references
        The name or file of each model set, by digest.
    """
    counted = count(gathered)
    images = counted.images
    made = _report(counted, gathered, wanted)
    made = _with_thresholds(made, images, wanted)
    applied, refused = None, ""
    if wanted.apply_to is not None and made.proposal is not None:
        try:
            applied = _apply(made, images, references, wanted.apply_to)
            said = f"They stand in the model set {applied.path.name}, sha256 {applied.digest}."
        except BundleRefused as error:
            refused = str(error)
            said = f"They were not written: {refused}."
        made = replace(made, applied=said)
    if wanted.gallery:
        made = replace(made, gallery=gallery(images, spec, locate, wanted.gallery))
    return Done(made, applied, refused)


def _report(counted: Counted, gathered: Gathered, wanted: Wanted) -> report.Report:
    images = counted.images
    named = (("Images", images), ("Hips", counted.hips), ("Studies", counted.studies))
    patients = len({unit.patient for unit in images})
    known = f"{patients}, {len(images)} images" if counted.patients_known else "not known of all"
    return report.Report(
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        source=wanted.source,
        labels=wanted.labels,
        patients=known,
        models=tuple(_models(images)),
        intervals=_BY_PATIENT if counted.patients_known else _BY_IMAGE,
        read_now=wanted.read_now,
        parts=tuple(figures.part(name, units) for name, units in named if units)
        or (figures.part("Images", ()),),
        groups=figures.groups(images),
        reasons=figures.reasons(images),
        unused=counted.unused,
        unlabelled=gathered.unlabelled,
        images=images,
    )


def _findings(images: Sequence[Unit]) -> list[Finding]:
    return [
        finding
        for unit in images
        if unit.case and unit.case.reading
        for hip in unit.case.reading.hips
        for finding in hip.findings
        if finding.task is Task.HIP_FRACTURE
    ]


def _models(images: Sequence[Unit]) -> list[str]:
    """Return each model set, each fracture model in it, and what it is set to, in words."""
    sets = Counter(
        (unit.case.reading.model_set, unit.case.reading.model_set_digest)
        for unit in images
        if unit.case and unit.case.reading
    )
    models = {
        f"{f.model.name} {f.model.version} (sha256 {f.model.digest[:12]}), doubtful from "
        f"{f.operating_point.doubtful_from:g}, definite from {f.operating_point.present_from:g}"
        for f in _findings(images)
    }
    return [
        *(f"model set {name} (sha256 {digest[:12]}): {n} images" for (name, digest), n in
          sets.most_common()),
        *sorted(models),
    ]  # fmt: skip


def _with_thresholds(made: report.Report, images: Sequence[Unit], wanted: Wanted) -> report.Report:
    why = thresholds.cannot_choose(images, (wanted.false_alarms,))
    found = _findings(images)
    if not why and len({finding.model.digest for finding in found}) > 1:
        why = "Several fracture models read these images: each has thresholds of its own."
    if not why and not found:
        why = "No fracture model spoke of any image."
    if why:
        return replace(made, no_proposal=why)
    at = partial(thresholds.at, images)
    choices = [
        at(rate, thresholds.threshold_for(images, rate))
        for rate in sorted({*thresholds.RATES, wanted.false_alarms})
        if rate * made.parts[0].intact.total >= 1
    ]
    now = found[0].operating_point.doubtful_from
    return replace(
        made,
        choices=tuple(choices),
        as_set=at(0.0, now),
        proposal=thresholds.propose(images, wanted.false_alarms, wanted.definite_false_alarms),
    )


def _apply(
    made: report.Report, images: Sequence[Unit], references: dict[str, str], out: Path
) -> Applied:
    proposal = made.proposal
    if proposal is None:
        raise ValueError("there is nothing to apply")
    finding = _findings(images)[0]
    digest = next(
        unit.case.reading.model_set_digest
        for unit in images
        if unit.case and unit.case.reading and unit.case.reading.hips
    )
    return apply(
        references[digest],
        finding.model.digest,
        out,
        doubtful_from=proposal.doubtful.threshold,
        present_from=proposal.definite.threshold,
        chosen_on=proposal.chosen_on(made.made[:10]),
    )


def write(made: report.Report, out: Path) -> Path:
    """Write the page and what goes with it, for their owner's eyes alone; return the page's path.

    Raises
    ------
    StorageUnavailable
        If the folder cannot be written to.
    """
    files = {
        "index.html": page.write(made),
        "results.json": report.to_json(made),
        "images.csv": report.to_csv(made.images),
    }
    try:
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, content in files.items():
            (out / name).unlink(missing_ok=True)
            with open(out / name, "x", encoding="utf-8", opener=_private) as file:
                file.write(content)
    except OSError as error:
        raise StorageUnavailable.of(error) from error
    return out / "index.html"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
