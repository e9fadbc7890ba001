"""What of a manifest's rows a recipe learns from, or a bundle is judged by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from hipnode.errors import ManifestInvalid
from hipnode.training.samples.drawn.plan import Drawing
from hipnode.training.samples.manifest import HipRow, Row

_LABEL_OF_VIEW: Final = {"frontal": "pelvis_ap", "one_hip": "hip_ap", "lateral": "hip_other"}
PLACES: Final = ("no_fracture", "intracapsular", "extracapsular")
"""Gale 2017, 3.1: what the secondary loss tells apart."""
PLACE_OF: Final = {
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


def items(
    recipe: Learns, rows: Sequence[Row], views: Sequence[str] = ("frontal",), *, every: bool = False
) -> tuple[list[Item], Counter[str]]:
    """Return what of the rows a recipe learns from, and why the rest is left out.

    Parameters
    ----------
    recipe, rows
        What to learn, from what.
    views
        Of which views hips are taken.
    every
        To judge a network by: a fracture that it has no class for counts as the one nearest to it.
    """
    found: list[Item] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        for item in _of_row(recipe, row, views, every):
            if isinstance(item, Item):
                found.append(item)
            else:
                left_out[item] += 1
    return found, left_out


def _of_row(recipe: Learns, row: Row, views: Sequence[str], every: bool) -> Iterator[Item | str]:
    view = row.view or "frontal"
    if recipe.role == "gate":
        yield Item(row, None, recipe.labels.index(view_of(recipe, view, turned=row.turned)))
    elif recipe.role == "risk":  # the whole scan of one hip, from a densitometer
        target = risk_of(recipe, row)
        yield Item(row, None, target) if isinstance(target, int) else target
    elif row.turned:
        yield "stored turned"
    elif view not in views:
        yield f"the view {view}"
    elif recipe.role == "localiser":
        if by_halves(recipe):
            yield from (Item(row, hip, 0) for hip in row.hips)
        else:
            yield Item(row, None, 0) if row.hips else "no hip box"
    else:
        for hip in row.hips:
            target = label_of(recipe, row, hip, every=every)
            place = PLACE_OF.get(hip.label, -1)
            yield Item(row, hip, target, place) if isinstance(target, int) else target


def view_of(recipe: Learns, view: str, *, turned: bool) -> str:
    """Return what the gate is to call a view; what is stored turned is not as it should be."""
    if {"pelvis_ap", "hip_ap"} <= set(recipe.labels):
        label = "other" if turned else _LABEL_OF_VIEW.get(view, "other")
        return label if label in recipe.labels else "other"
    return recipe.labels[int(view == "frontal" and not turned)]


def label_of(recipe: Learns, row: Row, hip: HipRow, *, every: bool = False) -> int | str:
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
        if every and label not in recipe.labels and label in PLACE_OF:
            label = _nearest(recipe.labels, label)
        return recipe.labels.index(label) if label in recipe.labels else f"a hip labelled {label}"
    cell = row.cells.get(recipe.role, "")
    if cell in recipe.labels:
        return recipe.labels.index(cell)
    if cell not in {"0", "1"} or len(recipe.labels) != 2:
        raise ManifestInvalid(f"{row.at}: {recipe.role} is {cell!r}")
    return int(cell)


def _nearest(labels: Sequence[str], label: str) -> str:
    """Return the class that a fracture counts as where its own is missing: of the same place."""
    alike = [one for one in labels if PLACE_OF.get(one) == PLACE_OF[label]]
    return next(iter(alike), labels[-1])


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


def by_halves(recipe: object) -> bool:
    """Tell whether a localiser gives one box for each half of an image (Gale 2017, 2.3)."""
    return "box" in getattr(recipe, "outputs", ())
