"""From the hips that were found to what is said of each: measured, judged together, worded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from hipnode.domain import (
    TASKS,
    Abstention,
    Caveat,
    Covariate,
    Decision,
    Finding,
    Header,
    HipReading,
    HipROI,
    Radiograph,
    Role,
    Side,
    Verdict,
    View,
)
from hipnode.imaging import Squares
from hipnode.nets import LoadedModel, ModelSet
from hipnode.reading import classify, localise
from hipnode.reading import metal as metal_in
from hipnode.reading.gates import CLEAR_UNVALIDATED
from hipnode.reading.localise import Shape
from hipnode.reading.metal import Bar
from hipnode.reading.pair import Together, judge_single, judge_together
from hipnode.reading.policy import ReadPolicy
from hipnode.reading.verdict import Extent, Facts, Judgement, Metal, SideIs, beside, judge

LEFT_OUT = "{task}, {side} hip: not assessed; it is unlike the images that the model knows."
UNBROKEN = "{task}: judged on the {side} hip alone; the {other} one may be broken."
NO_UNBROKEN = "{task}: not assessed; a hip that may be broken does not tell it."
IN_WORDS: Final = {row.role: row.name for row in TASKS.values()}
_WELL: Final = 0.9
"""Of the model's limit: within this a hip is well like those that it knows. Of the pelves that the
gate hardly refuses, left out of training, each of four grown-ups had one that is and is whole (0.29
to 0.76), an operated one among them; of three infants none (0.72, taken for broken, 0.96, 1.3)."""
_NEARER: Final = 0.8
"""One way round is clearly the nearer one where its distance is less than this of the other's. Of
real hips left out of training, the right way was the nearer one on 86 of 86 whole ones (4 against
24 to 28 in AP views) and on 12 of 16 broken ones (20 against 25)."""
CLEAR: Final = 0.75
"""A hip that the localiser scores lower may be none. On real radiographs broken hips score 0.83 to
0.96."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A classifier, and what it is given beside the image."""

    model: LoadedModel
    covariates: tuple[float, ...] = ()
    known: tuple[Covariate, ...] = ()  # those, with whence they are


@dataclass(frozen=True, slots=True)
class Seen:
    """The image that the hips lie in: canonical, of a view, with sides that are sure or not."""

    image: Radiograph
    shown: Squares  # of its pixels
    header: Header
    view: View
    side: SideIs
    bars: tuple[Bar, ...] = ()  # of metal, in its pixels


@dataclass(frozen=True, slots=True)
class _Measured:
    """One hip's figures."""

    adult: Abstention | None  # why it is no adult's
    metal: Metal
    p_metal: float
    scores: classify.Scores  # of the fracture model
    at: int  # its row there
    single: bool  # shown alone, as on a view of one hip

    @property
    def p_alone(self) -> float:
        """P(fracture) of this hip, whatever the other is like."""
        return float(self.scores.p_positive[self.at])

    @property
    def usual(self) -> bool:
        """Whether the hip is like those that the fracture model knows."""
        return self.scores.usual is None or bool(self.scores.usual[self.at])


def assess(
    seen: Seen, rois: list[HipROI], models: ModelSet, chosen: list[Chosen], policy: ReadPolicy
) -> tuple[list[HipReading], tuple[str, ...]]:
    """Return a reading of each hip, and notes on what was left out.

    Parameters
    ----------
    seen
        The image.
    rois
        The hips in it, in its pixels.
    models, chosen
        The gates, and the classifiers that read this image.
    policy
        What the site wants to be read.

    References
    ----------
    Gale 2017, Methods (metal gate); Murphy 2022, Methods (CNN2 on the localised hip).
    """
    fracture = next(c for c in chosen if c.model.spec.role is Role.FRACTURE)
    seen, rois = _both_ways(seen, rois, fracture)
    measured = _measure(seen, rois, models, fracture, policy)
    together = _together(rois, measured)
    facts = [
        _facts(seen, roi, m, _decision(fracture, m, together, roi), fracture, together)
        for roi, m in zip(rois, measured, strict=True)
    ]
    judged = [judge(known) for known in facts]
    if len(judged) == 2:
        first, second = judged
        judged = [beside(first, second), beside(second, first)]
    hips = [
        _unsaid(_reading(roi, m, j, fracture, together), known, m, together)
        for roi, m, j, known in zip(rois, measured, judged, facts, strict=True)
    ]
    others = [c for c in chosen if c is not fracture]
    return _with_others(hips, seen, others)


def one_is_whole(shown: Squares, fracture: LoadedModel, rois: Sequence[HipROI]) -> bool:
    """Tell whether one of these hips is like the whole ones of adults that the model knows."""
    if fracture.typical is None:
        return False
    if not all(localise.fills_a_film(roi, shown.pixels.shape) for roi in rois):
        return False
    scores = classify.run(fracture, shown, rois)
    if scores.distance is None:
        return False
    near = scores.distance <= _WELL * fracture.typical.limit
    whole = scores.p_positive < fracture.spec.operating_point.doubtful_from
    return bool((near & whole).any())


