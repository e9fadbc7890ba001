"""The phantom: same seed, same pixels; truth where the pixels are; density, fractures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from hipnode.domain import Box, Side
from hipnode.errors import ManifestInvalid, SettingsInvalid
from hipnode.imaging import part_of
from hipnode.phantom import (
    Made,
    Recipe,
    affine,
    anatomy,
    bones,
    fractures,
    load_recipe,
    pieces,
    read_manifest,
    render,
    truth_of,
    write_dicom,
    write_manifest,
)
from hipnode.phantom.batch import Order, make_all
from hipnode.phantom.body import Camera, HipPlan, compose
from hipnode.phantom.lots import draw_plan
from hipnode.phantom.manifest import parse_box
from hipnode.phantom.meshes import Grid, project

pytestmark = pytest.mark.slow


def jaccard(a: Box, b: Box) -> float:
    width = max(0, min(a.x1, b.x1) - max(a.x0, b.x0))
    shared = width * max(0, min(a.y1, b.y1) - max(a.y0, b.y0))
    return shared / (a.width_px * a.height_px + b.width_px * b.height_px - shared)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """One body a split, cached for this module."""
    demo = load_recipe("demo")
    cache = tmp_path_factory.mktemp("bones")
    return replace(demo, cache_dir=cache, anatomies={"train": 1, "val": 1, "test": 1})


@pytest.fixture(scope="module")
def body(recipe: Recipe) -> anatomy.Anatomy:
    return anatomy.load("train", 0, "frontal", recipe.cache_dir)


def _plain(side: Side, fracture: fractures.Fracture | None = None) -> HipPlan:
    return HipPlan(side, fracture, "", 0, 0.0, 3)


def test_path_length_of_a_cube_is_exact() -> None:
    corners = np.array([[x, y, z] for x in (0, 10) for y in (0, 10) for z in (0, 7)], float)
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = np.array([t for a, b, c, d in faces for t in ((a, b, c), (a, c, d))])
    image = np.abs(project(corners, triangles, Grid(-4.75, -4.75, 0.5, 40, 40)))
    assert image[20, 20] == pytest.approx(7.0, abs=1e-6)
    assert image.sum() * 0.25 == pytest.approx(700.0, rel=1e-3)


def test_volume_of_the_femur_equals_its_projection() -> None:
    atlas = bones.load_atlas()
    _, femur = atlas.shape(np.zeros(bones.MODES))
    cells = atlas.femur.triangles
    a, b, c = (femur[cells[:, i]] for i in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    flat = np.stack([femur[:, 0], -femur[:, 2], femur[:, 1]], axis=1)
    grid = Grid(flat[:, 0].min() - 2, flat[:, 1].min() - 2, 1.0, 450, 150)
    assert project(flat, cells, grid).sum() == pytest.approx(volume, rel=2e-3)


def test_the_shape_model_is_read_without_running_code(tmp_path: Path) -> None:
    import pickle

    evil = tmp_path / "evil.pc"
    evil.write_bytes(pickle.dumps(print))
    with evil.open("rb") as file, pytest.raises(Exception, match="the shape model wants"):
        bones._NumpyOnly(file).load()


def test_reserved_modes_are_never_drawn_for_training() -> None:
    for number in range(30):
        train = anatomy.coefficients("train", anatomy.generator("x", number))
        test = anatomy.coefficients("test", anatomy.generator("x", number))
        assert (train[list(bones.RESERVED_MODES)] == 0).all()
        assert (np.abs(test[list(bones.RESERVED_MODES)]) >= 0.8).all()


def test_same_seed_same_pixels(recipe: Recipe) -> None:
    first, again = (render(recipe, 4, 2, size_px=512) for _ in range(2))
    assert (first.pixels == again.pixels).all()
    assert first.truth == again.truth
    assert (render(recipe, 4, 3, size_px=512).pixels != first.pixels).any()


def test_head_is_where_the_truth_says_on_both_sides(body: anatomy.Anatomy) -> None:
    """A disc of the head's radius round its centre is bone; just outside, above the neck, not."""
    for hip in (body.right, body.left):
        head, radius = hip.points.head, hip.points.head_radius
        x, y = affine.mm(anatomy.FEMUR_GRID)
        off = np.hypot(x - head[0], y - head[1])
        whole = hip.neutral.whole
        assert (whole[off < 0.85 * radius] > 5).all()
        upper_inner = (y < head[1]) & (x < head[0])
        assert (whole[(off > 1.12 * radius) & upper_inner] < 0.5).all()
    assert body.right.head_mm[0] < 0 < body.left.head_mm[0]


