"""Manifests: one CSV row an image, as `hipnode phantom` writes them or a hospital does.

Needed columns: ``file`` (DICOM, PNG or JPEG, relative to the manifest) and ``patient_id``. Then, as
a recipe asks for them: ``split`` (train, val or test; else patients are dealt out), ``view``,
``rotation_deg``, and for each side (``right_`` and ``left_``, the patient's) ``box`` as
``x0 y0 x1 y1``, ``label``, ``implant``; ``osteoporosis``; covariates by their own names.

Where several manifests are read as one: ``domain`` says where an image comes from (such as
``real``), and ``draw`` how many fractures and implants of each kind are drawn into its whole hips
at the points in ``right_landmarks`` and ``left_landmarks`` (see `drawn.plan`). ``often`` says how
many times as often as others of its class and domain each hip of a row is learned from, and
``image_often`` the same of the whole image. ``frames`` says how many parts around one hip a gate
learns from beside the whole image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hipnode import tables
from hipnode.domain import Box, Side
from hipnode.errors import InputRefused, ManifestInvalid
from hipnode.imaging import (
    PICTURE_SUFFIXES,
    Canonical,
    as_shown,
    by_header,
    load,
    load_picture,
)
from hipnode.training.samples.drawn.fractures import HipPoints

SPLITS: Final = ("train", "val", "test")
Manifests = Path | Sequence[Path]
"""One manifest, or several that are read as one."""
POINTS: Final = ("head", "neck_base", "greater_trochanter", "lesser_trochanter", "shaft_near")
"""The landmarks that a drawing needs, in the order of `HipPoints`."""


@dataclass(frozen=True, slots=True)
class HipRow:
    """What a manifest says about one hip. ``label`` is "" where it says nothing.

    ``points`` are known where the manifest has landmarks, in the image's pixels.
    """

    side: Side
    box: Box
    label: str
    implant: str
    points: HipPoints | None = None


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
    draw: int
    manifest: Path
    frames: int = 0  # parts around one hip that a gate learns from too
    often: float = 1.0  # each hip, as many times as others of its class and domain
    image_often: float = 1.0  # the image as a whole, likewise

    @property
    def at(self) -> str:
        """Where the row stands, for whoever has to mend it."""
        return f"{self.manifest}, line {self.line}"

    @property
    def domain(self) -> str:
        """Where the image comes from; "" where the manifest does not say."""
        return self.cells.get("domain", "")

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
            raise ManifestInvalid(f"{self.at}: {column} is {text!r}, no number") from None


def read_manifest(manifests: Manifests, *, seed: int = 0) -> list[Row]:
    """Read a manifest, or several as one.

    Parameters
    ----------
    manifests
        The CSV file or files.
    seed
        Deals patients out to splits (8 : 1 : 1) where a manifest has no column ``split``.

    Raises
    ------
    ManifestInvalid
        At the first bad row, with its line and the reason; also if a patient is in two splits.
    """
    paths = [manifests] if isinstance(manifests, Path) else list(manifests)
    rows = [row for path in paths for row in _read(path, seed)]
    where: dict[str, Row] = {}
    for row in rows:
        first = where.setdefault(row.patient, row)
        if first.split != row.split:
            raise ManifestInvalid(
                f"{row.at}: patient {row.patient!r} is in {row.split} here and in {first.split} "
                f"in {first.at}"
            )
    return rows


def name_of(manifests: Manifests) -> str:
    """Return what a message calls them."""
    paths = [manifests] if isinstance(manifests, Path) else manifests
    return ", ".join(path.name for path in paths)


def _read(path: Path, seed: int) -> list[Row]:
    table = tables.read(path)
    table.need("file", "patient_id")
    empty = dict.fromkeys(table.columns, "")
    rows = [_row(path, row.line, empty | row.cells, seed) for row in table.whole()]
    if not rows:
        raise ManifestInvalid(f"{path} has no rows")
    return rows


def _row(path: Path, line: int, text: Mapping[str, str], seed: int) -> Row:
    if not text["file"] or not text["patient_id"]:
        raise ManifestInvalid(f"{path}, line {line}: file or patient_id is empty")
    split = text.get("split") or _deal(text["patient_id"], seed)
    if split not in SPLITS:
        raise ManifestInvalid(f"{path}, line {line}: split {split!r} is none of {SPLITS}")
    draw = text.get("draw") or "0"
    frames = text.get("frames") or "0"
    for column, count in (("draw", draw), ("frames", frames)):
        if not count.isdecimal():
            raise ManifestInvalid(f"{path}, line {line}: {column} is {count!r}, no count")
    hips = [_hip(path, line, text, side, int(draw) > 0) for side in Side]
    return Row(
        line=line,
        file=path.parent / text["file"],
        patient=text["patient_id"],
        split=split,
        view=text.get("view", ""),
        turned=text.get("rotation_deg", "0") not in {"", "0"},
        mirrored=text.get("mirrored", "0") in {"1", "true", "True"},
        hips=tuple(hip for hip in hips if hip is not None),
        cells=text,
        draw=int(draw),
        manifest=path,
        frames=int(frames),
        often=_often(path, line, text, "often"),
        image_often=_often(path, line, text, "image_often"),
    )


def _often(path: Path, line: int, text: Mapping[str, str], column: str) -> float:
    cell = text.get(column) or "1"
    try:
        often = float(cell)
    except ValueError:
        often = -1.0
    if not 0 < often < 1e6:
        raise ManifestInvalid(f"{path}, line {line}: {column} is {cell!r}, no positive number")
    return often


def _hip(path: Path, line: int, text: Mapping[str, str], side: Side, drawn: bool) -> HipRow | None:
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
    try:
        points = _points(text.get(f"{prefix}_landmarks", ""))
    except (KeyError, ValueError):
        points = None
        if drawn:
            raise ManifestInvalid(
                f"{path}, line {line}: to draw, {prefix}_landmarks must have `name:x,y` of "
                + ", ".join(POINTS)
            ) from None
    label, implant = (text.get(f"{prefix}_{name}", "") for name in ("label", "implant"))
    return HipRow(side, box, label, implant, points)


def marks_of(cell: str) -> dict[str, tuple[float, float]]:
    """Return a cell of landmarks (``name:x,y``, with spaces between) by name."""
    found: dict[str, tuple[float, float]] = {}
    for part in cell.split():
        name, _, place = part.partition(":")
        x, y = place.split(",")
        found[name] = float(x), float(y)
    return found


def _points(cell: str) -> HipPoints:
    found = marks_of(cell)
    return HipPoints(*(found[name] for name in POINTS))


def _deal(patient: str, seed: int) -> str:
    """Return a patient's split: the same one for every image, whatever the order of rows."""
    share = int.from_bytes(hashlib.sha256(f"{seed}:{patient}".encode()).digest()[:8], "big") / 2**64
    return "train" if share < 0.8 else "val" if share < 0.9 else "test"