def _both_ways(seen: Seen, rois: list[HipROI], fracture: Chosen) -> tuple[Seen, list[HipROI]]:
    """Return a hip by itself with whose hip it looks like, and so whose it is.

    Networks see right hips only; a left one that nobody mirrored looks like nothing they know. So a
    single hip is looked at both ways, and the way nearer to the training images is taken. Where the
    header says another side, it is believed, and the side is said to be unsure.
    """
    if len(rois) != 1 or seen.view is View.PELVIS:
        return seen, rois
    (roi,) = rois
    ways = [replace(roi, looks_like=side) for side in (Side.RIGHT, Side.LEFT)]
    scores = classify.run(fracture.model, seen.shown, ways, fracture.covariates)
    far = scores.distance
    if far is None or scores.usual is None:
        return seen, rois
    at = int(far[1] < far[0])
    nearer, clear = ways[at], bool(scores.usual[at]) and far[at] < _NEARER * far[1 - at]
    if seen.header.laterality in {"R", "L"}:
        contradicted = clear and nearer.looks_like is not roi.side
        return replace(seen, side=SideIs.UNSURE) if contradicted else seen, [nearer]
    # a broken hip is unlike others both ways: its side must also fit to where it lies
    known = clear or nearer.looks_like is roi.side
    if clear:
        seen = replace(seen, side=SideIs.KNOWN)
    return seen, [replace(nearer, side=(nearer.looks_like if known else None) or Side.UNKNOWN)]


def _measure(
    seen: Seen, rois: list[HipROI], models: ModelSet, fracture: Chosen, policy: ReadPolicy
) -> list[_Measured]:
    adult = [
        localise.unlike_an_adult(r, seen.image) if seen.header.age_years is None else None
        for r in rois
    ]
    p_metal = classify.run(models.metal, seen.shown, rois).p_positive
    scores = classify.run(fracture.model, seen.shown, rois, fracture.covariates)
    point = models.metal.spec.operating_point
    levels = {Decision.ABSENT: Metal.NONE, Decision.DOUBTFUL: Metal.POSSIBLE}
    made = []
    for i in range(len(rois)):
        metal = levels.get(point.decide(float(p_metal[i])), Metal.SURE)
        if metal is Metal.NONE and metal_in.is_beside(rois[i], rois, seen.bars):
            metal = Metal.POSSIBLE
        if policy.read_implants and metal is Metal.SURE:
            metal = Metal.POSSIBLE
        single = len(rois) == 1 and seen.view is not View.PELVIS
        made.append(_Measured(adult[i], metal, float(p_metal[i]), scores, i, single))
    return made


def _together(rois: Sequence[HipROI], measured: Sequence[_Measured]) -> Together | None:
    """Judge two hips together, where the model speaks of both."""
    if len(rois) != 2 or any(m.adult or m.metal is Metal.SURE for m in measured):
        return None
    if not all(np.isfinite(m.p_alone) for m in measured):
        return None
    if any(localise.shape_of(roi) is not Shape.WHOLE for roi in rois):
        return None  # what is said of a part of a hip must not explain a whole one away
    p = {roi.side: m.p_alone for roi, m in zip(rois, measured, strict=True)}
    return judge_together(p[Side.RIGHT], p[Side.LEFT])


def _p_judged(measured: _Measured, together: Together | None, side: Side) -> float:
    if together is None:
        p = measured.p_alone
        return judge_single(p) if measured.single and np.isfinite(p) else p
    return together.right if side is Side.RIGHT else together.left


def _decision(
    fracture: Chosen, measured: _Measured, together: Together | None, roi: HipROI
) -> Decision | None:
    """Return what the operating point makes of a hip, given the other one."""
    p = _p_judged(measured, together, roi.side)
    point = fracture.model.spec.operating_point
    if not np.isfinite(p):  # a network that gives no number has said nothing
        return None
    decision = classify.decide(fracture.model.spec, measured.scores, measured.at, p)
    if together is not None and _one_of_them(together, point.doubtful_from):
        return Decision.DOUBTFUL
    return decision


def _one_of_them(together: Together, from_p: float) -> bool:
    """Tell whether one hip is suspected, and the figures do not say which."""
    return together.either >= from_p and not together.tells_apart


def _facts(
    seen: Seen,
    roi: HipROI,
    measured: _Measured,
    decision: Decision | None,
    fracture: Chosen,
    together: Together | None,
) -> Facts:
    point = fracture.model.spec.operating_point
    either = together is not None and _one_of_them(together, point.doubtful_from)
    clear_from = CLEAR_UNVALIDATED if seen.view is View.OTHER else CLEAR
    # Called by itself, and not with how rarely a hip shown alone is broken: that settles nothing.
    leans = measured.single and measured.p_alone >= point.doubtful_from
    return Facts(
        adult=measured.adult is None,
        metal=measured.metal,
        view=seen.view,
        clear=roi.score >= clear_from and localise.shape_of(roi) is not Shape.TWO,
        usual=measured.usual,
        extent=Extent.CUT_OFF if localise.shape_of(roi) is Shape.PART else Extent.WHOLE,
        side=SideIs.UNKNOWN if roi.side is Side.UNKNOWN else seen.side,
        fracture=None if leans and decision is Decision.ABSENT else decision,
        equivocal=not either and point.is_equivocal(_p_judged(measured, together, roi.side)),
    )


