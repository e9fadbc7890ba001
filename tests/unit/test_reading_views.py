"""Views of a hip: what the gate tells apart, and what the header says of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from numpy.typing import NDArray

from hipnode.domain import (
    AbstentionReason,
    OperatingPoint,
    Radiograph,
    Role,
    Side,
    Verdict,
    View,
)
from hipnode.nets import LoadedModel, ModelSet
from hipnode.nets.bundle.typical import Typical
from hipnode.reading import ReadPolicy, read, view_of
from tests.unit.test_reading import HEADER, MODELS, Arrays, model, pelvis


class Says:
    """A gate of four views that says the same of any upright image, and nothing when turned."""

    def __init__(self, *p: float) -> None:
        self._p = np.array(p, np.float32)

    def run(self, batch: NDArray[np.float32], _: object = None) -> Arrays:
        top, size = batch[:, 0, : batch.shape[2] // 8].mean(axis=(1, 2)), len(batch)
        p = np.where((top > 0.9)[:, None], self._p, np.tile([0.01, 0.01, 0.01, 0.97], (size, 1)))
        return {"logits": np.log(p).astype(np.float32)}


def _views(*p: float) -> LoadedModel:
    labels = ("pelvis_ap", "hip_ap", "hip_other", "other")
    spec = replace(
        model(Role.GATE, Says()).spec,
        labels=labels,
        positive_labels=labels[:3],
        operating_point=OperatingPoint("test", 0.7, 0.7),
    )
    return LoadedModel(spec, Says(*p), Path())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("p", "view"),
    [
        ((0.7, 0.1, 0.1, 0.1), View.PELVIS),
        ((0.4, 0.2, 0.3, 0.1), View.PELVIS),
        ((0.1, 0.7, 0.1, 0.1), View.HIP),
        ((0.1, 0.4, 0.4, 0.1), View.HIP),
        ((0.1, 0.39, 0.41, 0.1), View.OTHER),
        ((0.1, 0.1, 0.7, 0.1), View.OTHER),
        ((0.2, 0.2, 0.2, 0.4), View.OTHER),  # perhaps no hip at all
    ],
)
@pytest.mark.parametrize("turns", [0, 1])
def test_another_view_of_a_hip_is_told_from_an_ap_view(
    p: tuple[float, ...], view: View, turns: int
) -> None:
    sight = view_of(np.rot90(pelvis().pixels, -turns).copy(), _views(*p))
    if turns and view is not View.OTHER and p[0] + p[1] < 0.9:
        view = View.OTHER  # turned, the gate has to be surer
    assert sight.view is view
    assert sight.p_none == pytest.approx(0.97 if turns else p[3], abs=1e-3)


def test_what_may_be_another_view_is_never_told_none_seen() -> None:
    for p, said in (((0.05, 0.85, 0.05, 0.05), True), ((0.05, 0.4, 0.5, 0.05), False)):
        gates = MappingProxyType(dict(MODELS.models) | {Role.GATE: _views(*p)})
        image = pelvis(right_level=0.9)
        reading = read(HEADER, image, replace(MODELS, models=gates), ReadPolicy())
        seen = Verdict.NONE_SEEN in {hip.verdict for hip in reading.hips}
        assert seen is said
        suspected = {Verdict.DEFINITE, Verdict.DOUBTFUL}
        assert suspected & {hip.verdict for hip in reading.hips}  # the bright one


@pytest.mark.parametrize(
    "changes",
    [
        {"series_description": "HIP AP + LAT"},  # two views in a series: which, it does not say
        {"series_description": "PLATFORM PELVIS"},
        {"series_description": "HIP LAT", "view_position": "AP"},
        {"series_description": "HIP LAT", "view_words": ("antero-posterior",)},
    ],
)
def test_a_series_called_lateral_is_not_believed_against_its_image(
    changes: dict[str, object],
) -> None:
    header = replace(HEADER, **changes)  # type: ignore[arg-type]
    reading = read(header, pelvis(), MODELS, ReadPolicy())
    assert reading.abstention is None
    assert reading.view is View.PELVIS


class Localises:
    """A localiser that marks what is bright, less surely on the viewer's right."""

    def __init__(self, sure: float) -> None:
        self._sure = np.float32(sure)

    def run(self, batch: NDArray[np.float32], _: object = None) -> Arrays:
        mask = (batch > 0.35).astype(np.float32)
        mask[:, :, : batch.shape[2] // 8 + 2] = 0
        mask[..., batch.shape[3] // 2 :] *= self._sure
        return {"mask": mask}


def _with(gate: LoadedModel, *, sure: float = 1.0) -> ModelSet:
    localiser = replace(MODELS.localiser, engine=Localises(sure))  # type: ignore[arg-type]
    changed = {Role.GATE: gate, Role.LOCALISER: localiser}
    return replace(MODELS, models=MappingProxyType(dict(MODELS.models) | changed))


@pytest.mark.parametrize(
    ("p", "only_left", "sure", "view"),
    [
        ((0.4, 0.5, 0.05, 0.05), False, 1.0, View.PELVIS),  # nearly as likely, and both are there
        ((0.1, 0.8, 0.05, 0.05), False, 1.0, View.HIP),
        ((0.4, 0.5, 0.05, 0.05), True, 1.0, View.HIP),
        ((0.4, 0.5, 0.05, 0.05), False, 0.8, View.HIP),  # perhaps no second hip
    ],
)
def test_a_view_that_may_be_a_pelvis_is_read_as_one_where_two_hips_are_found(
    p: tuple[float, ...], only_left: bool, sure: float, view: View
) -> None:
    image = pelvis(left_level=0.9, only_left=only_left)
    reading = read(HEADER, image, _with(_views(*p), sure=sure), ReadPolicy())
    assert reading.view is view
    if view is View.PELVIS:
        assert [hip.roi.side for hip in reading.hips] == [Side.RIGHT, Side.LEFT]


def test_a_view_that_a_header_calls_lateral_is_no_pelvis_after_all() -> None:
    models = _with(_views(0.4, 0.5, 0.05, 0.05))
    header = replace(HEADER, view_position="LL")
    assert read(header, pelvis(left_level=0.9), models, ReadPolicy()).view is View.OTHER


class Knows:
    """A fracture model that says the same of all hips, and knows those that are not all bright."""

    def __init__(self, *, broken: bool = False) -> None:
        self._logits = np.array([0, 5] if broken else [5, 0], np.float32)

    def run(self, batch: NDArray[np.float32], _: object = None) -> Arrays:
        bright = batch.mean(axis=(1, 2, 3)) > 0.7
        logits = np.tile(self._logits, (len(batch), 1))
        return {"logits": logits, "embedding": np.eye(2, dtype=np.float32)[bright.astype(int)]}


def _film(left_level: float, right_level: float, height: int = 160) -> Radiograph:
    """A film whose hips are as large as an adult's."""
    pixels = np.zeros((512, 512), np.float32)
    pixels[:64] = 1.0
    for x, level in ((56, left_level), (312, right_level)):
        pixels[240 : 240 + height, x : x + 144] = level
        pixels[250:260, x + 9 : x + 19] = 1
    return Radiograph(pixels)


@pytest.mark.parametrize(
    ("p", "levels", "height", "view"),
    [
        ((0.5, 0.1, 0.05, 0.35), (0.4, 0.6), 160, View.PELVIS),  # the gate asks for 0.7
        ((0.5, 0.1, 0.05, 0.35), (0.9, 0.6), 160, View.PELVIS),  # one may be broken
        ((0.5, 0.1, 0.05, 0.35), (0.9, 0.9), 160, View.OTHER),  # an infant's are unusual, both
        ((0.5, 0.1, 0.05, 0.35), (0.4, 0.6), 110, View.OTHER),  # of a child's whole body
        ((0.25, 0.1, 0.05, 0.6), (0.4, 0.6), 160, View.OTHER),
        ((0.2, 0.25, 0.05, 0.5), (0.4, 0.6), 160, View.OTHER),  # rather one hip
    ],
)
@pytest.mark.parametrize("limit", [0.5, 1.5])  # 1.4 is barely within the second
def test_a_pelvis_that_the_gate_hardly_refuses_is_read_where_two_adult_hips_are_found(
    p: tuple[float, ...], levels: tuple[float, float], height: int, view: View, limit: float
) -> None:
    typical = Typical(np.eye(2, dtype=np.float32)[:1], np.eye(2, dtype=np.float32), limit)
    models = _with(_views(*p))
    knows = replace(models.fracture, engine=Knows(), typical=typical)  # type: ignore[arg-type]
    models = replace(models, models=MappingProxyType({**models.models, Role.FRACTURE: knows}))
    image = _film(*levels, height)
    assert read(HEADER, image, models, ReadPolicy()).view is view
    sees = replace(knows, engine=Knows(broken=True))  # type: ignore[arg-type]
    broken = replace(models, models=MappingProxyType({**models.models, Role.FRACTURE: sees}))
    assert read(HEADER, image, broken, ReadPolicy()).view is View.OTHER, "neither is whole"
    lateral = replace(HEADER, view_position="LL")
    assert read(lateral, image, models, ReadPolicy()).view is View.OTHER


@pytest.mark.parametrize(("sure", "hips"), [(1.0, 2), (0.8, 1)])
@pytest.mark.parametrize("view", [(0.05, 0.85, 0.05, 0.05), (0.05, 0.05, 0.85, 0.05)])
def test_a_weak_second_hip_on_a_view_of_one_hip_is_not_read(
    view: tuple[float, ...], sure: float, hips: int
) -> None:
    image = pelvis(left_level=0.9, right_level=0.9)
    reading = read(HEADER, image, _with(_views(*view), sure=sure), ReadPolicy())
    assert len(reading.hips) == hips
    assert all(hip.roi.score >= 0.9 for hip in reading.hips)
    assert reading.missing is None


class Gives:
    """A fracture model that gives each hip one probability."""

    def __init__(self, p: float) -> None:
        self._logits = np.log(np.array([1 - p, p], np.float32))

    def run(self, batch: NDArray[np.float32], _: object = None) -> Arrays:
        return {"logits": np.tile(self._logits, (len(batch), 1))}


@pytest.mark.parametrize(
    ("p", "verdict"),
    [(0.4, Verdict.NONE_SEEN), (0.6, Verdict.LOOK_NOW), (0.95, Verdict.DOUBTFUL)],
)
def test_a_hip_shown_alone_that_would_be_called_by_itself_is_never_told_none_seen(
    p: float, verdict: Verdict
) -> None:
    models = _with(_views(0.05, 0.85, 0.05, 0.05))
    spec = replace(models.fracture.spec, operating_point=OperatingPoint("test", 0.5, 0.9))
    sees = replace(models.fracture, spec=spec, engine=Gives(p))  # type: ignore[arg-type]
    models = replace(models, models=MappingProxyType({**models.models, Role.FRACTURE: sees}))
    (hip,) = read(HEADER, pelvis(only_left=True), models, ReadPolicy()).hips
    assert hip.verdict is verdict
    if verdict is Verdict.LOOK_NOW:
        assert hip.abstention is not None
        assert hip.abstention.reason is AbstentionReason.TOO_UNCERTAIN
