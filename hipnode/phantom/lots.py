"""What one image shows, drawn before a pixel is made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from hipnode.domain import Side
from hipnode.phantom import affine, anatomy, cohorts, fractures, pieces
from hipnode.phantom.anatomy import Anatomy
from hipnode.phantom.body import Camera, HipPlan
from hipnode.phantom.people import Person
from hipnode.phantom.population import Recipe

OPERATIONS: Final = {
    "intracapsular": ("hemi", "total", "screws"),
    "trochanteric": ("sliding_screw", "nail"),
    "subtrochanteric": ("nail", "plate"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that was drawn for one image before a pixel is made."""

    split: str
    number: int
    view: str
    person: Person
    hips: tuple[HipPlan, ...]
    small: bool
    low_quality: bool
    quarter_turns: int
    mirrored: bool
    photometric: str
    side_shown: Side


def draw_plan(recipe: Recipe, seed: int, index: int) -> Plan:
    """Draw who is seen, how, and what is the matter; no pixel is made."""
    rng = anatomy.generator(recipe.seed_tag, "plan", seed, index)
    split = _choose(recipe.splits, rng)
    number = int(rng.integers(recipe.anatomies[split]))
    view = _choose(recipe.views, rng)
    person = cohorts.draw(recipe, rng)
    hips = tuple(_draw_hip(recipe, side, person, rng) for side in (Side.RIGHT, Side.LEFT))
    return Plan(
        split,
        number,
        view,
        person,
        hips,
        small=bool(rng.random() < recipe.p_small),
        low_quality=bool(rng.random() < recipe.p_low_quality),
        quarter_turns=int(rng.integers(1, 4)) if rng.random() < recipe.p_rotated else 0,
        mirrored=bool(rng.random() < recipe.p_mirrored),
        photometric="MONOCHROME1" if rng.random() < recipe.p_monochrome1 else "MONOCHROME2",
        side_shown=Side.LEFT if rng.random() < 0.5 else Side.RIGHT,
    )


def _choose(shares: dict[str, float], rng: np.random.Generator) -> str:
    weights = np.array(list(shares.values()), dtype=float)
    return str(rng.choice(list(shares), p=weights / weights.sum()))


def _draw_hip(recipe: Recipe, side: Side, person: Person, rng: np.random.Generator) -> HipPlan:
    chance = recipe.p_fracture_hip
    odds = chance / max(1 - chance, 1e-9) * person.fracture_odds_times()
    broken = rng.random() < odds / (1 + odds)
    operated, old = rng.random() < recipe.p_implant_hip, rng.random() < recipe.p_old_hip
    label = _choose(recipe.fractures, rng)
    implant, fracture = "", None
    if operated:
        implant = str(rng.choice(OPERATIONS[label]))
        if implant not in ("hemi", "total") and rng.random() < 0.6:
            fracture = fractures.draw(label, rng, old=True)
    elif broken or old:
        fracture = fractures.draw(label, rng, old=not broken)
    worn = rng.random() < recipe.p_osteoarthritis_hip and implant not in ("hemi", "total")
    grade = int(rng.integers(1, 4)) if worn and fracture is None else 0
    adduction = float(np.clip(rng.normal(0, 4), -10, 10))
    plan = HipPlan(side, fracture, implant, grade, adduction, int(rng.integers(1 << 31)))
    return _as_in_life(recipe, plan, rng)


def _as_in_life(recipe: Recipe, plan: HipPlan, rng: np.random.Generator) -> HipPlan:
    """Displace what is displaced as it is in life, and turn intact legs, where a recipe asks."""
    broken = plan.fracture
    if recipe.p_gross and broken and not broken.old and broken.displacement_mm:
        if broken.subtype != "impacted" and rng.random() < recipe.p_gross:
            return replace(plan, fracture=pieces.gross(broken, rng))
    elif recipe.p_turned_leg and broken is None:
        leg = float(np.clip(plan.adduction_deg + rng.normal(0, 8), -22, 22))
        turned = bool(rng.random() < recipe.p_turned_leg)
        return replace(plan, turned=turned, adduction_deg=leg if turned else plan.adduction_deg)
    return plan


def draw_camera(plan: Plan, body: Anatomy, longer: int, rng: np.random.Generator) -> Camera:
    """Draw what the image covers."""
    aspect = float(rng.choice([1.22, 1.0, 0.82], p=[0.6, 0.15, 0.25]))
    width, height = (
        (longer, round(longer / aspect)) if aspect >= 1 else (round(longer * aspect), longer)
    )
    cover = rng.uniform(365, 450) if aspect >= 1 else rng.uniform(330, 410)
    centre = np.array([rng.normal(0, 7), rng.normal(-18, 16)])
    lean = rng.normal(0, 2.2)
    if plan.view in ("one_hip", "lateral"):
        hip = body.left if plan.side_shown is Side.LEFT else body.right
        cover = rng.uniform(170, 250)
        centre = np.array(hip.head_mm) * [1.06, 1] + [rng.normal(0, 8), rng.normal(45, 12)]
    elif plan.view == "abdomen":
        centre[1] = rng.uniform(-270, -190)
    step = cover / width
    to_mm = affine.shift(*centre) @ affine.turn(lean) @ affine.scale(step, step)
    return Camera(to_mm @ affine.shift(-(width - 1) / 2, -(height - 1) / 2), height, width)
