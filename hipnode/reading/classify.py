"""From a region of a radiograph to calibrated probabilities, a decision and a saliency map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from hipnode.domain import (
    TASKS,
    Abstention,
    AbstentionReason,
    Decision,
    Finding,
    HipROI,
    Saliency,
)
from hipnode.imaging import PreprocessSpec, Squares, part_of, preprocess, resample, square_around
from hipnode.nets import BundleSpec, LoadedModel

_TASK_OF: Final = {row.role: task for task, row in TASKS.items()}
_MAP_PX: Final = 64
"""Saliency is sampled at this many points across the crop before the box is cut out of it."""
_CARRIES: Final = 0.25
"""The part of the crop that, alone, would make a finding likely where a map is 1."""
_LEAST_SURE, _MOST_SURE = 0.75, 0.99
"""Between them an operating point may set the scale of a map."""
_MOST_LEVEL: Final = 0.75
"""Of the strongest place, what a map may leave out: one that is alike everywhere stays seen."""

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scores:
    """What a classifier gave for a few regions."""

    probabilities: Array  # (n, classes), calibrated, rows sum to 1
    p_positive: Array  # (n,)
    places: Array | None  # (n, h, w) in [0, 1], what each place of the crop says for the finding
    distance: Array | None = None  # (n,) from what the model was trained on
    usual: NDArray[np.bool_] | None = None  # (n,) whether that is within the model's limit


def preprocessing(spec: BundleSpec) -> PreprocessSpec:
    """Return how the model's input is prepared."""
    scaling: Literal["unit", "zscore", "zclip", "two_sigma"]
    match spec.preprocessing.get("scaling", "zscore"):
        case "unit":
            scaling = "unit"
        case "zclip":
            scaling = "zclip"
        case "two_sigma":
            scaling = "two_sigma"
        case _:
            scaling = "zscore"
    numbers = {k: v for k, v in spec.preprocessing.items() if k != "scaling"}
    return PreprocessSpec(**numbers, scaling=scaling)  # type: ignore[arg-type]


def run(
    model: LoadedModel,
    pixels: Array | Squares,
    rois: Sequence[HipROI | None],
    covariates: Sequence[float] = (),
) -> Scores:
    """Run a classifier on regions of one image; None stands for the whole image.

    Parameters
    ----------
    model
        A classifier: it has the output ``logits`` (n, classes).
    pixels
        (rows, columns) float32 in [0, 1]: the canonical picture (see `imaging.canonical`);
        `Squares` of it where other networks see it too.
    rois
        The regions, in its pixels.
    covariates
        What the model asks for about the patient, in the order of its spec, in plain units.
    """
    how = preprocessing(model.spec)
    pixels = pixels if isinstance(pixels, Squares) else Squares(pixels)
    batch = np.stack(
        [
            preprocess(pixels, how)
            if roi is None
            else preprocess(pixels, how, roi.box, mirror=how.mirrors(roi.looks_like or roi.side))
            for roi in rois
        ]
    )
    known = np.tile(np.array(covariates, np.float32), (len(batch), 1)) if covariates else None
    return score(model, batch, known)


def score(model: LoadedModel, batch: Array, covariates: Array | None = None) -> Scores:
    """Run a classifier on prepared inputs (n, 1, size_px, size_px) and calibrate what it gives.

    References
    ----------
    Temperature scaling: Guo 2017, On Calibration of Modern Neural Networks.
    """
    outputs = model.engine.run(np.ascontiguousarray(batch), covariates)
    scaled = outputs["logits"].astype(np.float64) / model.spec.temperature
    exponents = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    p = exponents / exponents.sum(axis=1, keepdims=True)
    positive = p[:, list(model.spec.positive_indices)].sum(axis=1).clip(0, 1)
    embedding, typical = outputs.get("embedding"), model.typical
    places = _places(model.spec, outputs)
    if typical is None or embedding is None:
        return Scores(p.astype(np.float32), positive.astype(np.float32), places)
    far = typical.distance(embedding)
    return Scores(
        p.astype(np.float32), positive.astype(np.float32), places, far, far <= typical.limit
    )


