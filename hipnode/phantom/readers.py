"""People who read the images too: as often right, and as much of one mind, as the papers' were.

References
----------
Murphy 2022, Results: two experts of kappa 0.55, 0.49 by subclass (Table 2: the NHFD's); the
hospital's diagnosis right in 77.5 %. Gale 2017, Table 3: the radiologists' reports, precision 0.93
and recall 0.97.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hipnode.domain import Box, Side
from hipnode.phantom.anatomy import generator
from hipnode.phantom.truth import LABELS, HipTruth

READERS: Final = ("expert1", "expert2", "hospital", "report")
EXPERTS: Final = READERS[:2]
"""Who names the subclass too."""
_SUBCLASSES: Final = {
    "intracapsular": {"displaced": "displaced", "undisplaced": "undisplaced",
                      "impacted": "undisplaced"},
    "trochanteric": {"A1": "A1-A2", "A2": "A1-A2", "A3": "A3"},
}  # fmt: skip
"""Of each class the NHFD's subclass, by what is drawn."""
_SUBCLASS_RIGHT: Final = 0.9  # where the class is right
_HARD_MM: Final = 4.0  # of displacement: below, a fracture is easily missed or misnamed
_RIGHT: Final = {  # on an easy hip, and on a hard one
    "expert1": (0.90, 0.62),
    "expert2": (0.90, 0.62),
    "hospital": (0.88, 0.60),
    "report": (0.99, 0.93),
}


def read(hip: HipTruth, seed: tuple[int, int], *, low_quality: bool) -> dict[str, str]:
    """Return what each reader calls a hip without an implant, by the reader's name.

    Parameters
    ----------
    hip
        The truth.
    seed
        Seed and index of the image: they decide what is said.
    low_quality
        The image is poor: every hip is a hard one.
    """
    broken = hip.label != "no_fracture"
    hard = bool(low_quality or (broken and hip.displacement_mm < _HARD_MM))
    said: dict[str, str] = {}
    for name in READERS:
        rng = generator(f"reader {name}", *seed, 0 if hip.side is Side.RIGHT else 1)
        p = _RIGHT[name][hard]
        if name == "report" and not broken:
            p = 0.9915  # so that of what is called a fracture 93 % is one, at Gale's 10 %
        others = [label for label in LABELS[:3] if label != hip.label]
        said[name] = hip.label if rng.random() < p else str(rng.choice(others))
    return said


def of_row(row: Mapping[str, str]) -> dict[str, str]:
    """Return what each reader calls the one hip of an image, from the image's row of a manifest."""
    side = next(one for one in Side if row.get(f"{one.word.lower()}_label"))
    prefix = side.word.lower()
    seed, index = map(int, row["image_id"].split("-")[-2:])
    hip = HipTruth(
        side,
        Box(0, 0, 1, 1),
        1.0,
        {},
        row[f"{prefix}_label"],
        row[f"{prefix}_subtype"],
        float(row[f"{prefix}_displacement_mm"]),
    )
    return read(hip, (seed, index), low_quality=row["low_quality"] == "1")


def read_subclass(hip: HipTruth, seed: tuple[int, int], said: Mapping[str, str]) -> dict[str, str]:
    """Return the subclass that each expert names; where a class has none, that is the class.

    Parameters
    ----------
    hip, seed
        As for `read`.
    said
        The class that each reader named.
    """
    named: dict[str, str] = {}
    for name in EXPERTS:
        rng = generator(f"subclass {name}", *seed, 0 if hip.side is Side.RIGHT else 1)
        known = _SUBCLASSES.get(said[name], {})
        choice = sorted(set(known.values())) or [said[name]]
        true = known.get(hip.subtype) if said[name] == hip.label else None
        right = true is not None and rng.random() < _SUBCLASS_RIGHT
        others = [one for one in choice if one != true]
        named[name] = str(true) if right else str(rng.choice(others))
    return named
