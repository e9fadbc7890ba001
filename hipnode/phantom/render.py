"""One simulated image from a recipe, a seed and an index: the same everywhere, every time."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from hipnode.domain import Box, Side
from hipnode.phantom import anatomy, fractures, people, plane, tissue, xray
from hipnode.phantom.anatomy import SOURCE_MM, Anatomy
from hipnode.phantom.bones import Array
from hipnode.phantom.people import Person
from hipnode.phantom.projecting import Image
from hipnode.phantom.recipe import Recipe
from hipnode.phantom.scene import Camera, HipPlan, Scene, SeenHip, compose
from hipnode.phantom.truth import HipTruth, Phantom, Truth

DETECTOR_MM = 1150.0  # from the focus
MAGNIFICATION = DETECTOR_MM / SOURCE_MM
OPERATIONS = {
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


def render(recipe: Recipe, seed: int, index: int, *, size_px: int | None = None) -> Phantom:
    """Return image ``index`` of the series that this recipe and seed stand for.

    Parameters
    ----------
    recipe
        What is drawn how often.
    seed, index
        Together they decide everything: the same numbers give the same pixels.
    size_px
        The longer edge; the recipe's own where None.
    """
    if recipe.kind == "dxa":
        from hipnode.phantom.dxa import render_dxa

        return render_dxa(recipe, seed, index)
    plan = draw_plan(recipe, seed, index)
    rng = anatomy.generator(recipe.seed_tag, "image", seed, index)
    pose = "lateral" if plan.view == "lateral" else "frontal"
    body = anatomy.load_kept(plan.split, plan.number, pose, recipe.cache_dir)
    longer = size_px or (900 if plan.small else recipe.size_px)
    camera = draw_camera(plan, body, longer, rng)
    scene = compose(body, plan.hips, plan.person, camera, int(rng.integers(1 << 31)))
    pixels, marker = _shoot(recipe, plan, camera, scene, rng)
    shrink = 2 if plan.small and size_px is None else 1
    mask = scene.metal > 0.5
    if shrink > 1 or (plan.small and size_px):
        pixels = _as_jpeg(pixels, shrink, rng)
        mask = mask[::shrink, ::shrink][: pixels.shape[0], : pixels.shape[1]]
    return _finish(recipe, (seed, index), plan, camera, scene, pixels, mask, marker, shrink)


def draw_plan(recipe: Recipe, seed: int, index: int) -> Plan:
    """Draw who is seen, how, and what is the matter; no pixel is made."""
    rng = anatomy.generator(recipe.seed_tag, "plan", seed, index)
    split = _choose(recipe.splits, rng)
    number = int(rng.integers(recipe.anatomies[split]))
    view = _choose(recipe.views, rng)
    person = people.draw(recipe, rng)
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
    return HipPlan(side, fracture, implant, grade, adduction, int(rng.integers(1 << 31)))


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
    to_mm = plane.shift(*centre) @ plane.turn(lean) @ plane.scale(step, step)
    return Camera(to_mm @ plane.shift(-(width - 1) / 2, -(height - 1) / 2), height, width)


def _shoot(
    recipe: Recipe, plan: Plan, camera: Camera, scene: Scene, rng: np.random.Generator
) -> tuple[Image, Box | None]:
    """Return the processed image, bright bone, and where the side marker is."""
    x, y = camera.field()
    cx, cy = x[::4, ::4], y[::4, ::4]
    soft = tissue.body(cx, cy, plan.person, rng) + tissue.folds(cx, cy, rng)
    if rng.random() < recipe.p_gas:
        soft = np.maximum(soft - tissue.gas(cx, cy, rng) * (soft > 60), 0)
    water = plane.enlarge(soft, x.shape)
    if rng.random() < recipe.p_clutter:
        water = water + tissue.clutter(x, y, rng)
    look = xray.draw(rng, low_quality=plan.low_quality)
    signal = xray.expose(water, scene.bone, scene.metal, look, rng)
    pixels = xray.present(signal, look, rng)
    marker = None
    if rng.random() < recipe.p_marker:
        marker = _marker(pixels, plan, camera, rng)
    if rng.random() < 0.35:
        _collimate(pixels, rng)
    return pixels, marker


def _marker(pixels: Image, plan: Plan, camera: Camera, rng: np.random.Generator) -> Box | None:
    """Burn the letter of one side in, on that side; return its box."""
    rows, columns = pixels.shape
    side = plan.side_shown
    size = int(rows * rng.uniform(0.03, 0.06))
    font = ImageFont.load_default(size)
    away = rng.uniform(0.03, 0.10) * columns
    x0 = int(columns - away - size) if side is Side.LEFT else int(away)
    y0 = int(rng.uniform(0.05, 0.85) * rows)
    stamp = Pillow.new("L", (columns, rows), 0)
    ImageDraw.Draw(stamp).text((x0, y0), str(side.value), fill=255, font=font)
    box = stamp.getbbox()
    if box is None:
        return None
    alpha = np.asarray(stamp, dtype=np.float32) / 255 * np.float32(rng.uniform(0.8, 1.0))
    pixels[:] = np.round(pixels * (1 - alpha) + 4095 * alpha).astype(pixels.dtype)
    return Box(box[0], box[1], box[2], box[3])


def _collimate(pixels: Image, rng: np.random.Generator) -> None:
    """Blacken strips at the edges, as collimator blades or a film's border do."""
    rows, columns = pixels.shape
    level = int(rng.choice([0, 0, rng.integers(0, 250)]))
    top, bottom = (rng.random(2) ** 3 * 0.06 * rows).astype(int)
    left, right = (rng.random(2) ** 3 * 0.08 * columns).astype(int)
    pixels[:top] = level
    pixels[rows - bottom :] = level
    pixels[:, :left] = level
    pixels[:, columns - right :] = level


