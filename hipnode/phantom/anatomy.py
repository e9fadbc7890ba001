"""One body's bones, posed and projected once along the beam, and kept in a cache.

All parts are path lengths in mm on 0.5 mm grids in the plane of the hip centres: a point nearer to
the tube is magnified as a cone beam does. Femora are stored as left ones (lateral to the right)
with the centre of the head at the origin; the pelvis has its origin between the hip centres.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Final

import numpy as np
from scipy.ndimage import gaussian_filter

from hipnode.phantom import bones
from hipnode.phantom.bones import Array
from hipnode.phantom.femur import LANDMARKS, FemurPoints, find_points
from hipnode.phantom.meshes import Grid, Image, project
from hipnode.phantom.rotations import about, turn_x, turn_y, turn_z

VERSION: Final = 2
STEP_MM: Final = 0.5
QUANTUM_MM: Final = 0.01  # of path lengths in the cache
SOURCE_MM: Final = 1000.0  # from the focus to the hip centres
PELVIS_GRID: Final = Grid(-185.0, -190.0, STEP_MM, 620, 740)
FEMUR_GRID: Final = Grid(-70.0, -55.0, STEP_MM, 640, 360)
THIN: Final = 0.5  # times the usual thickness of the cortex
THICK: Final = 1.3
SPLITS: Final = ("train", "val", "test")
POSES: Final = ("frontal", "lateral")


@dataclass(frozen=True, slots=True)
class Part:
    """A bone's whole path length, and that of its cortex when thin and when thick."""

    whole: Image
    thin: Image
    thick: Image

    def cortex(self, times: float | Image) -> Image:
        """Return the path length in cortex for a thickness of ``times`` the usual, row by row."""
        share = np.asarray((times - THIN) / (THICK - THIN), np.float32)
        found: Image = np.clip(self.thin + share * (self.thick - self.thin), 0, self.whole)
        return found


@dataclass(frozen=True, slots=True)
class Hip:
    """One femur: its head's place in the pelvis' plane, two poses, and their landmarks in mm."""

    head_mm: tuple[float, float]
    neutral: Part
    turned: Part  # the shaft turned outwards, as below a displaced fracture
    points: FemurPoints
    turned_points: FemurPoints


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Everything that is the same in all images of one body."""

    split: str
    number: int
    pose: str
    pelvis: Part
    sacrum: Part
    right: Hip
    left: Hip
    sacrum_top_mm: tuple[float, float]


def default_cache() -> Path:
    """Return where projected bones are kept unless the caller says otherwise."""
    return Path.home() / ".cache" / "hipnode" / "phantom"


def load(split: str, number: int, pose: str, folder: Path | None = None) -> Anatomy:
    """Return a body from the cache, building it where it is not there yet."""
    folder = folder or default_cache()
    path = folder / f"v{VERSION}-{split}-{number:04d}-{pose}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        built = _coarse(_pack(split, number, pose))
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".npz", delete=False) as file:
            _write(file, built)
        os.replace(file.name, path)  # noqa: PTH105 - atomic, and another process may do the same
        return _unpack(built, split, number, pose)
    with np.load(path, allow_pickle=False) as kept:
        return _unpack({k: kept[k] for k in kept.files}, split, number, pose)


def _write(file: IO[bytes], arrays: dict[str, Image]) -> None:
    """Write what `numpy.load` reads, in half of the usual time, for a twentieth more room."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as kept:
        for name, array in arrays.items():
            with kept.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


def coefficients(split: str, rng: np.random.Generator) -> Array:
    """Draw shape coefficients; reserved modes are zero in training and far from it in tests."""
    drawn = np.clip(rng.standard_normal(bones.MODES), -2.2, 2.2)
    reserved = list(bones.RESERVED_MODES)
    far = rng.choice([-1.0, 1.0], len(reserved)) * rng.uniform(0.8, 2.0, len(reserved))
    drawn[reserved] = far if split == "test" else 0.0
    return np.asarray(drawn)


def generator(*words: str | int) -> np.random.Generator:
    """Return a generator that depends on these words and numbers alone."""
    seeds = [zlib.crc32(w.encode()) if isinstance(w, str) else int(w) for w in words]
    return np.random.default_rng(seeds)


