"""From a manifest to what a network learns from, kept on disk as uint16 arrays."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hipnode.domain import Box
from hipnode.errors import ManifestInvalid
from hipnode.imaging import PreprocessSpec, square_around
from hipnode.training.recipe.plan import Plan
from hipnode.training.recipe.recipe import Recipe
from hipnode.training.samples.batches import Samples
from hipnode.training.samples.drawn.plan import Drawing, draw_into, drawings, turn
from hipnode.training.samples.manifest import HipRow, Row, read_image
from hipnode.training.samples.transforms import sample

PLACES: Final = ("no_fracture", "intracapsular", "extracapsular")
"""Gale 2017, 3.1: what the secondary loss tells apart."""
_PLACE_OF: Final = {
    "no_fracture": 0,
    "intracapsular": 1,
    "extracapsular": 2,
    "trochanteric": 2,
    "subtrochanteric": 2,
}


class Learns(Protocol):
    """What is asked of an image: a recipe, or the spec of a bundle."""

    @property
    def role(self) -> str: ...

    @property
    def labels(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Item:
    """One thing to learn from: an image, or a hip of it, and what it is."""

    row: Row
    hip: HipRow | None
    target: int  # index of the label; 0 where the target is a mask
    place: int = -1  # index in PLACES; -1 where it is not known
    drawn: Drawing | None = None  # what is drawn into it


@dataclass(frozen=True)
class Split:
    """The samples of one split, and where each came from."""

    samples: Samples
    items: tuple[Item, ...]
    left_out: dict[str, int]

    @property
    def patients(self) -> list[str]:
        """Whose each sample is."""
        return [item.row.patient for item in self.items]


def items(recipe: Learns, rows: Sequence[Row]) -> tuple[list[Item], Counter[str]]:
    """Return what of the rows a recipe learns from, and why the rest is left out."""
    found: list[Item] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        for item in _of_row(recipe, row):
            if isinstance(item, Item):
                found.append(item)
            else:
                left_out[item] += 1
    return found, left_out


def _of_row(recipe: Learns, row: Row) -> Iterator[Item | str]:
    frontal = row.view in {"", "frontal"} and not row.turned
    if recipe.role == "gate":
        yield Item(row, None, int(frontal))
    elif recipe.role == "risk":  # the whole scan of one hip, from a densitometer
        target = risk_of(recipe, row)
        yield Item(row, None, target) if isinstance(target, int) else target
    elif not frontal:
        yield "not an upright frontal view"
    elif recipe.role == "localiser":
        if by_halves(recipe):
            yield from (Item(row, hip, 0) for hip in row.hips)
        else:
            yield Item(row, None, 0) if row.hips else "no hip box"
    else:
        for hip in row.hips:
            target = label_of(recipe, row, hip)
            place = _PLACE_OF.get(hip.label, -1)
            yield Item(row, hip, target, place) if isinstance(target, int) else target


def label_of(recipe: Learns, row: Row, hip: HipRow) -> int | str:
    """Return a hip's class, or why it has none for this recipe.

    Raises
    ------
    ManifestInvalid
        If a cell that the recipe needs is missing, with the line.
    """
    if recipe.role == "metal":
        return int(bool(hip.implant))
    if hip.implant:
        return "a hip with an implant"
    if recipe.role == "fracture":
        label = hip.label
        if not label:
            raise ManifestInvalid(f"{row.at}: the {hip.side.word.lower()} hip has no label")
        if set(recipe.labels) == {"no_fracture", "fracture"} and label != "no_fracture":
            label = "fracture"
        return recipe.labels.index(label) if label in recipe.labels else f"a hip labelled {label}"
    cell = row.cells.get(recipe.role, "")
    if cell in recipe.labels:
        return recipe.labels.index(cell)
    if cell not in {"0", "1"} or len(recipe.labels) != 2:
        raise ManifestInvalid(f"{row.at}: {recipe.role} is {cell!r}")
    return int(cell)


def risk_of(recipe: Learns, row: Row) -> int | str:
    """Return a patient's risk class: the cell ``risk``, else after the cell ``past_fractures``.

    Raises
    ------
    ManifestInvalid
        If both are missing or wrong, with the line.

    References
    ----------
    DXA 2023, "Falls and fracture definitions": low without, moderate with one, high with two or
    more earlier fractures.
    """
    cell = row.cells.get("risk", "")
    if not cell and row.cells.get("past_fractures", ""):
        cell = recipe.labels[min(int(row.number("past_fractures")), len(recipe.labels) - 1)]
    if cell not in recipe.labels:
        raise ManifestInvalid(f"{row.at}: risk is {cell!r}, none of {recipe.labels}")
    return recipe.labels.index(cell)


def gather(
    recipe: Recipe,
    rows: Sequence[Row],
    split: str,
    cache: Path,
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> Split:
    """Return a split, decoded once and then read from the cache.

    Parameters
    ----------
    recipe, rows
        What to learn, from what.
    split
        ``train``, ``val`` or ``test``.
    cache
        The folder of the arrays; its files are named after what they hold.
    tell
        Is given how many of how many are done.

    Raises
    ------
    ManifestInvalid
        If a file cannot be read or a needed cell is missing, with the line.
    """
    here = [row for row in rows if row.split == split]
    wanted = [row for row in here if _wanted(recipe.hips, row)]
    whole, left_out = items(recipe, wanted)
    if len(wanted) < len(here):
        left_out[f"not an image of {recipe.hips} hips"] = len(here) - len(wanted)
    chosen = [one for item in whole for one in (item, *_drawn(recipe, item))]
    images, masks = store(recipe, chosen, cache / split, tell)
    targets: NDArray[Any] = np.array([item.target for item in chosen], np.int64)
    domains = [item.row.domain for item in chosen]
    even = recipe.balance or recipe.domain_shares
    classes = targets if recipe.balance else np.zeros_like(targets)
    weights = _weights(classes, domains, recipe.domain_shares) if even else np.ones(len(chosen))
    if masks is not None:
        targets = masks
    elif "location" in recipe.outputs:
        targets = np.stack([targets, [item.place for item in chosen]], 1)
    samples = Samples(images, targets, weights, covariates(recipe.covariates, chosen))
    return Split(samples, tuple(chosen), dict(left_out))


def _wanted(hips: str, row: Row) -> bool:
    """Tell whether a recipe learns from an image, by whether a hip in it is fractured."""
    broken = any(hip.label not in {"", "no_fracture"} for hip in row.hips)
    return hips == "all" or broken == (hips == "fractured")


def _drawn(recipe: Recipe, item: Item) -> Iterator[Item]:
    """Yield what else an image stands for, with something drawn into it."""
    for drawing in drawings(recipe.role, item.row, item.hip):
        hip, target, place = item.hip, 0, -1
        if hip is not None:
            hip = replace(hip, label=drawing.label or hip.label, implant=drawing.implant)
            label = label_of(recipe, item.row, hip)
            if not isinstance(label, int):
                continue
            target, place = label, _PLACE_OF.get(hip.label, -1)
        yield Item(item.row, hip, target, place, drawing)


def covariates(names: Sequence[str], chosen: Sequence[Item]) -> NDArray[np.float32] | None:
    """Return what is known about each item's patient, (n, k) in plain units; None for no names.

    Raises
    ------
    ManifestInvalid
        If a cell is no number, with the line.
    """
    if not names:
        return None
    known = [[item.row.number(name) for name in names] for item in chosen]
    return np.array(known, np.float32).reshape(len(chosen), len(names))


class Stored(Protocol):
    """What decides how images are kept for a recipe."""

    @property
    def preprocess(self) -> PreprocessSpec: ...

    @property
    def plan(self) -> Plan: ...


def store(
    recipe: Stored, chosen: Sequence[Item], at: Path, tell: Callable[[int, int], None]
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the items' images (n, s, s) uint16 and, for a localiser, masks (n, s, s) uint8.

    Parameters
    ----------
    recipe
        Its size and crop.
    chosen
        The items, in order.
    at
        Where the arrays are kept; a name that changes with what they hold is added.
    tell
        Is given how many of how many are decoded.

    Raises
    ------
    ManifestInvalid
        If a file cannot be read, with the line.
    """
    role = str(getattr(recipe, "role", ""))
    side = round(recipe.preprocess.size_px / recipe.plan.view)
    key = _key(recipe, role, chosen, side)
    images_at, masks_at = (at.with_name(f"{at.name}-{key}{end}.npy") for end in ("", "-masks"))
    if not images_at.exists():
        at.parent.mkdir(parents=True, exist_ok=True)
        _decode(recipe, chosen, side, images_at, masks_at if role == "localiser" else None, tell)
    masks = np.load(masks_at, mmap_mode="r") if role == "localiser" else None
    return np.load(images_at, mmap_mode="r"), masks


