"""From what was drawn to what is written down as true."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from hipnode.domain import Box, Side
from hipnode.phantom import affine
from hipnode.phantom.anatomy import SOURCE_MM
from hipnode.phantom.body import SeenHip
from hipnode.phantom.bones import Array
from hipnode.phantom.lots import Plan
from hipnode.phantom.people import Person
from hipnode.phantom.population import Recipe
from hipnode.phantom.readers import EXPERTS, READERS, read, read_subclass
from hipnode.phantom.truth import HipTruth, Truth

DETECTOR_MM: Final = 1150.0  # from the focus
MAGNIFICATION: Final = DETECTOR_MM / SOURCE_MM


def make_truth(
    recipe: Recipe,
    name: tuple[int, int],
    plan: Plan,
    spacing_mm: float,
    hips: tuple[HipTruth, ...],
    marker: Box | None,
) -> Truth:
    """Return the image's truth from what was drawn."""
    who = plan.person
    return Truth(
        image_id=f"{recipe.kind}-{name[0]}-{name[1]:06d}",
        patient_id=f"PHANTOM-{name[0]}-{name[1]:06d}",
        split=plan.split,
        anatomy=f"{plan.split}-{plan.number:04d}",
        kind=recipe.kind,
        view=plan.view,
        rotation_deg=90 * plan.quarter_turns,
        mirrored=plan.mirrored,
        photometric=plan.photometric,
        low_quality=plan.low_quality,
        spacing_mm=spacing_mm * MAGNIFICATION,
        patient_spacing_mm=spacing_mm,
        age=who.age,
        sex=who.sex,
        height_m=who.height_m,
        weight_kg=round(who.weight_kg, 1),
        bmi=who.bmi,
        hip_fracture_history=who.hip_fracture_history,
        vitamin_d_ng_ml=who.vitamin_d_ng_ml,
        calcium_mg_dl=who.calcium_mg_dl,
        alm_bmi=who.alm_bmi,
        t_score=who.t_score,
        osteoporosis=who.osteoporosis,
        hips=tuple(_as_read(hip, name, plan) for hip in hips) if recipe.readers else hips,
        marker_box=marker,
        past_fractures=who.past_fractures,
        readers=READERS if recipe.readers else (),
        experts=EXPERTS if recipe.readers else (),
        **_latents(who),
    )


def _as_read(hip: HipTruth, name: tuple[int, int], plan: Plan) -> HipTruth:
    """Return a hip with what people call it; nobody classifies one with an implant."""
    if hip.implant:
        return hip
    said = read(hip, name, low_quality=plan.low_quality)
    return replace(hip, readers=said, subclasses=read_subclass(hip, name, said))


def _latents(who: Person) -> dict[str, Any]:
    """Return what is drawn of a cohort's bones, by the truth's names."""
    bones = who.skeleton
    if bones is None:
        return {}
    names = ("t_true", "cortex_t", "trabecular_t", "singh", "dorr", "size")
    return {one: getattr(bones, one) for one in names}


def hip_box_mm(hip: SeenHip) -> Array:
    """Return the corners of the hip's square box in the plane of the hips.

    From 14 mm above the head's top to 45 mm below the tip of the lesser trochanter; as wide as
    high; centred between the head's inner edge and the outermost trochanter.

    References
    ----------
    Murphy 2022, Methods, ground-truth ROIs: the hip joint between its natural features.
    """
    p = hip.landmarks
    top = p["head"][1] - hip.head_radius_mm - 14
    bottom = max(p["lesser_trochanter"][1] + 45, p["head"][1] + 95)
    outer = 1.0 if hip.plan.side is Side.LEFT else -1.0
    inner_edge = p["head"][0] - outer * hip.head_radius_mm
    outer_edge = outer * max(outer * p["lateral"][0], outer * p["greater_trochanter"][0])
    middle, half = (inner_edge + outer_edge) / 2, (bottom - top) / 2
    x, y = (middle - half, middle + half), (top, bottom)
    return np.array([(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])])


def proximal_femur_box_mm(hip: SeenHip) -> Array:
    """Return the corners of the proximal femur's box in the plane of the hips.

    From the roof of the socket to one length of the lesser trochanter below its tip, and from the
    teardrop's lateral edge to just lateral of the vastus ridge. Roof and teardrop are set from the
    head: 5 mm above and 9 mm to the inner side of it.

    References
    ----------
    Jang 2022, Methods, Dataset preparation, and Fig. 4.
    """
    p = hip.landmarks
    top = p["head"][1] - hip.head_radius_mm - 5
    bottom = p["lesser_trochanter"][1] + 15
    outer = 1.0 if hip.plan.side is Side.LEFT else -1.0
    inner_edge = p["head"][0] - outer * (hip.head_radius_mm + 9)
    x = sorted((inner_edge, p["lateral"][0] + outer * 4))
    return np.array([(x[0], top), (x[1], top), (x[1], bottom), (x[0], bottom)])


def _box(corners: Array, shape: tuple[int, ...]) -> tuple[Box, float] | None:
    """Return the upright box round corners in pixels, cut at the image's edge, and its share."""
    low, high = corners.min(0), corners.max(0)
    x0, y0 = np.maximum(np.round(low).astype(int), 0)
    x1, y1 = np.minimum(np.round(high).astype(int), shape[::-1])
    if x0 >= x1 or y0 >= y1:
        return None
    inside = min(1.0, float((x1 - x0) * (y1 - y0) / np.prod(high - low)))
    return Box(int(x0), int(y0), int(x1), int(y1)), inside


def hip_truth(hip: SeenHip, to_px: Array, shape: tuple[int, ...]) -> HipTruth | None:
    """Return one hip's truth in pixels, or None where the image does not reach it."""
    whole = _box(affine.apply(to_px, hip_box_mm(hip)), shape)
    if whole is None:
        return None
    box, inside = whole
    narrow = _box(affine.apply(to_px, proximal_femur_box_mm(hip)), shape)
    fracture = hip.plan.fracture
    fresh = fracture is not None and not fracture.old
    line = affine.apply(to_px, hip.line) if len(hip.line) else hip.line
    return HipTruth(
        hip.plan.side,
        box,
        inside,
        {k: _point(affine.apply(to_px, v)) for k, v in hip.landmarks.items()},
        label=fracture.label if fracture and fresh else "no_fracture",
        subtype=fracture.subtype if fracture else "",
        displacement_mm=fracture.displacement_mm if fracture else 0.0,
        angle_deg=fracture.angle_deg if fracture else 0.0,
        old=bool(fracture and fracture.old),
        implant=hip.plan.implant,
        osteoarthritis=hip.plan.osteoarthritis,
        fracture_line=tuple(_point(p) for p in line[::2]),
        proximal_femur_box=narrow[0] if narrow else None,
    )


def _point(at: Array) -> tuple[float, float]:
    return float(at[0]), float(at[1])
