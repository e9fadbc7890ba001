"""Composing one body, seen through one camera, from its projected parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hipnode.domain import Side
from hipnode.phantom import affine, fractures, implants, pieces, tissue
from hipnode.phantom.anatomy import FEMUR_GRID, PELVIS_GRID, Anatomy, Hip
from hipnode.phantom.bones import Array
from hipnode.phantom.fractures import Bone, Fracture
from hipnode.phantom.meshes import Image
from hipnode.phantom.people import Person
from hipnode.phantom.skeleton import USUAL, Groups


@dataclass(frozen=True, slots=True)
class HipPlan:
    """What is the matter with one hip."""

    side: Side
    fracture: Fracture | None
    implant: str
    osteoarthritis: int
    adduction_deg: float
    seed: int
    turned: bool = False  # an intact leg that lies turned outwards


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the detector is: ``to_mm`` takes pixels (x, y) to the plane of the hips."""

    to_mm: Array
    rows: int
    columns: int

    @property
    def spacing_mm(self) -> float:
        return float(np.sqrt(abs(np.linalg.det(self.to_mm[:2, :2]))))

    def field(self) -> tuple[Image, Image]:
        """Return x and y in mm at every pixel."""
        c = np.arange(self.columns, dtype=np.float32)[None, :]
        r = np.arange(self.rows, dtype=np.float32)[:, None]
        m = self.to_mm.astype(np.float32)
        return m[0, 0] * c + m[0, 1] * r + m[0, 2], m[1, 0] * c + m[1, 1] * r + m[1, 2]


@dataclass(frozen=True, slots=True)
class SeenHip:
    """Where a hip's landmarks lie in the plane of the hips, in mm."""

    plan: HipPlan
    landmarks: dict[str, Array]
    line: Array
    head_radius_mm: float


@dataclass(frozen=True, slots=True)
class Scene:
    """Path lengths at every pixel of the camera, in mm."""

    bone: Image
    metal: Image
    hips: tuple[SeenHip, ...]


def cortex_times(t_score: float) -> float:
    """Return the cortex's thickness against the usual, for a T-score."""
    return float(np.clip(1.05 + 0.12 * (t_score + 1), 0.5, 1.35))


def trabecular_share(t_score: float) -> float:
    """Return how much compact bone a mm of trabecular bone is worth."""
    return float(0.23 * np.clip(1.0 + 0.17 * (t_score + 1), 0.35, 1.7))


def compose(
    body: Anatomy, plans: tuple[HipPlan, ...], person: Person, camera: Camera, seed: int
) -> Scene:
    """Put pelvis, sacrum, spine, femora and metal where the camera sees them."""
    rng = np.random.default_rng([seed, 5])
    shape = (camera.rows, camera.columns)
    bone, metal = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    times, share = cortex_times(person.cortex_t), trabecular_share(person.trabecular_t)
    to_pelvis = np.linalg.inv(affine.from_pixels(PELVIS_GRID)) @ camera.to_mm
    for part, faint in ((body.pelvis, 0.9), (body.sacrum, 0.8)):
        cortex = part.cortex(times)
        weave = affine.crop(affine.texture("trabecular"), cortex.shape, rng)
        inner = (part.whole - cortex) * np.float32(share * faint) * (1 + 0.11 * weave)
        affine.add(bone, cortex * np.float32(faint) + inner, to_pelvis)
    to_spine = np.linalg.inv(affine.from_pixels(tissue.SPINE_GRID)) @ camera.to_mm
    if body.pose == "frontal":
        dense = 0.9 * times
        affine.add(bone, tissue.spine(body.sacrum_top_mm, dense, rng), to_spine)
    seen = tuple(_hip(body, plan, person, camera, bone, metal) for plan in plans)
    if person.skeleton:
        bone *= np.float32(person.skeleton.size)
    return Scene(bone, metal, seen)


def to_femur(hip: Hip, plan: HipPlan) -> Array:
    """Return the matrix from the plane of the hips to the femur's own (left-handed) mm."""
    mirror = affine.scale(1.0 if plan.side is Side.LEFT else -1.0, 1.0)
    return (
        affine.turn(-plan.adduction_deg) @ mirror @ affine.shift(-hip.head_mm[0], -hip.head_mm[1])
    )