def _decode(
    recipe: Stored,
    chosen: Sequence[Item],
    side: int,
    images_at: Path,
    masks_at: Path | None,
    tell: Callable[[int, int], None],
) -> None:
    spec = recipe.preprocess
    # the network's crop, widened so that the network sees the share `view` of it
    margin = ((1 + 2 * spec.crop_margin) / recipe.plan.view - 1) / 2
    wide = type(spec)(size_px=spec.size_px, crop_margin=margin)
    images = np.zeros((len(chosen), side, side), np.uint16)
    masks = np.zeros((len(chosen) if masks_at else 0, side, side), np.uint8)
    halves = masks_at is not None and by_halves(recipe)
    last, seen = Path(), None
    for index, item in enumerate(chosen):
        if seen is None or item.row.file != last:
            seen, last = read_image(item.row), item.row.file
        hip = item.hip and seen.hip(item.hip)
        box, mirror = hip.box if hip else None, False
        if box and halves:
            box, mirror = half_around(box, seen.pixels.shape)
        elif hip is not None:
            mirror = spec.mirrors(hip.side)
        shown = turn(seen.pixels, item.drawn) if item.drawn and hip is None else seen.pixels
        images[index] = sample(shown, wide, box, mirror=mirror, size_px=side)
        if item.drawn and hip and hip.points and box:
            frame = square_around(box, margin)
            key = f"{item.row.file.name}:{hip.side}"
            images[index] = draw_into(
                images[index], hip.points, frame, item.drawn, mirror=mirror, key=key
            )
        if masks_at and box and hip:
            frame = square_around(box, margin)
            masks[index] = draw_boxes([hip.box], frame, side)[:, :: -1 if mirror else 1]
        elif masks_at:
            boxes = [seen.hip(one).box for one in item.row.hips]
            masks[index] = draw_mask(boxes, seen.pixels.shape, side)
        tell(index + 1, len(chosen))
    if masks_at:
        np.save(masks_at, masks)
    np.save(images_at, images)


