"""Hip scans as a densitometer writes them: areal bone mineral density, one hip an image.

The density of the drawn bone is calibrated to a reference population: how much mineral a millimetre
of this person's bone holds is what makes the total hip's density that of the T-score. So the label
stands in the scan's numbers. A recipe that is ``uncalibrated`` draws the same hip at an exposure of
its own, without that factor: as on a radiograph, its grey levels tell no density. A share
(``p_harsh``) of these is processed as another maker would.

References
----------
Looker 1997, Osteoporos Int 7:468 (NHANES III: total hip of women of 20 to 29, 0.942, SD 0.122).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hipnode.domain import Side
from hipnode.phantom import affine, anatomy, film, lots, truth_of
from hipnode.phantom.anatomy import FEMUR_GRID, PELVIS_GRID
from hipnode.phantom.body import (
    Camera,
    SeenHip,
    cortex_times,
    femur_stuff,
    femur_times,
    to_femur,
    trabecular_share,
)
from hipnode.phantom.fractures import Bone, intact
from hipnode.phantom.meshes import Image
from hipnode.phantom.people import Person
from hipnode.phantom.population import Recipe
from hipnode.phantom.truth import HipTruth, Phantom

STEP_MM: Final = 0.6
ROWS: Final = 280
COLUMNS: Final = 240
GRAMS_PER_MM: Final = 0.116  # bone mineral in g/cm2 for each mm of compact bone
PIXEL_G_CM2: Final = 0.001  # what one pixel value stands for
YOUNG_G_CM2: Final = 0.942  # of the total hip, where T is 0
SPREAD_G_CM2: Final = 0.122  # for one T


def render_dxa(recipe: Recipe, seed: int, index: int) -> Phantom:
    """Return one hip scan; a pixel is areal bone mineral density in mg/cm2."""
    plan = replace(lots.draw_plan(recipe, seed, index), view="one_hip", quarter_turns=0)
    rng = anatomy.generator(recipe.seed_tag, "dxa", seed, index)
    body = anatomy.load_kept(plan.split, plan.number, "frontal", recipe.cache_dir)
    side = plan.side_shown
    hip = body.left if side is Side.LEFT else body.right
    hip_plan = next(h for h in plan.hips if h.side is side)
    hip_plan = replace(hip_plan, fracture=None, implant="", osteoarthritis=0)
    centre = np.array(hip.head_mm) * [1.2, 1.0] + [0.0, 45.0]
    to_mm = affine.shift(*centre) @ affine.scale(STEP_MM, STEP_MM)
    camera = Camera(to_mm @ affine.shift(-COLUMNS / 2, -ROWS / 2), ROWS, COLUMNS)
    person = plan.person
    femur = intact(hip, femur_times(hip, person))
    share = np.float32(trabecular_share(person.trabecular_t))
    mineral = _mineral(femur, person, share, rng)
    shape = (ROWS, COLUMNS)
    to_own = to_femur(hip, hip_plan)
    cells = np.linalg.inv(affine.from_pixels(FEMUR_GRID)) @ to_own @ camera.to_mm
    thigh = affine.resample(mineral, cells, shape)
    bmd = thigh * np.float32(GRAMS_PER_MM)
    pelvis_cells = np.linalg.inv(affine.from_pixels(PELVIS_GRID)) @ camera.to_mm
    pelvis = body.pelvis.cortex(cortex_times(person.cortex_t))
    pelvis = pelvis + share * (body.pelvis.whole - pelvis)
    around = affine.resample(pelvis, pelvis_cells, shape) * np.float32(GRAMS_PER_MM)
    picture = bmd + around + rng.normal(0, 0.025, shape).astype(np.float32)
    back = np.linalg.inv(to_own)
    marks = {
        n: affine.apply(back, getattr(femur.points, n))
        for n in femur.points.__dataclass_fields__
        if n != "head_radius"
    }
    seen = SeenHip(hip_plan, marks, np.zeros((0, 2)), femur.points.head_radius)
    to_px = affine.shift(0.5, 0.5) @ np.linalg.inv(camera.to_mm)
    truth = truth_of.hip_truth(seen, to_px, shape)
    density = _density_times(truth, bmd, person.t_score)
    hips = () if truth is None else (_with_density(truth, bmd * density),)
    if recipe.uncalibrated:
        density = np.float32(np.exp(anatomy.generator("exposure", seed, index).normal(-0.7, 0.2)))
    plan = replace(plan, photometric="MONOCHROME2", small=False, low_quality=False)
    whole = truth_of.make_truth(recipe, (seed, index), plan, STEP_MM, hips, None)
    whole = replace(whole, kind="dxa", spacing_mm=STEP_MM)
    return Phantom(_pixels(picture * density, recipe, rng), whole, np.zeros(shape, dtype=bool))


def _pixels(picture: Image, recipe: Recipe, rng: np.random.Generator) -> NDArray[np.uint16]:
    if recipe.uncalibrated and recipe.p_harsh and rng.random() < recipe.p_harsh:
        look = film.harsh(film.draw(rng, low_quality=False), rng)
        return film.present(picture, np.zeros_like(picture), look, rng)
    return np.clip(np.round(np.maximum(picture, 0) / PIXEL_G_CM2), 0, 4095).astype(np.uint16)


def _mineral(femur: Bone, person: Person, share: np.float32, rng: np.random.Generator) -> Image:
    """Return the femur in mm of compact bone; with groups of trabeculae where they are drawn."""
    if person.skeleton is None:
        return np.asarray(femur.cortex + share * (femur.whole - femur.cortex))
    stuff = femur_stuff(femur, float(share), rng, person.skeleton.groups)
    return np.asarray(stuff * np.float32(person.skeleton.size))


def _density_times(hip: HipTruth | None, bmd: Image, t_score: float) -> np.float32:
    """Return how much denser a mm of bone is than usual, for the total hip to be that of T."""
    wanted = max(YOUNG_G_CM2 + SPREAD_G_CM2 * t_score, 0.2)
    drawn = _with_density(hip, bmd).bmd_g_cm2 if hip else None
    return np.float32(wanted / (drawn or wanted))


def _with_density(hip: HipTruth, bmd: Image) -> HipTruth:
    """Add the mean density of the total hip and of the neck, in g/cm2."""
    rows, columns = np.mgrid[: bmd.shape[0], : bmd.shape[1]] + 0.5
    bone = bmd > 0.05
    head, base = (np.array(hip.landmarks[k]) for k in ("head", "neck_base"))
    axis = (base - head) / np.hypot(*(base - head))
    along = (columns - head[0]) * axis[0] + (rows - head[1]) * axis[1]
    length = float(np.hypot(*(base - head)))
    low = hip.landmarks["lesser_trochanter"][1] + 15 / STEP_MM
    total = bone & (along > 0.45 * length) & (rows < low)
    across = np.abs(-(columns - head[0]) * axis[1] + (rows - head[1]) * axis[0])
    neck = bone & (along > 0.5 * length) & (along < 0.75 * length) & (across < 25 / STEP_MM)
    return replace(
        hip,
        bmd_g_cm2=round(float(bmd[total].mean()), 4),
        neck_bmd_g_cm2=round(float(bmd[neck].mean()), 4),
    )
