"""The chain of a reading, with small engines whose every output is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from numpy.typing import NDArray

from hipnode import imaging
from hipnode.domain import (
    AbstentionReason,
    Attention,
    Caveat,
    Decision,
    Header,
    OperatingPoint,
    Radiograph,
    Role,
    Side,
    Verdict,
)
from hipnode.nets import BundleSpec, LoadedModel, ModelSet
from hipnode.reading import ReadPolicy, candidates, read

Arrays = dict[str, NDArray[np.float32]]
SIZE = 512


class Brightness:
    """Logits from the mean of the input; the brighter, the more positive."""

    def __init__(self, classes: int, threshold: float) -> None:
        self._classes, self._threshold = classes, threshold

    def run(self, batch: NDArray[np.float32], _: object = None) -> Arrays:
        score = (batch.mean(axis=(1, 2, 3)) - self._threshold) * 100
        logits = np.zeros((len(batch), self._classes), np.float32)
        logits[:, 1] = score
        n, _, h, w = batch.shape
        cam = np.zeros((n, self._classes, 8, 8), np.float32)
        cam[:, 1] = batch[:, 0].reshape(n, 8, h // 8, 8, w // 8).mean(axis=(2, 4))
        return {"logits": logits, "cam": cam}


class NoNumber:
    """A classifier whose sums have overflowed."""

    def run(self, batch: NDArray[np.float32], _: object = None) -> Arrays:
        return {"logits": np.full((len(batch), 2), np.nan, np.float32)}


class TopIsBright:
    """A frontal gate that accepts images whose top is brighter than their bottom and sides."""

    def run(self, batch: NDArray[np.float32], _: object = None) -> Arrays:
        top = batch[:, 0, : batch.shape[2] // 8].mean(axis=(1, 2)) - batch.mean(axis=(1, 2, 3))
        return {"logits": np.stack([0 * top, (top - 0.3) * 100], axis=1).astype(np.float32)}


class Bright:
    """A localiser that marks what is bright."""

    def run(self, batch: NDArray[np.float32], _: object = None) -> Arrays:
        mask = (batch > 0.35).astype(np.float32)
        mask[:, :, : batch.shape[2] // 8 + 2] = 0
        return {"mask": mask}


def model(role: Role, engine: object, *, margin: float = 0.0, flip: bool = False) -> LoadedModel:
    labels = ("no_fracture", "intracapsular") if role is Role.FRACTURE else ("no", "yes")
    spec = BundleSpec(
        name=str(role),
        version="1.0.0",
        digest="d" * 64,
        role=role,
        network="test",
        arguments={},
        outputs=("logits",),
        labels=labels,
        positive_labels=labels[1:],
        channels=1,
        preprocessing={
            "size_px": 128,
            "scaling": "unit",
            "clip_low_percent": 0.0,
            "clip_high_percent": 100.0,
            "crop_margin": margin,
            "flip_left_to_right": flip,
        },
        covariates=(),
        temperature=1.0,
        operating_point=OperatingPoint("test", 0.2, 0.8),
        card="A test.",
        trained_on="Nothing.",
    )
    return LoadedModel(spec, engine, Path())  # type: ignore[arg-type]


MODELS = ModelSet(
    "test",
    "e" * 64,
    "A test.",
    MappingProxyType(
        {
            Role.GATE: model(Role.GATE, TopIsBright()),
            Role.LOCALISER: model(Role.LOCALISER, Bright()),
            Role.METAL: model(Role.METAL, Brightness(2, 0.9)),
            Role.FRACTURE: model(Role.FRACTURE, Brightness(2, 0.55), flip=True),
        }
    ),
)
HEADER = Header("1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.4", "1.2.3", modality="DX", age_years=70)


def pelvis(
    left_level: float = 0.4, right_level: float = 0.6, *, only_left: bool = False
) -> Radiograph:
    """Two blobs with known grey levels on the image's left and right half, under a bright top."""
    pixels = np.zeros((SIZE, SIZE), np.float32)
    pixels[:64] = 1.0
    pixels[0, 0], pixels[-1, -1] = 0.9, 0.1  # else these rows are even margins
    blob = np.zeros((128, 128), np.float32)
    pixels[256:384, 64:192] = blob + left_level
    pixels[256, 64], pixels[383, 191] = 1, 0.36
    if not only_left:
        pixels[256:384, 320:448] = blob + right_level
        pixels[256, 320], pixels[383, 447] = 1, 0.36
    return Radiograph(pixels, (0.2, 0.2))


