"""What else an image of a manifest stands for where its row asks to ``draw``.

Real images of unfractured hips are easy to come by, those of fractured ones are not. To learn from
them without learning real against simulated, each whole hip also stands with fractures drawn into
it, and with metal; each image for the gate also stands turned, which the gate must refuse, and
framed as other images are (see `frames`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hipnode.training.samples.drawn.fractures import HipPoints, Site, break_hip
from hipnode.training.samples.drawn.implants import add_metal
from hipnode.training.samples.manifest import HipRow, Row

Kind = Literal[
    "intracapsular", "trochanteric", "implant",
    "turned", "bordered", "collimated", "one_hip", "one_hip_turned",
]  # fmt: skip
SITES: Final[tuple[Site, ...]] = ("trochanteric", "intracapsular")
_BROKEN_UNDER_METAL: Final = 0.3


@dataclass(frozen=True, slots=True)
class Drawing:
    """One thing drawn into one hip (or, from ``turned`` on, done to a whole image), its number."""

    kind: Kind
    number: int

    @property
    def label(self) -> str:
        """The hip's label with the drawing; "" if it does not change."""
        return self.kind if self.kind in SITES else ""

    @property
    def implant(self) -> str:
        """What the hip's column says about metal with the drawing."""
        return "drawn" if self.kind == "implant" else ""

    def view(self, view: str) -> str | None:
        """The view of a whole image of a ``view`` with the drawing; None for one that is turned."""
        if self.kind.endswith("turned"):
            return None
        return "one_hip" if self.kind == "one_hip" and view in {"", "frontal"} else view


def drawings(role: str, labels: Sequence[str], row: Row, hip: HipRow | None) -> Iterator[Drawing]:
    """Yield what is drawn into an image or a hip for a role; nothing where the row asks for none.

    Fractures go into hips that are known to be whole, and for the implant gate metal beside them:
    a fracture is no metal. An implant is drawn over a fracture now and then.
    """
    if role == "gate" and row.draw and not row.turned:  # else a turn might put it upright
        yield from (Drawing("turned", quarter) for quarter in (1, 2, 3))
        if "hip_ap" in labels:
            yield from _frames(row)
    if role == "gate" and "hip_ap" in labels and row.hips and not row.turned:
        yield from (Drawing("one_hip", number) for number in range(row.frames))
    if role not in {"fracture", "metal"} or hip is None or hip.points is None:
        return
    if hip.label == "no_fracture" and not hip.implant:
        kinds: tuple[Kind, ...] = (*SITES, "implant") if role == "metal" else SITES
        yield from (Drawing(kind, number) for number in range(row.draw) for kind in kinds)


def _frames(row: Row) -> Iterator[Drawing]:
    """Yield the other frames of an image, for a gate that knows views of one hip."""
    yield from (Drawing("bordered", number) for number in range(2))
    if row.view in {"", "frontal"} and len(row.hips) == 2:
        yield from (Drawing("collimated", number) for number in range(3))
        yield from (Drawing("one_hip_turned", number) for number in range(4))
    if row.view in {"", "frontal", "one_hip"} and row.hips:
        yield from (Drawing("one_hip", number) for number in range(8))


def draw_into(
    stored: NDArray[np.uint16],
    points: HipPoints,
    frame: tuple[int, int, int],
    drawing: Drawing,
    *,
    mirror: bool,
    key: str,
) -> NDArray[np.uint16]:
    """Return a hip's crop with a fracture or an implant.

    Parameters
    ----------
    stored
        (s, s) uint16 over [0, 1], bright bone.
    points
        In pixels of the whole image.
    frame
        ``(x0, y0, side_px)`` of the crop in the whole image, before it was mirrored.
    drawing
        What.
    mirror
        Whether the crop is mirrored.
    key
        Names the hip: the same key and drawing give the same pixels.
    """
    digest = hashlib.sha256(f"{key}:{drawing.kind}:{drawing.number}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    here = _in_crop(points, frame, mirror)
    image: NDArray[Any] = (stored / np.float32(65535)).astype(np.float32)
    if drawing.kind in SITES:
        image = break_hip(image, here, drawing.kind, rng)
    else:
        if rng.random() < _BROKEN_UNDER_METAL:
            image = break_hip(image, here, "trochanteric", rng)
        image = add_metal(image, here, rng)
    drawn: NDArray[np.uint16] = np.round(image * 65535).astype(np.uint16)
    return drawn


def _in_crop(points: HipPoints, frame: tuple[int, int, int], mirror: bool) -> HipPoints:
    left, top, side = frame

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x, y = (point[0] - left) / side, (point[1] - top) / side
        return (1 - x if mirror else x), y

    return HipPoints(*(place(point) for point in astuple(points)))
