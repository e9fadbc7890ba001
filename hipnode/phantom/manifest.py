"""The truth of many images as one CSV file, and back.

One row an image. Columns: ``file``, ``implant_mask`` (a PNG that is white where metal is; empty
where there is none), the fields of ``Truth`` by name, ``marker_box``, and for each side
``right_...`` and ``left_...`` the fields of ``HipTruth``: empty where the hip is not shown.
Boxes read ``x0 y0 x1 y1``, half-open, in pixels of the stored image; points ``x,y``; truth values
1 or 0.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hipnode.domain import Box
from hipnode.errors import ManifestInvalid
from hipnode.phantom.truth import Truth


@dataclass(frozen=True, slots=True)
class Made:
    """An image on disk: names of files in the manifest's folder, and its truth."""

    file: str
    truth: Truth
    implant_mask: str = ""


def write_manifest(path: Path, rows: Iterable[Made]) -> None:
    """Write the truth of these images as CSV."""
    table = [
        {"file": made.file, "implant_mask": made.implant_mask, **made.truth.row()} for made in rows
    ]
    if not table:
        raise ManifestInvalid("a manifest without images")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def read_manifest(path: Path) -> list[dict[str, str]]:
    """Return the rows as they were written."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def parse_box(cell: str) -> Box | None:
    """Return the box in a cell, or None where it is empty."""
    if not cell:
        return None
    try:
        return Box(*(int(v) for v in cell.split()))
    except (TypeError, ValueError) as error:
        raise ManifestInvalid(f"{cell!r} is no box") from error
