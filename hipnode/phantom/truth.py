"""What is known about a simulated image."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hipnode.domain import Box, Side

LABELS: Final = ("no_fracture", "intracapsular", "trochanteric", "subtrochanteric")
IMPLANTS: Final = ("hemi", "total", "sliding_screw", "nail", "screws", "plate")
RISKS: Final = ("low", "moderate", "high")
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class HipTruth:
    """One hip. Points are (x, y) in original pixels; the box is half-open."""

    side: Side  # the patient's
    box: Box  # head, neck, trochanters and proximal shaft: Murphy 2022
    box_inside: float  # share of the box's area before it was cut at the image's edge
    landmarks: dict[str, Point]
    label: str = "no_fracture"
    subtype: str = ""
    displacement_mm: float = 0.0
    angle_deg: float = 0.0
    old: bool = False  # healed; its label stays no_fracture
    implant: str = ""
    osteoarthritis: int = 0  # 0-3
    fracture_line: tuple[Point, ...] = ()
    proximal_femur_box: Box | None = None  # roof to lesser trochanter: Jang 2022
    bmd_g_cm2: float | None = None  # DXA only: total hip
    neck_bmd_g_cm2: float | None = None
    readers: dict[str, str] = field(default_factory=dict)  # what each calls it
    subclasses: dict[str, str] = field(default_factory=dict)  # and the experts by subclass


@dataclass(frozen=True, slots=True)
class Truth:
    """One image and its invented patient."""

    image_id: str
    patient_id: str
    split: str  # train, val or test
    anatomy: str
    kind: str  # pelvis or dxa
    view: str  # frontal, one_hip, lateral or abdomen
    rotation_deg: int  # clockwise, 0, 90, 180 or 270
    mirrored: bool
    photometric: str  # MONOCHROME1 or MONOCHROME2
    low_quality: bool
    spacing_mm: float  # at the detector, both ways
    patient_spacing_mm: float  # in the plane of the hips
    age: int
    sex: str  # F or M
    height_m: float
    weight_kg: float
    bmi: float
    hip_fracture_history: bool
    vitamin_d_ng_ml: float
    calcium_mg_dl: float
    alm_bmi: float
    t_score: float
    osteoporosis: bool
    hips: tuple[HipTruth, ...]
    marker_box: Box | None = None
    past_fractures: int | None = None
    t_true: float | None = None  # the latents of a cohort's bones; see `skeleton`
    cortex_t: float | None = None
    trabecular_t: float | None = None
    singh: int | None = None
    dorr: str = ""
    size: float | None = None
    readers: tuple[str, ...] = ()  # who read the image
    experts: tuple[str, ...] = ()  # and named subclasses

    def hip(self, side: Side) -> HipTruth | None:
        """Return the hip of this side where the image shows it."""
        return next((h for h in self.hips if h.side == side), None)

    @property
    def risk(self) -> str:
        """Fracture risk: of a cohort that fell, by none, one or more earlier fractures (DXA 2023).

        Of others by an invented rule: a step up at T -1, at -2.5, and for a past fracture.
        """
        if self.past_fractures is not None:
            return RISKS[self.past_fractures]
        steps = (self.t_score <= -1) + (self.t_score <= -2.5) + self.hip_fracture_history
        return RISKS[min(steps, len(RISKS) - 1)]

    def row(self) -> dict[str, str]:
        """Return one flat row of the manifest."""
        skip = {"hips", "marker_box", "readers", "experts"}
        row = {f.name: _text(getattr(self, f.name)) for f in fields(self) if f.name not in skip}
        row["risk"] = self.risk
        row["marker_box"] = _text(self.marker_box)
        for side in Side:
            hip = self.hip(side)
            prefix = side.word.lower()
            for part in fields(HipTruth):
                if part.name not in {"side", "readers", "subclasses"}:
                    row[f"{prefix}_{part.name}"] = _text(getattr(hip, part.name) if hip else None)
            for name in self.readers:
                said = hip.readers.get(name, "") if hip else ""
                row[f"{prefix}_reader_{name}"] = said
            for name in self.experts:
                named = hip.subclasses.get(name, "") if hip else ""
                row[f"{prefix}_subclass_{name}"] = named
        return row


@dataclass(frozen=True, slots=True)
class Phantom:
    """An image with its truth. ``implant_mask`` is True where metal is."""

    pixels: NDArray[np.uint16]
    truth: Truth
    implant_mask: NDArray[np.bool_]


def _text(value: Any) -> str:
    """Return a cell: boxes as ``x0 y0 x1 y1``, points as ``x,y`` or ``name:x,y``."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Box):
        return f"{value.x0} {value.y0} {value.x1} {value.y1}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return " ".join(f"{k}:{p[0]:.1f},{p[1]:.1f}" for k, p in value.items())
    if isinstance(value, tuple):
        return " ".join(f"{p[0]:.1f},{p[1]:.1f}" for p in value)
    return str(value)