def test_hips_lie_on_their_sides_and_follow_the_turning(recipe: Recipe) -> None:
    straight = render(recipe, 8, 0, size_px=400)
    right, left = straight.truth.hip(Side.RIGHT), straight.truth.hip(Side.LEFT)
    assert right is not None
    assert left is not None
    assert right.box.x0 < left.box.x0  # the patient's right is on the viewer's left
    turned = render(replace(recipe, p_rotated=1.0), 8, 0, size_px=400)
    box = turned.truth.hip(Side.RIGHT)
    assert box is not None
    quarter = turned.truth.rotation_deg // 90
    back = np.rot90(turned.pixels, quarter)
    assert back.shape == straight.pixels.shape
    rows, columns = straight.pixels.shape
    expected = {
        1: (rows - right.box.y1, right.box.x0),
        2: (columns - right.box.x1, rows - right.box.y1),
        3: (right.box.y0, columns - right.box.x1),
    }[quarter]
    assert (box.box.x0, box.box.y0) == pytest.approx(expected, abs=2)


def _mass(recipe: Recipe, body: anatomy.Anatomy, t_score: float) -> float:
    plan = draw_plan(recipe, 1, 1)
    person = replace(plan.person, t_score=t_score)
    to_mm = affine.scale(2.0, 2.0) @ affine.shift(-100.0, -100.0)
    plans = (_plain(Side.RIGHT), _plain(Side.LEFT))
    return float(compose(body, plans, person, Camera(to_mm, 200, 200), 1).bone.sum())


def test_mass_falls_with_the_t_score(recipe: Recipe, body: anatomy.Anatomy) -> None:
    masses = [_mass(recipe, body, t) for t in (-4.0, -2.5, -1.0, 1.0)]
    assert masses == sorted(masses)
    assert masses[0] < 0.75 * masses[2]


def test_an_undisplaced_fracture_changes_pixels_near_its_line_only(body: anatomy.Anatomy) -> None:
    fracture = fractures.Fracture(
        "intracapsular", "undisplaced", 0.0, 0.0, 0.5, 0.0, 1.2, False, False, False, 5
    )
    broken, whole = fractures.break_bone(body.left, 1.0, fracture), body.left.neutral.whole
    changed = np.abs(broken.whole - whole) > 0.5
    x, y = affine.mm(anatomy.FEMUR_GRID)
    far = np.min(np.hypot(x[..., None] - broken.line[:, 0], y[..., None] - broken.line[:, 1]), -1)
    assert changed.sum() > 50
    assert far[changed].max() < 6


def test_every_class_is_drawn_and_changes_the_bone(body: anatomy.Anatomy) -> None:
    rng = np.random.default_rng(1)
    for label in ("intracapsular", "trochanteric", "subtrochanteric"):
        broken = fractures.break_bone(body.right, 1.0, fractures.draw(label, rng))
        assert np.abs(broken.whole - body.right.neutral.whole).max() > 3
        assert len(broken.line) > 5


def test_metal_is_where_the_mask_says(recipe: Recipe) -> None:
    made = render(replace(recipe, p_implant_hip=1.0, p_marker=0.0), 2, 0, size_px=512)
    assert made.implant_mask.any()
    assert all(h.implant and h.label == "no_fracture" for h in made.truth.hips)
    rows, columns = np.nonzero(made.implant_mask)
    inside = np.zeros(len(rows), dtype=bool)
    for hip in made.truth.hips:
        b = hip.box
        inside |= (columns >= b.x0) & (columns < b.x1) & (rows >= b.y0) & (rows < b.y1)
    assert inside.mean() > 0.5
    grey = made.pixels
    assert np.median(grey[made.implant_mask]) > np.percentile(grey, 80)


