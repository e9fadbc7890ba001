"""From a manifest to what a network learns from, kept on disk as uint16 arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hipnode.domain import Box
from hipnode.imaging import PreprocessSpec, part_of, square_around
from hipnode.training.recipe.plan import Plan
from hipnode.training.recipe.recipe import Recipe
from hipnode.training.samples.batches import Samples
from hipnode.training.samples.drawn.frames import reframe
from hipnode.training.samples.drawn.plan import draw_into, drawings
from hipnode.training.samples.items import PLACE_OF, Item, by_halves, items, label_of, view_of
from hipnode.training.samples.manifest import Row, read_image
from hipnode.training.samples.spots import spots
from hipnode.training.samples.transforms import sample

DRAWN: Final = "drawn"
"""The domain of hips with something drawn into them, where a recipe gives it a share."""


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
    whole, left_out = items(recipe, wanted, recipe.views)
    if len(wanted) < len(here):
        left_out[f"not an image of {recipe.hips} hips"] = len(here) - len(wanted)
    chosen = [one for item in whole for one in (item, *_drawn(recipe, item))]
    images, masks = store(recipe, chosen, cache / split, tell)
    targets: NDArray[Any] = np.array([item.target for item in chosen], np.int64)
    weights = _weights(recipe, chosen, targets)
    if masks is not None:
        targets = masks
    elif "location" in recipe.outputs:
        targets = np.stack([targets, [item.place for item in chosen]], 1)
    known = covariates(recipe.covariates, chosen)
    places = spots(recipe, chosen, _margin(recipe)) if recipe.pointing_loss else None
    samples = Samples(images, targets, weights, known, places)
    return Split(samples, tuple(chosen), dict(left_out))


def _wanted(hips: str, row: Row) -> bool:
    """Tell whether a recipe learns from an image, by whether a hip in it is fractured."""
    broken = any(hip.label not in {"", "no_fracture"} for hip in row.hips)
    return hips == "all" or broken == (hips == "fractured")


def _drawn(recipe: Recipe, item: Item) -> Iterator[Item]:
    """Yield what else an image stands for, with something drawn into it."""
    for drawing in drawings(recipe.role, recipe.labels, item.row, item.hip):
        hip, place = item.hip, -1
        if hip is None:
            if (view := drawing.view(item.row.view or "frontal")) is None:
                target = recipe.labels.index(view_of(recipe, "", turned=True))
            else:
                target = recipe.labels.index(view_of(recipe, view, turned=False))
        else:
            hip = replace(hip, label=drawing.label or hip.label, implant=drawing.implant)
            label = label_of(recipe, item.row, hip)
            if not isinstance(label, int):
                continue
            target, place = label, PLACE_OF.get(hip.label, -1)
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
    margin = _margin(recipe)
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
        elif box and hip is not None:
            mirror = spec.mirrors(hip.side)
            box = part_of(box, spec.region, mirrored=mirror)
        shown = seen.pixels
        if item.drawn and hip is None:
            boxes = [seen.hip(one).box for one in item.row.hips]
            shown = reframe(shown, boxes, item.drawn, item.row.file.name)
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
        keep(masks_at, masks)
    keep(images_at, images)


def keep(at: Path, array: NDArray[Any]) -> None:
    """Write an array first beside, then in place: a kill leaves a whole file, or none."""
    beside = at.with_suffix(".tmp")
    with beside.open("wb") as file:
        np.save(file, array)
    beside.replace(at)


def _margin(recipe: Stored) -> float:
    """Return what is kept around a box: the network sees the share `view` of it."""
    return ((1 + 2 * recipe.preprocess.crop_margin) / recipe.plan.view - 1) / 2


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
    recipe: Recipe, chosen: Sequence[Item], targets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return weights that draw every class of a domain equally often (Murphy 2022, Labelling).

    A domain without a share gets an equal part of what is left. What is drawn into a hip is a
    domain of its own where that has a share. Within a class, a row is drawn as many times as
    often as it says.
    """
    often = np.array([item.row.often if item.hip else item.row.image_often for item in chosen])
    shares = recipe.domain_shares
    if not recipe.balance:
        targets = np.zeros_like(targets)
        if not shares:
            return often
    apart = DRAWN in shares
    domains = [DRAWN if apart and item.drawn and item.hip else item.row.domain for item in chosen]
    present = sorted(set(domains))
    rest = [name for name in present if name not in shares]
    left = max(0.0, 1 - sum(shares.get(name, 0) for name in present))
    weights = np.ones(len(targets), np.float64)
    for name in present:
        share = shares.get(name, left / max(1, len(rest)))
        here = np.array([one == name for one in domains])
        classes = np.unique(targets[here])
        for target in classes:
            these = here & (targets == target)
            weights[these] = share / len(classes) * often[these] / often[these].sum()
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