def test_a_frontal_pelvis_has_two_hips_the_right_one_first() -> None:
    reading = read(HEADER, pelvis(), MODELS, ReadPolicy())
    right, left = reading.hips
    assert (right.roi.side, left.roi.side) == (Side.RIGHT, Side.LEFT)
    assert abs(right.roi.box.x0 - 64) <= 4
    assert abs(left.roi.box.x1 - 448) <= 4
    assert any("viewer's left" in note for note in reading.notes)
    assert reading.model_set_digest == "e" * 64


def _fields(header: Header) -> dict[str, object]:
    return {name: getattr(header, name) for name in header.__slots__}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modality": "CT"}, AbstentionReason.NOT_A_RADIOGRAPH),
        ({"age_years": 7.0}, AbstentionReason.CHILD),
        ({"view_position": "LL"}, AbstentionReason.NOT_FRONTAL),
        ({"view_words": ("lateral",)}, AbstentionReason.NOT_FRONTAL),
        ({"view_words": ("antero-posterior oblique",)}, AbstentionReason.NOT_FRONTAL),
        ({"series_description": "HIP L LAT"}, AbstentionReason.NOT_FRONTAL),
        ({"series_description": "Hüfte axial re"}, AbstentionReason.NOT_FRONTAL),
        ({"series_description": "frog-leg"}, AbstentionReason.NOT_FRONTAL),
        ({"patient_orientation": ("A", "F")}, AbstentionReason.NOT_FRONTAL),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2"}, AbstentionReason.NOT_A_RADIOGRAPH),
    ],
)
def test_the_header_alone_can_end_a_reading(
    changes: dict[str, object], reason: AbstentionReason
) -> None:
    header = Header(**{**_fields(HEADER), **changes})  # type: ignore[arg-type]
    reading = read(header, pelvis(), MODELS, ReadPolicy())
    assert reading.abstention is not None
    assert reading.abstention.reason is reason


@pytest.mark.parametrize("aspect", [0.2, 4.0, None])
def test_pixels_of_a_shape_that_no_device_makes_are_not_read(aspect: float | None) -> None:
    reading = read(HEADER, replace(pelvis(), aspect=aspect), MODELS, ReadPolicy())
    assert reading.abstention is not None
    assert reading.abstention.reason is AbstentionReason.PIXEL_SHAPE
    assert reading.attention is Attention.SOON


def test_a_hip_that_the_edge_cuts_off_is_for_a_person_and_lowers_the_other_s_alarm() -> None:
    image = pelvis(right_level=0.8)
    image.pixels[64:, :128] = 0  # half of the hip on the viewer's left
    reading = read(HEADER, image, MODELS, ReadPolicy())
    right, left = reading.hips
    assert right.abstention is not None
    assert right.abstention.reason is AbstentionReason.CUT_OFF
    assert right.verdict is Verdict.LOOK_NOW
    assert left.verdict is Verdict.DOUBTFUL
    assert left.caveats == (Caveat.OTHER_HIP,)
    assert reading.attention is Attention.NOW


def test_a_pelvis_that_shows_one_hip_is_never_a_matter_of_routine() -> None:
    image = pelvis(only_left=True)
    reading = read(HEADER, image, MODELS, ReadPolicy())
    (hip,) = reading.hips
    assert (hip.roi.side, hip.verdict) == (Side.RIGHT, Verdict.NONE_SEEN)
    assert reading.missing is Side.LEFT
    assert reading.attention is Attention.NOW