def test_monochrome1_is_the_other_way_round(recipe: Recipe) -> None:
    plain = render(replace(recipe, p_monochrome1=0.0), 6, 1, size_px=300)
    other = render(replace(recipe, p_monochrome1=1.0), 6, 1, size_px=300)
    assert other.truth.photometric == "MONOCHROME1"
    assert (other.pixels == 4095 - plain.pixels).all()


def test_density_scan_falls_with_the_t_score(recipe: Recipe) -> None:
    dxa = replace(load_recipe("dxa"), cache_dir=recipe.cache_dir, anatomies=recipe.anatomies)
    scans = [render(replace(dxa, t_score_mean=t, t_score_sd=0.0), 1, 1) for t in (-3.5, 1.0)]
    low, high = (scan.truth.hips[0].bmd_g_cm2 for scan in scans)
    assert low is not None
    assert high is not None
    assert 0.3 < low < 0.8 * high < 1.5


def test_dicom_keeps_every_pixel(recipe: Recipe, tmp_path: Path) -> None:
    made = render(recipe, 1, 5, size_px=300)
    ds = pydicom.dcmread(write_dicom(made, tmp_path / "a" / "x.dcm"))
    assert (ds.pixel_array == made.pixels).all()
    assert str(ds.PatientName).startswith("PHANTOM^")
    assert "NOT FOR CLINICAL USE" in ds.ImageComments
    again = pydicom.dcmread(write_dicom(made, tmp_path / "y.dcm"))
    assert again.SOPInstanceUID == ds.SOPInstanceUID


def test_manifest_comes_back(recipe: Recipe, tmp_path: Path) -> None:
    made = render(recipe, 1, 6, size_px=300)
    write_manifest(tmp_path / "m.csv", [Made("x.dcm", made.truth)])
    row = read_manifest(tmp_path / "m.csv")[0]
    right = made.truth.hip(Side.RIGHT)
    assert right is not None
    assert parse_box(row["right_box"]) == right.box
    assert row["right_label"] == right.label
    assert parse_box("") is None
    with pytest.raises(ManifestInvalid):
        parse_box("1 2 3")


def test_many_at_once_are_the_same_as_one_by_one(recipe: Recipe, tmp_path: Path) -> None:
    """Over two processes; metal has its mask beside the image, and the manifest names it."""
    implants = replace(recipe, p_implant_hip=1.0)
    made = list(make_all(Order(implants, 5, tmp_path, size_px=300), 2, jobs=2))
    for index, one in enumerate(made):
        alone = render(implants, 5, index, size_px=300)
        assert (pydicom.dcmread(tmp_path / one.file).pixel_array == alone.pixels).all()
        assert alone.implant_mask.any()
        mask = np.asarray(Image.open(tmp_path / one.implant_mask))
        assert (mask.astype(bool) == alone.implant_mask).all()


def test_box_is_square_and_holds_the_landmarks(recipe: Recipe) -> None:
    for index in range(3):
        made = render(recipe, 12, index, size_px=400)
        for hip in made.truth.hips:
            if hip.box_inside > 0.999 and not hip.displacement_mm:
                assert abs(hip.box.width_px - hip.box.height_px) <= 2
                for name in ("head", "neck", "lesser_trochanter", "lateral"):
                    px, py = hip.landmarks[name]
                    assert hip.box.x0 < px < hip.box.x1
                    assert hip.box.y0 < py < hip.box.y1


def test_box_of_the_proximal_femur_lies_between_socket_and_lesser_trochanter(
    recipe: Recipe,
) -> None:
    """Jang 2022, Fig. 4: on both sides, the lateral border is the outer one."""
    seen = set()
    for index in range(3):
        made = render(recipe, 12, index, size_px=400)
        for hip in made.truth.hips:
            box = hip.proximal_femur_box
            assert box is not None
            if hip.box_inside < 0.999 or hip.displacement_mm or made.truth.rotation_deg:
                continue
            seen.add(hip.side)
            assert hip.box.y0 < box.y0 < hip.landmarks["head"][1]
            assert hip.landmarks["lesser_trochanter"][1] < box.y1 < hip.box.y1
            assert box.x0 < hip.landmarks["neck"][0] < box.x1
            outer = box.x0 if hip.side is Side.RIGHT else box.x1
            assert abs(outer - hip.landmarks["lateral"][0]) < 0.1 * box.width_px
            cut = part_of(hip.box, "proximal_femur", mirrored=hip.side is Side.LEFT)
            assert jaccard(cut, box) > 0.8  # the networks' crop is a fixed part of Murphy's box
    assert seen == {Side.RIGHT, Side.LEFT}