def _places(spec: BundleSpec, outputs: Mapping[str, Array]) -> Array | None:
    """Return what each place of the crop says for the finding, (n, h, w) in [0, 1].

    The mean of an activation map is the image's part of the logit, and the rest is the same
    everywhere: so each place has log odds of its own. 0 is a place that speaks for the finding no
    more than against it, or no more than the image as a whole; 1 is one of which a quarter of the
    crop, alone, would make the finding likely, or, where there are stronger ones, the strongest of
    all: so a sure finding does not paint the whole box. Where nothing speaks for a finding, the map
    is empty.

    References
    ----------
    Zhou 2016, Learning Deep Features for Discriminative Localization, 2 (class activation maps).
    """
    cam = outputs.get("cam")
    if cam is None:
        return None
    logits = cam.astype(np.float64)
    logits += (outputs["logits"] - logits.mean(axis=(2, 3)))[:, :, None, None]
    logits /= spec.temperature
    positive = list(spec.positive_indices)
    negative = [j for j in range(len(spec.labels)) if j not in positive]
    odds = np.logaddexp.reduce(logits[:, positive], axis=1)
    if negative:
        odds -= np.logaddexp.reduce(logits[:, negative], axis=1)
    sure = min(max(spec.operating_point.present_from, _LEAST_SURE), _MOST_SURE)
    carries = np.log(sure / (1 - sure)) / _CARRIES
    strongest = np.maximum(odds.max(axis=(1, 2), keepdims=True), carries)
    level = np.clip(odds.mean(axis=(1, 2), keepdims=True), 0, _MOST_LEVEL * strongest)
    places: Array = np.clip((odds - level) / (strongest - level), 0, 1).astype(np.float32)
    return places


def findings(
    model: LoadedModel,
    pixels: Array | Squares,
    rois: Sequence[HipROI],
    covariates: Sequence[float] = (),
    *,
    whole: bool = False,
) -> list[Finding | Abstention]:
    """Return one finding for each hip, or why there is none: it is unlike what the model knows.

    ``whole``: each of them is the whole image.
    """
    scores = run(model, pixels, [None for _ in rois] if whole else rois, covariates)
    return [
        _unlike(model, scores, i) or finding(model, scores, i, roi) for i, roi in enumerate(rois)
    ]


def _unlike(model: LoadedModel, scores: Scores, i: int) -> Abstention | None:
    """Return an abstention where the image is farther from the training images than is usual."""
    if model.typical is None or scores.distance is None or scores.usual is None or scores.usual[i]:
        return None
    detail = f"{model.spec.name}: distance {scores.distance[i]:.1f}, usual up to "
    detail += f"{model.typical.limit:.1f}"
    return Abstention(AbstentionReason.OUT_OF_DISTRIBUTION, detail)


def decide(spec: BundleSpec, scores: Scores, i: int, p: float) -> Decision:
    """Return what the operating point makes of P(positive), and of the class that is named by it.

    Parameters
    ----------
    spec, scores, i
        Whose scores, and the hip's row in them.
    p
        P(positive), perhaps not as the network gave it.
    """
    made = spec.operating_point.decide(p)
    shares = _shares(spec, scores, i, p)
    label = _named(spec, shares, made)
    if shares[spec.labels.index(label)] < spec.class_thresholds.get(label, 0.0):
        return Decision.DOUBTFUL  # not certain enough for this class: a person decides
    return made


def _shares(spec: BundleSpec, scores: Scores, i: int, p: float) -> NDArray[np.float64]:
    """Return the probability of each class where P(positive) is ``p``, shared as it was before."""
    alone, positive = float(scores.p_positive[i]), list(spec.positive_indices)
    shares: NDArray[np.float64] = scores.probabilities[i].astype(np.float64)
    negative = [j for j in range(len(shares)) if j not in positive]
    shares[positive] *= p / max(alone, 1e-9)
    shares[negative] *= (1 - p) / max(1 - alone, 1e-9)
    return shares