def test_a_network_that_gives_no_number_has_not_said_none_seen() -> None:
    spec = MODELS.fracture.spec
    silent = LoadedModel(spec, NoNumber(), Path())  # type: ignore[arg-type]
    models = replace(MODELS, models=MappingProxyType({**MODELS.models, Role.FRACTURE: silent}))
    for hip in read(HEADER, pelvis(), models, ReadPolicy()).hips:
        assert hip.verdict is Verdict.LOOK_NOW


def test_two_hips_that_touch_in_the_mask_are_told_apart() -> None:
    image = pelvis()
    image.pixels[300:330, 192:320] = 0.6
    right, left = (hip.roi.box for hip in read(HEADER, image, MODELS, ReadPolicy()).hips)
    assert right.x1 <= left.x0
    assert abs(right.x0 - 64) <= 4
    assert abs(left.x1 - 448) <= 4


class Rough:
    """A mask an eighth as fine as the image: soft edges between its pixels, and a spur."""

    def run(self, *_: object) -> Arrays:
        at = np.arange(64)
        across = np.clip(np.minimum(at + 1, 24.3) - np.maximum(at, 8.6), 0, 1)
        down = np.clip(np.minimum(at + 1, 50.8) - np.maximum(at, 30.4), 0, 1)
        mask = np.outer(down, across)
        mask[36:39, 24:28] = 1
        return {"mask": mask[np.newaxis, np.newaxis].astype(np.float32)}


def test_a_box_ends_where_most_of_a_rough_region_ends_to_a_part_of_its_pixel() -> None:
    (found,) = candidates(pelvis().pixels, model(Role.LOCALISER, Rough()))
    edges = (found.box.x0, found.box.x1, found.box.y0, found.box.y1)
    assert np.abs(np.array(edges) - 8 * np.array((8.6, 24.3, 30.4, 50.8))).max() <= 2


def test_two_regions_that_lie_as_in_no_adult_are_no_hips() -> None:
    image = pelvis()
    image.pixels[256:384, 192:310] = 0.6  # ten pixels apart
    reading = read(HEADER, image, MODELS, ReadPolicy())
    assert reading.abstention is not None
    assert reading.abstention.reason is AbstentionReason.NOT_ADULT


def test_a_wide_region_that_is_no_pair_is_no_hip() -> None:
    image = pelvis(only_left=True)
    image.pixels[256:320, 64:250] = 0.6
    image.pixels[320:] = 0
    header = Header(**{**_fields(HEADER), "laterality": "R"})  # type: ignore[arg-type]
    reading = read(header, image, MODELS, ReadPolicy())
    assert not any(hip.findings for hip in reading.hips)


@pytest.mark.parametrize(
    ("age_years", "spacing_mm", "assessed"),
    [
        (None, 0.5, False),  # 64 mm high
        (None, 1.0, True),  # 128 mm
        (70.0, 0.5, True),  # the age is known: then the spacing is wrong
        (None, 0.1, True),  # a field of 51 mm: the spacing is wrong
    ],
)
def test_a_hip_too_small_for_an_adult_is_not_assessed_where_the_age_is_unknown(
    age_years: float | None, spacing_mm: float, *, assessed: bool
) -> None:
    header = Header(**{**_fields(HEADER), "age_years": age_years})  # type: ignore[arg-type]
    image = Radiograph(pelvis().pixels, (spacing_mm, spacing_mm))
    reading = read(header, image, MODELS, ReadPolicy())
    for hip in reading.hips:
        assert bool(hip.findings) is assessed
        if hip.abstention:
            assert hip.abstention.reason is AbstentionReason.NOT_ADULT
    assert any("no age" in note for note in reading.notes) is (age_years is None)


def test_a_third_bright_region_does_not_displace_a_hip() -> None:
    image = pelvis()
    expected = read(HEADER, image, MODELS, ReadPolicy())
    image.pixels[440:500, 220:290] = 0.9  # below and between
    found = read(HEADER, image, MODELS, ReadPolicy())
    assert [hip.roi.box for hip in found.hips] == [hip.roi.box for hip in expected.hips]