def _reading(
    roi: HipROI,
    measured: _Measured,
    judgement: Judgement,
    fracture: Chosen,
    together: Together | None,
) -> HipReading:
    if judgement.reason is not None:
        return HipReading(roi, abstention=Abstention(judgement.reason, _detail(measured, roi)))
    p = _p_judged(measured, together, roi.side)
    decision = {
        Verdict.DEFINITE: Decision.PRESENT,
        Verdict.DOUBTFUL: Decision.DOUBTFUL,
        Verdict.EQUIVOCAL: Decision.EQUIVOCAL,
    }.get(judgement.verdict, Decision.ABSENT)
    made = classify.finding(
        fracture.model, measured.scores, measured.at, roi, p_judged=p, decision=decision
    )
    made = replace(made, covariates=fracture.known)
    caveats = judgement.caveats
    from_p = fracture.model.spec.operating_point.doubtful_from
    if together is not None and _one_of_them(together, from_p):
        caveats += (Caveat.EITHER_HIP,)
    return HipReading(roi, (made,), caveats=caveats)


def _unsaid(
    hip: HipReading, facts: Facts, measured: _Measured, together: Together | None
) -> HipReading:
    """Keep the probability of a hip that nothing is said of, if a higher one would have been."""
    named = judge(replace(facts, fracture=Decision.DOUBTFUL)).reason is None
    if hip.abstention is None or not named or not np.isfinite(measured.p_alone):
        return hip
    p = round(_p_judged(measured, together, hip.roi.side), 6)
    kept = replace(hip.abstention, p_judged=p, p_alone=round(measured.p_alone, 6))
    return replace(hip, abstention=kept)


def _to_ask(hips: list[HipReading], judged: list[int], one: Chosen) -> tuple[list[int], list[str]]:
    """Return which hips a classifier is asked of, and what to say of those that it is not.

    Bone that is cut through and turned does not tell its density: where one hip may be broken, the
    other one is asked alone (Yamamoto 2020: most of its hips were broken; what follows for the bone
    is the same on either side).
    """
    role = one.model.spec.role
    task = next(task for task, row in TASKS.items() if row.role is role)
    broken = [i for i in judged if hips[i].verdict is not Verdict.NONE_SEEN]
    if not broken or not TASKS[task].needs_unbroken:
        return judged, []
    for i in broken:
        hips[i] = replace(hips[i], unasked=(*hips[i].unasked, task))
    rest = [i for i in judged if i not in broken]
    if not rest:
        return [], [NO_UNBROKEN.format(task=IN_WORDS[role])]
    side, other = hips[rest[0]].roi.side.word, hips[broken[0]].roi.side.word
    return rest, [UNBROKEN.format(task=IN_WORDS[role], side=side, other=other)]


def _detail(measured: _Measured, roi: HipROI) -> str:
    """Return the figures behind a hip of which nothing is said, for the audit log."""
    if measured.adult is not None:
        return measured.adult.detail
    share = roi.box.width_px / roi.box.height_px
    parts = [f"box {share:.2f} of its height wide", f"P(implant) = {measured.p_metal:.3f}"]
    parts.append(f"P(fracture) = {measured.p_alone:.3f}")
    if measured.scores.distance is not None:
        parts.append(f"distance {float(measured.scores.distance[measured.at]):.1f}")
    parts.append(f"localiser {roi.score:.2f}")
    return "; ".join(parts)


def _with_others(
    hips: list[HipReading], seen: Seen, others: Sequence[Chosen]
) -> tuple[list[HipReading], tuple[str, ...]]:
    """Add what the other classifiers find, on hips that were judged and are known to be theirs."""
    left_out = []
    judged = [i for i, hip in enumerate(hips) if hip.abstention is None]
    if seen.view is View.OTHER:
        return hips, ()
    for one in others if judged else ():
        at, said = _to_ask(hips, judged, one)
        left_out += said
        if not at:
            continue
        rois = [hips[i].roi for i in at]
        found = classify.findings(one.model, seen.shown, rois, one.covariates)
        for i, made in zip(at, found, strict=True):
            if isinstance(made, Finding):
                known = replace(made, covariates=one.known)
                hips[i] = replace(hips[i], findings=(*hips[i].findings, known))
            else:
                task = IN_WORDS[one.model.spec.role]
                left_out.append(LEFT_OUT.format(task=task, side=hips[i].roi.side.word))
    return hips, tuple(left_out)
