"""Manifests: one CSV row an image, as `hipnode phantom` writes them or a hospital does.

Needed columns: ``file`` (DICOM, PNG or JPEG, relative to the manifest) and ``patient_id``. Then, as
a recipe asks for them: ``split`` (train, val or test; else patients are dealt out), ``view``,
``rotation_deg``, and for each side (``right_`` and ``left_``, the patient's) ``box`` as
``x0 y0 x1 y1``, ``label``, ``implant``; ``osteoporosis``; covariates by their own names.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hipnode.domain import Box, Side
from hipnode.errors import InputRefused, ManifestInvalid
from hipnode.imaging import PICTURE_SUFFIXES, load, load_picture

SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class HipRow:
    """What a manifest says about one hip. ``label`` is "" where it says nothing."""

    side: Side
    box: Box
    label: str
    implant: str


@dataclass(frozen=True, slots=True)
class Row:
    """One image. ``cells`` are all of its columns, as text."""

    line: int
    file: Path
    patient: str
    split: str
    view: str
    turned: bool  # not stored upright
    mirrored: bool
    hips: tuple[HipRow, ...]
    cells: Mapping[str, str]

    def number(self, column: str) -> float:
        """Return a covariate; sex counts 1 for a man.

        Raises
        ------
        ManifestInvalid
            If the cell is no number, with the line.
        """
        text = self.cells.get(column, "").strip()
        if column == "sex" and text.upper() in {"F", "M"}:
            return float(text.upper() == "M")
        try:
            return float(text)
        except ValueError:
            raise ManifestInvalid(f"line {self.line}: {column} is {text!r}, no number") from None


def read_manifest(path: Path, *, seed: int = 0) -> list[Row]:
    """Read a manifest.

    Parameters
    ----------
    path
        The CSV file.
    seed
        Deals patients out to splits (8 : 1 : 1) where the manifest has no column ``split``.

    Raises
    ------
    ManifestInvalid
        At the first bad row, with its line and the reason; also if a patient is in two splits.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = set(reader.fieldnames or ())
            if missing := {"file", "patient_id"} - columns:
                raise ManifestInvalid(f"{path} has no column {', '.join(sorted(missing))}")
            rows = [_row(path, number, cells, seed) for number, cells in enumerate(reader, 2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestInvalid(f"{path} cannot be read: {error}") from None
    if not rows:
        raise ManifestInvalid(f"{path} has no rows")
    where: dict[str, Row] = {}
    for row in rows:
        first = where.setdefault(row.patient, row)
        if first.split != row.split:
            raise ManifestInvalid(
                f"{path}, line {row.line}: patient {row.patient!r} is in {row.split} here and in "
                f"{first.split} in line {first.line}"
            )
    return rows


def _row(path: Path, line: int, cells: Mapping[str, str | None], seed: int) -> Row:
    text = {str(k): (v or "").strip() for k, v in cells.items() if k is not None}
    if None in cells:
        raise ManifestInvalid(f"{path}, line {line} has more cells than the header")
    if not text["file"] or not text["patient_id"]:
        raise ManifestInvalid(f"{path}, line {line}: file or patient_id is empty")
    split = text.get("split") or _deal(text["patient_id"], seed)
    if split not in SPLITS:
        raise ManifestInvalid(f"{path}, line {line}: split {split!r} is none of {SPLITS}")
    return Row(
        line=line,
        file=path.parent / text["file"],
        patient=text["patient_id"],
        split=split,
        view=text.get("view", ""),
        turned=text.get("rotation_deg", "0") not in {"", "0"},
        mirrored=text.get("mirrored", "0") in {"1", "true", "True"},
        hips=tuple(hip for side in Side if (hip := _hip(path, line, text, side)) is not None),
        cells=text,
    )


def _hip(path: Path, line: int, text: Mapping[str, str], side: Side) -> HipRow | None:
    prefix = side.word.lower()
    cell = text.get(f"{prefix}_box", "")
    if not cell:
        return None
    try:
        x0, y0, x1, y1 = (int(float(part)) for part in cell.split())
        box = Box(x0, y0, x1, y1)
    except ValueError:
        raise ManifestInvalid(
            f"{path}, line {line}: {prefix}_box is {cell!r}, not `x0 y0 x1 y1` of a box"
        ) from None
    return HipRow(side, box, text.get(f"{prefix}_label", ""), text.get(f"{prefix}_implant", ""))


def _deal(patient: str, seed: int) -> str:
    """Return a patient's split: the same one for every image, whatever the order of rows."""
    share = int.from_bytes(hashlib.sha256(f"{seed}:{patient}".encode()).digest()[:8], "big") / 2**64
    return "train" if share < 0.8 else "val" if share < 0.9 else "test"


def read_pixels(row: Row) -> NDArray[np.float32]:
    """Return a row's image (rows, columns) float32 in [0, 1], bright bone.

    Raises
    ------
    ManifestInvalid
        If the file cannot be read, with the line.
    """
    try:
        if row.file.suffix.lower() in PICTURE_SUFFIXES:
            return load_picture(row.file)[1].pixels
        return load(row.file)[1].pixels
    except InputRefused as error:
        raise ManifestInvalid(f"line {row.line}: {row.file}: {error}") from None