def test_equal_input_gives_an_equal_reading_and_a_clock_gives_timings() -> None:
    ticks = iter(range(100))
    first = read(HEADER, pelvis(), MODELS, ReadPolicy())
    assert first == read(HEADER, pelvis(), MODELS, ReadPolicy())
    timed = read(HEADER, pelvis(), MODELS, ReadPolicy(), clock=lambda: next(ticks) / 1000)
    assert timed.timings_ms == {"gate": 1.0, "localise": 1.0, "classify": 1.0}


def test_temperature_softens_and_never_changes_the_order() -> None:
    sharp = read(HEADER, pelvis(0.5, 0.6), MODELS, ReadPolicy())
    soft_spec = replace(MODELS.fracture.spec, temperature=5.0)
    soft_model = LoadedModel(soft_spec, MODELS.fracture.engine, Path())
    models = replace(MODELS, models=MappingProxyType({**MODELS.models, Role.FRACTURE: soft_model}))
    soft = read(HEADER, pelvis(0.5, 0.6), models, ReadPolicy())
    for one, other in zip(sharp.hips, soft.hips, strict=True):
        p, q = one.findings[0].p_positive, other.findings[0].p_positive
        assert abs(q - 0.5) < abs(p - 0.5)
        assert (p > 0.5) is (q > 0.5)


def test_what_is_not_frontal_or_too_small_is_not_read() -> None:
    nothing = Radiograph(np.zeros((SIZE, SIZE), np.float32))
    small = Radiograph(np.zeros((200, 200), np.float32))
    for image, reason in (
        (nothing, AbstentionReason.NOT_FRONTAL),
        (small, AbstentionReason.TOO_SMALL),
    ):
        reading = read(HEADER, image, MODELS, ReadPolicy())
        assert reading.abstention is not None
        assert reading.abstention.reason is reason


def test_metal_ends_the_reading_of_its_own_hip_only() -> None:
    image = pelvis(left_level=0.97, right_level=0.8)
    right, left = read(HEADER, image, MODELS, ReadPolicy()).hips
    assert right.abstention is not None
    assert right.abstention.reason is AbstentionReason.IMPLANT
    assert left.verdict is Verdict.DOUBTFUL  # beside a hip that was not judged
    both = read(HEADER, image, MODELS, ReadPolicy(read_implants=True)).hips
    assert all(hip.findings for hip in both)


def test_decision_label_and_probabilities_agree() -> None:
    for hip in read(HEADER, pelvis(0.4, 0.75), MODELS, ReadPolicy()).hips:
        (finding,) = hip.findings
        assert sum(finding.probabilities.values()) == pytest.approx(1, abs=1e-5)
        absent = finding.decision is Decision.ABSENT
        assert (finding.label == "no_fracture") is absent
        assert finding.decision is finding.operating_point.decide(finding.p_positive)


@pytest.mark.parametrize(
    "changes",
    [{}, {"aspect": 0.8}, {"shown_turns": 1}, {"shown_mirrored": True}, {"aspect": None}],
)
@pytest.mark.parametrize("orientation", [(), ("R", "F")])
def test_an_image_that_others_look_at_too_is_read_alike(
    changes: dict[str, object], orientation: tuple[str, ...]
) -> None:
    image = replace(pelvis(), **changes)  # type: ignore[arg-type]
    header = replace(HEADER, patient_orientation=orientation)
    shared = imaging.Squares(imaging.as_stored(image).picture(image.pixels))
    shared.resized((200, 100))
    assert read(header, image, MODELS, ReadPolicy(), lying=shared) == read(
        header, image, MODELS, ReadPolicy()
    )


def test_saliency_lies_where_the_evidence_is_on_either_side() -> None:
    """The bright corner of each blob is top left in the image, mirrored for the network or not."""
    image = pelvis(0.7, 0.7)
    for x in (64, 320):
        image.pixels[256:300, x : x + 44] = 1.0
    for hip in read(HEADER, image, MODELS, ReadPolicy(read_implants=True)).hips:
        saliency = np.array(hip.findings[0].saliency)
        h, w = saliency.shape
        assert saliency[: h // 3, : w // 3].mean() > saliency[h // 2 :, w // 2 :].mean() + 0.05
