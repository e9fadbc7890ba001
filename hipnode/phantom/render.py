"""One simulated image from a recipe, a seed and an index: the same everywhere, every time."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from hipnode.domain import Box, Side
from hipnode.phantom import affine, anatomy, film, tissue
from hipnode.phantom.body import Camera, Scene, compose
from hipnode.phantom.bones import Array
from hipnode.phantom.dxa import render_dxa
from hipnode.phantom.lots import Plan, draw_camera, draw_plan
from hipnode.phantom.meshes import Image
from hipnode.phantom.population import Recipe
from hipnode.phantom.truth import Phantom
from hipnode.phantom.truth_of import hip_truth, make_truth


def render(
    recipe: Recipe, seed: int, index: int, *, size_px: int | None = None, plan: Plan | None = None
) -> Phantom:
    """Return image ``index`` of the series that this recipe and seed stand for.

    Parameters
    ----------
    recipe
        What is drawn how often.
    seed, index
        Together they decide everything: the same numbers give the same pixels.
    size_px
        The longer edge; the recipe's own where None.
    plan
        What is seen, of a pelvis; drawn from the numbers where None.
    """
    if recipe.kind == "dxa":
        return render_dxa(recipe, seed, index)
    plan = plan or draw_plan(recipe, seed, index)
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


def _shoot(
    recipe: Recipe, plan: Plan, camera: Camera, scene: Scene, rng: np.random.Generator
) -> tuple[Image, Box | None]:
    """Return the processed image, bright bone, and where the side marker is."""
    x, y = camera.field()
    cx, cy = x[::4, ::4].astype(np.float64), y[::4, ::4].astype(np.float64)
    reach = max(abs(float(h.landmarks["lateral"][0])) for h in scene.hips)
    soft = tissue.body(cx, cy, plan.person, reach, rng) + tissue.folds(cx, cy, rng)
    if rng.random() < recipe.p_gas:
        soft = np.maximum(soft - tissue.gas(cx, cy, rng) * (soft > 60), 0)
    water = affine.enlarge(soft, x.shape)
    grain = affine.crop(affine.texture("grain"), x.shape, rng) * np.float32(rng.uniform(0.4, 2.0))
    water = np.maximum(water + grain * np.minimum(water / 60, 1), 0)
    if rng.random() < recipe.p_clutter:
        water = water + tissue.clutter(x, y, rng)
    look = film.draw(rng, low_quality=plan.low_quality)
    if recipe.p_harsh and rng.random() < recipe.p_harsh:
        look = film.harsh(look, rng)
    signal = film.expose(water, scene.bone, scene.metal, look, rng)
    pixels = film.present(signal, scene.metal, look, rng)
    marker = None
    if rng.random() < recipe.p_marker:
        marker = _marker(pixels, plan, rng)
    if rng.random() < 0.35:
        _collimate(pixels, rng)
    return pixels, marker


def _marker(pixels: Image, plan: Plan, rng: np.random.Generator) -> Box | None:
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
    level = max(0, int(rng.integers(-500, 250)))
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
    columns = pixels.shape[1]
    move = affine.scale(1 / shrink, 1 / shrink) @ affine.shift(0.5, 0.5)  # to edges of pixels
    if plan.mirrored:
        pixels, mask = pixels[:, ::-1], mask[:, ::-1]
        move = affine.shift(columns, 0) @ affine.scale(-1, 1) @ move
    for _ in range(plan.quarter_turns):  # clockwise
        move = affine.shift(pixels.shape[0], 0) @ affine.turn(90) @ move
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
    corners = None if marker is None else _moved_box(marker, move @ affine.shift(-0.5, -0.5), shape)
    spacing = camera.spacing_mm * shrink
    hips = tuple(h for h in found if h is not None and h.box_inside > 0.6)
    truth = make_truth(recipe, name, plan, spacing, hips, corners)
    pixels = np.ascontiguousarray(pixels, dtype=np.uint16)
    return Phantom(pixels, truth, np.ascontiguousarray(mask, dtype=bool))


def _moved_box(box: Box, move: Array, shape: tuple[int, ...]) -> Box:
    """Return the box after the image was turned; ``move`` takes edges to edges."""
    corners = np.array([(box.x0, box.y0), (box.x1, box.y1)], dtype=float)
    at = affine.apply(move @ affine.shift(0.5, 0.5) @ affine.shift(-0.5, -0.5), corners)
    low, high = np.floor(at.min(0)).astype(int), np.ceil(at.max(0)).astype(int)
    low, high = np.maximum(low, 0), np.minimum(high, shape[::-1])
    high = np.maximum(high, low + 1)
    return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))