def _named(spec: BundleSpec, shares: NDArray[np.float64], decision: Decision) -> str:
    """Return the class that is named. It agrees with the decision: argmax alone might not."""
    positive = spec.positive_indices
    negative = [j for j in range(len(spec.labels)) if j not in positive]
    choice = negative if decision is Decision.ABSENT and negative else positive
    return spec.labels[max(choice, key=lambda j: float(shares[j]))]


def finding(
    model: LoadedModel,
    scores: Scores,
    i: int,
    roi: HipROI,
    *,
    p_judged: float | None = None,
    decision: Decision | None = None,
) -> Finding:
    """Return what a classifier says of one hip.

    Parameters
    ----------
    model, scores, i
        Whose scores, and the hip's row in them.
    roi
        The hip.
    p_judged
        P(positive) after both hips were judged together; the classes share it as they did before.
    decision
        What was decided with more than this probability; else the operating point decides.

    References
    ----------
    Murphy 2022, Methods (CNN2 on the localised hip; thresholds on its probabilities).
    """
    spec, alone = model.spec, float(scores.p_positive[i])
    p = alone if p_judged is None else p_judged
    shares = _shares(spec, scores, i, p)
    made = decision or decide(spec, scores, i, p)
    label = _named(spec, shares, made)
    how = preprocessing(spec)
    far = None if scores.distance is None else float(scores.distance[i])
    return Finding(
        task=_TASK_OF[spec.role],
        probabilities={
            name: round(float(v), 6) for name, v in zip(spec.labels, shares, strict=True)
        },
        label=label,
        p_positive=round(p, 6),
        decision=made,
        operating_point=spec.operating_point,
        model=spec.ref,
        saliency=None if scores.places is None else _saliency(scores.places[i], roi, how),
        covariates_used=spec.covariates,
        positive=spec.positive_labels,
        p_alone=None if p_judged is None else round(alone, 6),
        distance=round(far, 4) if far is not None and np.isfinite(far) else None,
    )


def _saliency(places: Array, roi: HipROI, how: PreprocessSpec) -> Saliency:
    """Return the map over the ROI's box, un-mirrored, in the model's own scale from 0 to 1.

    Parameters
    ----------
    places
        (h, w) in [0, 1] over the square crop that the network saw.
    """
    mirrored = how.mirrors(roi.looks_like or roi.side)
    evidence = np.ascontiguousarray(places[:, ::-1] if mirrored else places, dtype=np.float32)
    x0, y0, side_px = square_around(roi.box, how.crop_margin)
    part = part_of(roi.box, how.region, mirrored=mirrored)
    if part == roi.box:
        fine = resample(evidence, (_MAP_PX, _MAP_PX))
    else:  # the network saw a part of the box: of the rest it says nothing
        fine = np.zeros((_MAP_PX, _MAP_PX), np.float32)
        px0, py0, part_px = square_around(part, how.crop_margin)
        left, right = _span(px0 - x0, px0 - x0 + part_px, side_px)
        top, bottom = _span(py0 - y0, py0 - y0 + part_px, side_px)
        seen = fine[top:bottom, left:right]
        seen[:] = resample(evidence, seen.shape)
    left, right = _span(roi.box.x0 - x0, roi.box.x1 - x0, side_px)
    top, bottom = _span(roi.box.y0 - y0, roi.box.y1 - y0, side_px)
    cut = np.clip(fine[top:bottom:2, left:right:2], 0, 1).astype(np.float64)
    return tuple(map(tuple, (np.rint(cut * 1000) / 1000).tolist()))


def _span(start: int, stop: int, side_px: int) -> tuple[int, int]:
    first = min(_MAP_PX - 1, round(start / side_px * _MAP_PX))
    return first, max(first + 1, round(stop / side_px * _MAP_PX))