def by_halves(recipe: object) -> bool:
    """Tell whether a localiser gives one box for each half of an image (Gale 2017, 2.3)."""
    return "box" in getattr(recipe, "outputs", ())


def half_around(box: Box, shape: tuple[int, ...]) -> tuple[Box, bool]:
    """Return the half of an image (rows, columns) that a hip lies in, and whether to mirror it."""
    rows, columns = shape
    middle = columns // 2
    if box.x0 + box.x1 < columns:
        return Box(0, 0, middle, rows), False
    return Box(columns - middle, 0, columns, rows), True


def draw_mask(boxes: Sequence[Box], shape: tuple[int, ...], side: int) -> NDArray[np.uint8]:
    """Return the boxes of an image (rows, columns) as a mask (side, side) of the padded square."""
    rows, columns = shape
    square = max(rows, columns)
    return draw_boxes(boxes, (-((square - columns) // 2), -((square - rows) // 2), square), side)


def draw_boxes(boxes: Sequence[Box], frame: tuple[int, int, int], side: int) -> NDArray[np.uint8]:
    """Return boxes as a mask (side, side) of a square ``(x0, y0, side_px)`` of their image."""
    left, top, square = frame
    mask = np.zeros((side, side), np.uint8)
    for box in boxes:
        y0, y1 = (max(0, round((y - top) * side / square)) for y in (box.y0, box.y1))
        x0, x1 = (max(0, round((x - left) * side / square)) for x in (box.x0, box.x1))
        mask[y0:y1, x0:x1] = 255
    return mask


def _weights(
    targets: NDArray[np.int64], domains: Sequence[str], shares: Mapping[str, float]
) -> NDArray[np.float64]:
    """Return weights that draw every class of a domain equally often (Murphy 2022, Labelling).

    A domain without a share gets an equal part of what is left.
    """
    present = sorted(set(domains))
    rest = [name for name in present if name not in shares]
    left = max(0.0, 1 - sum(shares.get(name, 0) for name in present))
    weights = np.ones(len(targets), np.float64)
    for name in present:
        share = shares.get(name, left / max(1, len(rest)))
        here = np.array([one == name for one in domains])
        classes, counts = np.unique(targets[here], return_counts=True)
        for target, count in zip(classes, counts, strict=True):
            weights[here & (targets == target)] = share / len(classes) / count
    return weights


def _key(recipe: Stored, role: str, chosen: Sequence[Item], side: int) -> str:
    """Return a name for the arrays that changes with anything they depend on."""
    facts = [
        role,
        side,
        recipe.plan.view,
        asdict(recipe.preprocess),
        [
            (str(item.row.file), item.row.file.stat().st_size if item.row.file.exists() else -1)
            + ((item.hip.side, str(item.hip.box)) if item.hip else ("", ""))
            + (("mirrored",) if item.row.mirrored else ())
            + ((str(item.drawn), str(item.hip and item.hip.points)) if item.drawn else ())
            for item in chosen
        ],
    ]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:16]