def _as_jpeg(pixels: Image, shrink: int, rng: np.random.Generator) -> Image:
    """Return the image as an archive of small JPEG files would hold it."""
    picture = Pillow.fromarray((pixels >> 4).astype(np.uint8))
    if shrink > 1:
        picture = picture.reduce(shrink)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=int(rng.integers(55, 92)))
    back = np.asarray(Pillow.open(buffer), dtype=np.uint16)
    return (back << 4) | (back >> 4)


def _finish(
    recipe: Recipe,
    name: tuple[int, int],
    plan: Plan,
    camera: Camera,
    scene: Scene,
    pixels: Image,
    mask: Image,
    marker: Box | None,
    shrink: int,
) -> Phantom:
    """Turn, mirror and invert the image, and carry the truth along."""
    rows, columns = pixels.shape
    move = plane.scale(1 / shrink, 1 / shrink) @ plane.shift(0.5, 0.5)  # to edges of pixels
    if plan.mirrored:
        pixels, mask = pixels[:, ::-1], mask[:, ::-1]
        move = plane.shift(columns, 0) @ plane.scale(-1, 1) @ move
    for _ in range(plan.quarter_turns):  # clockwise
        move = plane.shift(pixels.shape[0], 0) @ plane.turn(90) @ move
        pixels, mask = np.rot90(pixels, -1), np.rot90(mask, -1)
    to_px = move @ np.linalg.inv(camera.to_mm)
    shape = pixels.shape
    found = [hip_truth(hip, to_px, shape) for hip in scene.hips]
    if plan.view == "abdomen":
        found = []
    elif plan.view in ("one_hip", "lateral"):
        found = [h for h in found if h is not None and h.side == plan.side_shown]
    if plan.photometric == "MONOCHROME1":
        pixels = 4095 - pixels
    corners = None if marker is None else _moved_box(marker, move @ plane.shift(-0.5, -0.5), shape)
    spacing = camera.spacing_mm * shrink
    hips = tuple(h for h in found if h is not None and h.box_inside > 0.6)
    truth = make_truth(recipe, name, plan, spacing, hips, corners)
    pixels = np.ascontiguousarray(pixels, dtype=np.uint16)
    return Phantom(pixels, truth, np.ascontiguousarray(mask, dtype=bool))


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
        hips=hips,
        marker_box=marker,
    )


def hip_box_mm(hip: SeenHip) -> Array:
    """Return the corners of the hip's square box in the plane of the hips.

    From 14 mm above the head's top to 45 mm below the tip of the lesser trochanter; as wide as
    high; centred between the head's inner edge and the outermost trochanter.
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


def hip_truth(hip: SeenHip, to_px: Array, shape: tuple[int, ...]) -> HipTruth | None:
    """Return one hip's truth in pixels, or None where the image does not reach it."""
    corners = plane.apply(to_px, hip_box_mm(hip))
    low, high = corners.min(0), corners.max(0)
    x0, y0 = np.maximum(np.round(low).astype(int), 0)
    x1, y1 = np.minimum(np.round(high).astype(int), shape[::-1])
    if x0 >= x1 or y0 >= y1:
        return None
    fracture = hip.plan.fracture
    fresh = fracture is not None and not fracture.old
    line = plane.apply(to_px, hip.line) if len(hip.line) else hip.line
    return HipTruth(
        hip.plan.side,
        Box(int(x0), int(y0), int(x1), int(y1)),
        float((x1 - x0) * (y1 - y0) / np.prod(high - low)),
        {k: _point(plane.apply(to_px, v)) for k, v in hip.landmarks.items()},
        label=fracture.label if fracture and fresh else "no_fracture",
        subtype=fracture.subtype if fracture else "",
        displacement_mm=fracture.displacement_mm if fracture else 0.0,
        angle_deg=fracture.angle_deg if fracture else 0.0,
        old=bool(fracture and fracture.old),
        implant=hip.plan.implant,
        osteoarthritis=hip.plan.osteoarthritis,
        fracture_line=tuple(_point(p) for p in line[::2]),
    )


def _point(at: Array) -> tuple[float, float]:
    return float(at[0]), float(at[1])


def _moved_box(box: Box, move: Array, shape: tuple[int, ...]) -> Box:
    """Return the box after the image was turned; ``move`` takes edges to edges."""
    corners = np.array([(box.x0, box.y0), (box.x1, box.y1)], dtype=float)
    at = plane.apply(move @ plane.shift(0.5, 0.5) @ plane.shift(-0.5, -0.5), corners)
    low, high = np.floor(at.min(0)).astype(int), np.ceil(at.max(0)).astype(int)
    low, high = np.maximum(low, 0), np.minimum(high, shape[::-1])
    high = np.maximum(high, low + 1)
    return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))