@dataclass(frozen=True, slots=True)
class Seen:
    """A row's image as networks see it: ``pixels`` (rows, columns) float32 in [0, 1], bright bone.

    It is the canonical picture (see `imaging.canonical`); what is stored turned, and so no example
    of an upright view, stays turned.
    """

    pixels: NDArray[np.float32]
    canonical: Canonical

    def hip(self, hip: HipRow) -> HipRow:
        """Return a hip of the row with its box and points in the pixels of this picture."""
        points = hip.points and HipPoints(
            *(self.canonical.place(*at) for at in astuple(hip.points))
        )
        return replace(hip, box=self.canonical.box(hip.box), points=points)


def read_image(row: Row) -> Seen:
    """Return a row's image as networks see it.

    Raises
    ------
    ManifestInvalid
        If the file cannot be read, with the line.
    """
    try:
        picture = row.file.suffix.lower() in PICTURE_SUFFIXES
        header, stored = load_picture(row.file) if picture else load(row.file)
    except InputRefused as error:
        raise ManifestInvalid(f"{row.at}: {row.file}: {error}") from None
    if row.turned:
        canonical = Canonical((stored.rows, stored.columns), 0, row.mirrored, stored.aspect or 1.0)
    else:
        shown = as_shown(stored)
        shown = replace(shown, mirrored=shown.mirrored is not row.mirrored)
        canonical = by_header(header, stored) or shown
    return Seen(canonical.picture(stored.pixels), canonical)