def test_unknown_recipe_and_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="no usable recipe"):
        load_recipe("no-such-recipe")
    bad = tmp_path / "bad.toml"
    bad.write_text("p_fractur_hip = 1.0", encoding="utf-8")
    with pytest.raises(SettingsInvalid, match="p_fractur_hip"):
        load_recipe(bad)


def test_shipped_samples_are_small_and_say_what_they_are() -> None:
    from importlib.resources import files

    samples = sorted(f.name for f in (files("hipnode.phantom") / "samples").iterdir())
    dicom = [name for name in samples if name.endswith(".dcm")]
    assert len(dicom) == 3
    for name in dicom:
        path = Path(str(files("hipnode.phantom") / "samples" / name))
        assert path.stat().st_size < 1_200_000
        assert "NOT FOR CLINICAL USE" in pydicom.dcmread(path).ImageComments


def test_truth_of_a_hip_outside_the_image_is_none(body: anatomy.Anatomy, recipe: Recipe) -> None:
    camera = Camera(affine.scale(1.0, 1.0) @ affine.shift(-50.0, -50.0), 100, 100)
    scene = compose(body, (_plain(Side.LEFT),), draw_plan(recipe, 1, 1).person, camera, 1)
    assert truth_of.hip_truth(scene.hips[0], affine.shift(-5000.0, 0.0), (100, 100)) is None
    assert isinstance(Box(0, 0, 1, 1), Box)


@pytest.mark.parametrize("label", ["intracapsular", "trochanteric", "subtrochanteric"])
def test_a_gross_fracture_draws_the_leg_up_and_breaks_into_pieces(
    body: anatomy.Anatomy, label: str
) -> None:
    rng = np.random.default_rng(3)
    broken = pieces.gross(fractures.draw(label, rng), rng)
    two = fractures.break_bone(body.left, 1.0, broken)
    more = pieces.shatter(two, broken)
    assert body.left.points.shaft_far[1] - two.points.shaft_far[1] > 5  # mm upwards
    assert np.abs(more.whole - two.whole).max() > 2
    assert more.whole.sum() == pytest.approx(two.whole.sum(), rel=0.02)  # no bone is lost
    assert (more.cortex <= more.whole + 1e-3).all()


def test_only_a_recipe_that_asks_for_it_turns_legs_and_displaces_grossly() -> None:
    plans = {
        name: [draw_plan(load_recipe(name), 3, i) for i in range(60)]
        for name in ("fractures", "gross")
    }
    hips = {name: [hip for plan in drawn for hip in plan.hips] for name, drawn in plans.items()}
    assert not any(h.turned or (h.fracture and h.fracture.pieces) for h in hips["fractures"])
    whole = [h.turned for h in hips["gross"] if h.fracture is None]
    assert 0.3 < np.mean(whole) < 0.7
    gross = [h.fracture for h in hips["gross"] if h.fracture and h.fracture.pieces]
    assert len(gross) > 20
    assert all(15 <= f.displacement_mm <= 45 and f.turned for f in gross)


def test_a_turned_leg_shows_more_of_its_lesser_trochanter(body: anatomy.Anatomy) -> None:
    straight = fractures.intact(body.right, 1.0)
    turned = fractures.intact(body.right, 1.0, turned=True)
    assert np.abs(straight.whole - turned.whole).max() > 3

    def far(bone: fractures.Bone) -> float:
        along = bone.points.shaft_far - bone.points.shaft_near
        to = bone.points.lesser_trochanter - bone.points.shaft_near
        return float(abs(along[0] * to[1] - along[1] * to[0]) / np.hypot(*along))

    assert far(turned) > far(straight) + 1
