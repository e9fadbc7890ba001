"""What an evaluation leaves on disk: the table beside the paper's, a model card, and JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from hipnode import DISCLAIMER
from hipnode.nets import BundleSpec
from hipnode.training.judge.figures import Figure
from hipnode.training.pack.card import Card
from hipnode.training.recipe.published import PUBLISHED


def write_report(
    spec: BundleSpec,
    measured: Sequence[Figure],
    elsewhere: Sequence[Figure],
    *,
    source: str,
    external: str,
    left_out: Mapping[str, int],
    notes: Sequence[str],
    out: Path,
) -> None:
    """Write ``report.md``, ``model-card.md`` and ``results.json``.

    Parameters
    ----------
    spec
        The model's.
    measured, elsewhere
        Here, and in another hospital's images (or nothing).
    source, external
        On what, in words.
    left_out
        How many samples were left out, by reason.
    notes
        Of which groups nothing is said, a line each.
    out
        The folder.
    """
    printed = PUBLISHED.get(spec.name, {})
    outside = {one.name: one for one in elsewhere}
    head = ["figure", "here", *(["external"] if outside else []), "the paper"]
    rows = [
        [
            one.name,
            str(one),
            *([str(outside.get(one.name, ""))] if outside else []),
            printed.get(one.name, ""),
        ]
        for one in measured
    ]
    lines = [
        f"# {spec.name} {spec.version}",
        "",
        f"**{DISCLAIMER}.** {spec.card}",
        "",
        f"sha256 {spec.digest}; {source}." + (f" External: {external}." if external else ""),
        "",
        "The paper's figures are of other images: they stand here for the order of magnitude.",
        "",
        f"| {' | '.join(head)} |",
        "| --- " * len(head) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        *_counts(out / "confusion.csv", "Counts"),
        *_counts(out / "external" / "confusion.csv", "Counts, external"),
        *(f"Left out: {count} of {why}.  " for why, count in left_out.items()),
        *(f"{line}.  " for line in notes),
    ]
    (out / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / "model-card.md").write_text(
        _card(spec, measured, elsewhere, source, external).markdown()
    )
    document = {
        "model": asdict(spec.ref),
        "operating_point": asdict(spec.operating_point),
        "class_thresholds": dict(spec.class_thresholds),
        "source": source,
        "left_out": dict(left_out),
        "figures": {one.name: [one.value, one.low, one.high] for one in measured},
        "external": {one.name: [one.value, one.low, one.high] for one in elsewhere},
        "published": printed,
    }
    (out / "results.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _counts(path: Path, title: str) -> list[str]:
    """Return a confusion table (rows: what was true) as Markdown; nothing where there is none."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    table = [f"| {' | '.join(row)} |" for row in rows]
    return [f"{title}:", "", f"| {' | '.join(head)} |", "| --- " * len(head) + "|", *table, ""]


def _card(
    spec: BundleSpec,
    measured: Sequence[Figure],
    elsewhere: Sequence[Figure],
    source: str,
    external: str,
) -> Card:
    return Card(
        title=f"{spec.name} {spec.version}",
        paper=spec.name.split("-")[0],
        purpose=spec.card,
        network=f"{spec.network} {spec.arguments}",
        data=spec.trained_on,
        training=f"sha256 {spec.digest}",
        figures={(one.name, source): str(one) for one in measured}
        | {(one.name, external): str(one) for one in elsewhere},
        limits=("Figures hold for images like those they were measured on, and no others.",),
    )