def _pack(split: str, number: int, pose: str) -> dict[str, Image]:
    """Build a body and return its arrays by name."""
    rng = generator("anatomy", split, number)
    atlas = bones.load_atlas()
    pelvis, femur = atlas.shape(coefficients(split, rng))
    hemi, sacrum, femur, head = _level(pelvis, femur)
    tilt, turn = np.radians(rng.normal(0, [6.0, 2.5]))
    yaw = turn if pose == "frontal" else rng.choice([-1, 1]) * np.radians(rng.uniform(25, 65))
    frame = turn_z(yaw) @ turn_x(tilt)
    out: dict[str, Image] = {}
    mirror = np.array([-1.0, 1.0, 1.0])
    cells = atlas.pelvis.triangles
    left = atlas.pelvis.component[cells[:, 0]] == 1
    middle = atlas.pelvis.component[cells[:, 0]] == 2
    for name, points, wound, thickness in (
        ("left", hemi, cells[left], _pelvic_cortex(hemi, head)),
        ("right", hemi * mirror, cells[left][:, ::-1], _pelvic_cortex(hemi, head)),
        ("sacrum", sacrum, cells[middle], np.full(len(sacrum), 0.9)),
    ):
        _bone(out, name, points, wound, thickness, frame, np.zeros(3), PELVIS_GRID)
    for kind in ("whole", "thin", "thick"):
        out[f"pelvis_{kind}"] = out.pop(f"left_{kind}") + out.pop(f"right_{kind}")
    top = (frame @ sacrum[atlas.pelvis.component == 2].T).T
    out["sacrum_top"] = np.array([0.0, -top[:, 2].max()], dtype=np.float32)
    for side in ("R", "L"):
        _femur(out, side, femur, head, frame, rng, pose)
    return out


def _coarse(arrays: dict[str, Image]) -> dict[str, Image]:
    """Return the arrays with path lengths in whole steps of ``QUANTUM_MM``: half the size."""
    return {
        name: np.round(a / QUANTUM_MM).astype(np.uint16) if a.ndim == 2 and len(a) > 99 else a
        for name, a in arrays.items()
    }


def _level(pelvis: Array, femur: Array) -> tuple[Array, Array, Array, Array]:
    """Put the left half of the pelvis upright, the midplane at x = 0, the hip centre at y = z = 0.

    Returns the left hemipelvis, the sacrum, the left femur (all with full vertex numbering) and
    the centre of the left head.
    """
    part = bones.load_atlas().pelvis.component
    across = pelvis[part == 1].mean(0) - pelvis[part == 0].mean(0)
    e1 = across / np.linalg.norm(across)
    e3 = np.array([0.0, 0.0, 1.0]) - e1[2] * e1
    e3 /= np.linalg.norm(e3)
    frame = np.stack([e1, np.cross(e3, e1), e3])
    p, f = pelvis @ frame.T, femur @ frame.T
    head = find_points(f).head
    low = np.percentile(p[part == 1, 2], 20)
    pubis = p[(part == 1) & (p[:, 2] < low + 25), 0].min()
    other = p[(part == 0) & (p[:, 2] < low + 25), 0].max()
    gap = np.clip(pubis - other, 3.0, 6.0)
    origin = np.array([pubis - gap / 2, head[1], head[2]])
    sacrum = p - origin
    sacrum[:, 0] -= 0.7 * sacrum[part == 2, 0].mean()
    return p - origin, sacrum, f - origin, head - origin


def _pelvic_cortex(points: Array, head: Array) -> Array:
    """Return the cortex's thickness in mm: thicker above and around the socket."""
    away = np.linalg.norm(points - head, axis=1)
    roof = np.exp(-(((away - 27) / 6) ** 2)) * np.clip((points - head)[:, 2] / 15 + 0.3, 0, 1)
    brim = np.exp(-((points[:, 0] / 70) ** 2))
    return np.asarray(0.9 + 1.6 * roof + 0.5 * brim)


def _femoral_cortex(points: Array, head: Array) -> Array:
    """Return the cortex's thickness in mm: an eggshell at the head, 6-7 mm at the shaft."""
    down = -(points - head)[:, 2]
    along = np.clip((down - 25) / 115, 0, 1)
    calcar = np.exp(-(((down - 45) / 18) ** 2)) * ((points - head)[:, 0] < 35)
    return np.asarray(1.0 + 5.2 * along * along * (3 - 2 * along) + 1.4 * calcar)