def _hip(
    body: Anatomy,
    plan: HipPlan,
    person: Person,
    camera: Camera,
    bone: Image,
    metal: Image,
) -> SeenHip:
    """Add one femur with all that is the matter with it."""
    hip = body.left if plan.side is Side.LEFT else body.right
    rng = np.random.default_rng([plan.seed, 6])
    femur = femur_bone(hip, plan, femur_times(hip, person))
    share = trabecular_share(person.trabecular_t)
    stuff = femur_stuff(femur, share, rng, person.skeleton.groups if person.skeleton else USUAL)
    if plan.osteoarthritis:
        stuff = stuff + _osteoarthritis(femur, plan.osteoarthritis, rng)
    femur_mm = to_femur(hip, plan)
    to_cells = np.linalg.inv(affine.from_pixels(FEMUR_GRID)) @ femur_mm @ camera.to_mm
    if plan.implant:
        made = implants.build(plan.implant, femur.points, rng)
        stuff = stuff * made.keep
        affine.add(metal, made.metal, to_cells)
    affine.add(bone, stuff, to_cells)
    back = np.linalg.inv(femur_mm)
    p = femur.points
    names = [n for n in p.__dataclass_fields__ if n != "head_radius"]
    marks = {n: affine.apply(back, getattr(p, n)) for n in names}
    return SeenHip(plan, marks, affine.apply(back, femur.line), p.head_radius)


def femur_times(hip: Hip, person: Person) -> float | Image:
    """Return the cortex's thickness against the usual; down the shaft, by the canal's type."""
    times = cortex_times(person.cortex_t)
    if person.skeleton is None:
        return times
    _, y = affine.mm(FEMUR_GRID)
    below = np.clip((y[:, :1] - hip.points.lesser_trochanter[1]) / 40, 0, 1)
    return np.asarray(times * (1 + (person.skeleton.shaft_times - 1) * below), np.float32)


def femur_bone(hip: Hip, plan: HipPlan, times: float | Image) -> Bone:
    """Return the femur, broken or not, moved a little where arthrosis narrows the joint."""
    if plan.fracture is not None:
        broken = fractures.break_bone(hip, times, plan.fracture)
        return pieces.shatter(broken, plan.fracture) if plan.fracture.pieces else broken
    femur = fractures.intact(hip, times, turned=plan.turned)
    if plan.osteoarthritis:
        up = 0.7 * plan.osteoarthritis
        cells = affine.shift(0.4 * up / FEMUR_GRID.step_mm, up / FEMUR_GRID.step_mm)
        shape = femur.whole.shape
        names = [n for n in femur.points.__dataclass_fields__ if n != "head_radius"]
        moved = {n: getattr(femur.points, n) - [0.4 * up, up] for n in names}
        femur = replace(
            femur,
            whole=affine.resample(femur.whole, cells, shape),
            cortex=affine.resample(femur.cortex, cells, shape),
            points=replace(femur.points, **moved),
        )
    return femur


def femur_stuff(
    femur: Bone, share: float, rng: np.random.Generator, groups: Groups = USUAL
) -> Image:
    """Return the femur in mm of compact bone: cortex, and a weave that follows the stresses."""
    base, compressive, tensile, loss = groups
    x, y = affine.mm(FEMUR_GRID)
    p = femur.points
    weave = affine.crop(affine.texture("trabecular"), femur.whole.shape, rng)
    hollow = 1 - 0.75 / (1 + np.exp(-np.clip((y - p.lesser_trochanter[1] + 8) / 9, -30, 30)))
    calcar = p.lesser_trochanter + np.array([6.0, -12.0])
    _, across, _ = affine.along_line(x, y, p.head + np.array([-2.0, -16.0]), calcar)
    above = 1 / (1 + np.exp(np.clip((y - calcar[1]) / 6, -30, 30)))
    lines = compressive * np.exp(-((across / 8) ** 2)) * above
    arc = np.hypot(x - p.lateral[0] + 26, y - p.lateral[1] - 8) - 46
    lines = lines + tensile * np.exp(-((arc / 6) ** 2)) * above
    ward = loss * np.exp(-(((x - p.neck_base[0] + 3) / 11) ** 2) - ((y - p.neck[1] - 11) / 9) ** 2)
    inner = (femur.whole - femur.cortex) * hollow * (base + lines - ward) * (1 + 0.12 * weave)
    out: Image = (femur.cortex + np.float32(share) * inner).astype(np.float32)
    return out


def _osteoarthritis(femur: Bone, grade: int, rng: np.random.Generator) -> Image:
    """Return sclerosis of the roof and osteophytes, in mm of compact bone."""
    x, y = affine.mm(FEMUR_GRID)
    p = femur.points
    off = np.hypot(x - p.head[0], y - p.head[1])
    angle = np.degrees(np.arctan2(-(y - p.head[1]), x - p.head[0]))
    arc = np.exp(-(((off - p.head_radius - 3.0) / 2.8) ** 2)) * np.exp(-(((angle - 85) / 34) ** 2))
    out = arc * 2.4 * grade
    for at in (rng.normal(25, 12), rng.normal(-120, 15), rng.normal(50, 8)):
        where = p.head + 1.05 * p.head_radius * np.array(
            [np.cos(np.radians(at)), -np.sin(np.radians(at))]
        )
        size = rng.uniform(1.0, 2.4) * grade
        out = out + 0.25 * affine.rod(x, y, where, where + rng.normal(0, 2, 2), size, 0.6 * size)
    smooth: Image = out.astype(np.float32)
    return smooth