def _femur(
    out: dict[str, Image],
    side: str,
    femur: Array,
    head: Array,
    frame: Array,
    rng: np.random.Generator,
    pose: str,
) -> None:
    """Add one femur's two poses, landmarks and place; the right one is the left one mirrored."""
    atlas = bones.load_atlas()
    sign = 1.0 if side == "L" else -1.0
    seen = np.diag([sign, 1.0, 1.0]) @ frame @ np.diag([sign, 1.0, 1.0])
    outwards = np.clip(rng.normal(-12, 9), -28, 12)  # degrees: the feet are turned inwards
    leg = turn_z(np.radians(outwards)) @ turn_y(np.radians(rng.normal(-3, 2)))
    if pose == "lateral":
        leg = turn_y(np.radians(-rng.uniform(10, 40))) @ turn_z(np.radians(rng.uniform(30, 70)))
    local = (femur - head) @ leg.T
    thickness = _femoral_cortex(femur, head)
    axis = find_points(local)
    at = seen @ head
    for name, turn in (("neutral", 0.0), ("turned", float(rng.uniform(25, 45)))):
        spin = about(axis.shaft_far - axis.shaft_near, -np.radians(turn))
        points = (local - axis.shaft_near) @ spin.T + axis.shaft_near
        _bone(out, f"{side}_{name}", points, atlas.femur.triangles, thickness, seen, at, FEMUR_GRID)
        marks = find_points(points)
        flat = _flatten(np.stack([getattr(marks, k) for k in LANDMARKS]), seen, at)
        origin = _flatten(np.zeros((1, 3)), seen, at)[0]
        out[f"{side}_{name}_points"] = (flat[:, :2] - origin[:2]).astype(np.float32)
    scale = SOURCE_MM / (SOURCE_MM + at[1])
    out[f"{side}_head"] = np.array([sign * at[0], -at[2]], dtype=np.float32) * np.float32(scale)
    out[f"{side}_radius"] = np.array([axis.head_radius], dtype=np.float32)


def _flatten(points: Array, frame: Array, at: Array) -> Array:
    """Return (x, y, depth) in the image's plane, in mm, with cone-beam magnification."""
    seen = points @ frame.T + at
    scale = SOURCE_MM / (SOURCE_MM + seen[:, 1])
    return np.stack([seen[:, 0] * scale, -seen[:, 2] * scale, seen[:, 1]], axis=1)


def _bone(
    out: dict[str, Image],
    name: str,
    points: Array,
    cells: bones.Ints,
    thickness: Array,
    frame: Array,
    at: Array,
    grid: Grid,
) -> None:
    """Project a bone whole, and hollow with a thin and a thick cortex."""
    origin = _flatten(np.zeros((1, 3)), frame, at)[0] * [1, 1, 0]
    normals = bones.vertex_normals(points, cells)
    whole = project(_flatten(points, frame, at) - origin, cells, grid)
    out[f"{name}_whole"] = gaussian_filter(whole, 0.5)
    for kind, times in (("thin", THIN), ("thick", THICK)):
        inner = points - normals * (thickness * times)[:, None]
        hollow = project(_flatten(inner, frame, at) - origin, cells, grid)
        shell = np.clip(whole - hollow, 0, whole)
        out[f"{name}_{kind}"] = gaussian_filter(shell, 0.8)


def _unpack(kept: dict[str, Image], split: str, number: int, pose: str) -> Anatomy:
    """Return the body from its arrays."""

    def part(name: str) -> Part:
        kinds = (kept[f"{name}_{k}"] * np.float32(QUANTUM_MM) for k in ("whole", "thin", "thick"))
        return Part(*kinds)

    def hip(side: str) -> Hip:
        radius = float(kept[f"{side}_radius"][0])
        head = kept[f"{side}_head"]

        def points(kind: str, radius: float) -> FemurPoints:
            marks = kept[f"{side}_{kind}_points"].astype(float)
            return FemurPoints(**dict(zip(LANDMARKS, marks, strict=True)), head_radius=radius)

        return Hip(
            (float(head[0]), float(head[1])),
            part(f"{side}_neutral"),
            part(f"{side}_turned"),
            points("neutral", radius),
            points("turned", radius),
        )

    top = kept["sacrum_top"]
    return Anatomy(
        split,
        number,
        pose,
        part("pelvis"),
        part("sacrum"),
        hip("R"),
        hip("L"),
        (float(top[0]), float(top[1])),
    )


@lru_cache(maxsize=24)
def load_kept(split: str, number: int, pose: str, folder: Path | None = None) -> Anatomy:
    """Return a body, keeping the last few in memory."""
    return load(split, number, pose, folder)
