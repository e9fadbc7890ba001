"""The reading of one image: gates, localisation, implant gate, classification. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hipnode.domain import (
    Abstention,
    AbstentionReason,
    Box,
    Decision,
    Finding,
    Header,
    HipReading,
    HipROI,
    Radiograph,
    Reading,
    Saliency,
    Side,
)
from hipnode.nets import LoadedModel, ModelSet, Role
from hipnode.reading import classify, clinical, localise
from hipnode.reading.gates import ReadPolicy, header_gate, scan_gate, upright_quarter_turns

TURNED = "The image is stored turned by {degrees} degrees; it was assessed upright."
AGE_UNKNOWN = "The header gives no age; the models are made for adults."
WITH_DATA = "{task}: estimated from the image, {data}."
WITHOUT_DATA = "{task}: estimated from the image alone; the header does not give {missing}."
LEFT_OUT = "{task}, {side} hip: not assessed; it is unlike the images that the model knows."
CLASSIFIERS = (Role.FRACTURE, Role.OSTEOPOROSIS)
"""The roles that read a hip of a radiograph."""
_IN_WORDS = {
    Role.FRACTURE: "Fracture",
    Role.OSTEOPOROSIS: "Osteoporosis",
    Role.RISK: "Risk of fracture",
}


def read(
    header: Header,
    radiograph: Radiograph,
    models: ModelSet,
    policy: ReadPolicy,
    *,
    clock: Callable[[], float] | None = None,
) -> Reading:
    """Read one image.

    Parameters
    ----------
    header, radiograph
        As `hipnode.imaging.load` gives them.
    models
        The model set; its digest goes into the reading.
    policy
        What the site wants to be read.
    clock
        Seconds from any start (`time.perf_counter`), for ``timings_ms``; None leaves them out, so
        that equal input gives an equal reading.

    Returns
    -------
    Reading
        Hips, the patient's right first, with boxes in the pixels of the image as stored; or an
        abstention for the whole image.

    References
    ----------
    Gale 2017, Methods (frontal gate, bounding box, metal gate, classifier); Murphy 2022, Methods.
    """
    draft = _Draft(header, radiograph, models, clock)
    if models.reads_scans:
        return _read_scan(header, radiograph, models, policy, draft)
    if abstention := header_gate(header, radiograph, policy):
        return draft.abstained(abstention)
    turns, p_frontal = upright_quarter_turns(radiograph.pixels, models.gate)
    draft.lap("gate")
    if turns is None:
        return draft.abstained(_not_frontal(p_frontal, header))
    pixels = np.ascontiguousarray(np.rot90(radiograph.pixels, turns))
    found = localise.candidates(pixels, models.localiser)
    draft.lap("localise")
    rois, no_hips, notes = localise.hips(found, header, pixels.shape, turns)
    if no_hips:
        return draft.abstained(no_hips)
    chosen, told = _choose(models, header, CLASSIFIERS)
    notes += told
    upright = _upright(radiograph, pixels, turns)
    hips, left_out = _read_hips(upright, rois, models, chosen, policy, header)
    notes += left_out
    draft.lap("classify")
    if header.age_years is None:
        notes += (AGE_UNKNOWN,)
    if turns:
        notes += (TURNED.format(degrees=turns * 90),)
        hips = [_turn_back(hip, turns, radiograph.pixels.shape) for hip in hips]
    return draft.finished(tuple(hips), notes)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A classifier, and what the header gives it beside the image."""

    model: LoadedModel
    covariates: tuple[float, ...] = ()


def _choose(
    models: ModelSet, header: Header, roles: Sequence[Role]
) -> tuple[list[_Chosen], tuple[str, ...]]:
    """Return which variant of each classifier reads this image, and say so where there are two.

    References
    ----------
    Yamamoto 2020, 2.7: the same network with and without clinical data.
    """
    chosen, notes = [], []
    for role in roles:
        if role not in models.models:
            continue
        plain, variant = models.models[role], models.clinical.get(role)
        if variant is None:
            chosen.append(_Chosen(plain))
            continue
        names, task = variant.spec.covariates, _IN_WORDS[role]
        if lacking := clinical.missing(header, names):
            chosen.append(_Chosen(plain))
            notes.append(WITHOUT_DATA.format(task=task, missing=clinical.in_words(lacking)))
        else:
            chosen.append(_Chosen(variant, clinical.values(header, names)))
            notes.append(WITH_DATA.format(task=task, data=clinical.in_words(names)))
    return chosen, tuple(notes)


def _not_frontal(p_frontal: float, header: Header) -> Abstention:
    detail = f"P(frontal pelvis) = {p_frontal:.3f}"
    if header.body_part:  # too often wrong to decide by, but it helps whoever looks into it
        detail += f"; Body Part Examined {header.body_part[:16]}"
    return Abstention(AbstentionReason.NOT_FRONTAL, detail)


def _read_scan(
    header: Header, scan: Radiograph, models: ModelSet, policy: ReadPolicy, draft: _Draft
) -> Reading:
    """Read a densitometer's scan, which shows one hip from edge to edge (DXA 2023)."""
    if abstention := scan_gate(header, scan, policy, models.models.get(Role.GATE)):
        return draft.abstained(abstention)
    roi = HipROI(Side(header.laterality), Box(0, 0, scan.columns, scan.rows), 1.0)
    (chosen,), notes = _choose(models, header, (Role.RISK,))
    made = classify.findings(chosen.model, scan.pixels, [roi], chosen.covariates, whole=True)
    draft.lap("classify")
    (found,) = made
    if isinstance(found, Abstention):
        return draft.abstained(found)
    return draft.finished((HipReading(roi, (found,)),), notes)


class _Draft:
    """What every reading of this image has in common, and how long each step took."""

    def __init__(
        self,
        header: Header,
        radiograph: Radiograph,
        models: ModelSet,
        clock: Callable[[], float] | None,
    ) -> None:
        self._header, self._radiograph, self._models = header, radiograph, models
        self._clock = clock
        self._since_s = clock() if clock else 0.0
        self._timings_ms: dict[str, float] = {}

    def lap(self, step: str) -> None:
        """Note how long the step took that ends here."""
        if self._clock is not None:
            now_s = self._clock()
            self._timings_ms[step] = round((now_s - self._since_s) * 1000, 1)
            self._since_s = now_s

    def abstained(self, abstention: Abstention) -> Reading:
        """Return a reading that says why nothing is said."""
        return self._reading((), abstention, ())

    def finished(self, hips: tuple[HipReading, ...], notes: tuple[str, ...]) -> Reading:
        """Return a reading of hips."""
        return self._reading(hips, None, notes)

    def _reading(
        self, hips: tuple[HipReading, ...], abstention: Abstention | None, notes: tuple[str, ...]
    ) -> Reading:
        return Reading(
            sop_instance_uid=self._header.sop_instance_uid,
            rows=self._radiograph.rows,
            columns=self._radiograph.columns,
            model_set=self._models.name,
            model_set_digest=self._models.digest,
            hips=hips,
            abstention=abstention,
            notes=self._radiograph.notes + notes,
            timings_ms=self._timings_ms,
        )


def _upright(stored: Radiograph, pixels: NDArray[np.float32], turns: int) -> Radiograph:
    spacing_mm = stored.spacing_mm
    if spacing_mm and turns % 2:
        spacing_mm = spacing_mm[1], spacing_mm[0]
    return replace(stored, pixels=pixels, spacing_mm=spacing_mm)


def _read_hips(
    upright: Radiograph,
    rois: list[HipROI],
    models: ModelSet,
    chosen: list[_Chosen],
    policy: ReadPolicy,
    header: Header,
) -> tuple[list[HipReading], tuple[str, ...]]:
    """Assess each hip of an upright image, or say why not; and note what was left out.

    A hip that the fracture model does not know is not assessed at all. What another model does not
    know leaves that one finding out.
    """
    pixels, left_out = upright.pixels, []
    refused: dict[HipROI, Abstention] = {}
    for roi in rois:
        reason = localise.misshapen(roi)
        if reason is None and header.age_years is None:
            reason = localise.unlike_an_adult(roi, upright)
        if reason is not None:
            refused[roi] = reason
    whole = [roi for roi in rois if roi not in refused]
    if whole and not policy.read_implants:
        refused |= _implants(pixels, whole, models)
    clear = [roi for roi in rois if roi not in refused]
    by_hip: dict[HipROI, list[Finding]] = {roi: [] for roi in clear}
    for one in chosen if clear else ():
        made = classify.findings(one.model, pixels, clear, one.covariates)
        for roi, found in zip(clear, made, strict=True):
            if isinstance(found, Finding):
                by_hip[roi].append(found)
            elif one.model.spec.role is Role.FRACTURE:
                refused[roi] = found
            elif roi not in refused:
                task = _IN_WORDS[one.model.spec.role]
                left_out.append(LEFT_OUT.format(task=task, side=roi.side.word))
    hips = [
        HipReading(roi, abstention=refused[roi])
        if roi in refused
        else HipReading(roi, tuple(by_hip[roi]))
        for roi in rois
    ]
    return hips, tuple(left_out)


def _implants(
    pixels: NDArray[np.float32], rois: list[HipROI], models: ModelSet
) -> dict[HipROI, Abstention]:
    """Return the hips with metal, which the classifiers have not learned (Gale 2017, Methods)."""
    p_metal = classify.run(models.metal, pixels, rois).p_positive
    point = models.metal.spec.operating_point
    return {
        roi: Abstention(AbstentionReason.IMPLANT, f"P(implant) = {p:.3f}")
        for roi, p in zip(rois, p_metal, strict=True)
        if point.decide(float(p)) is not Decision.ABSENT
    }


def _turn_back(hip: HipReading, turns: int, stored: tuple[int, ...]) -> HipReading:
    """Express a hip, found in the upright image, in the pixels of the image as stored."""
    roi = replace(hip.roi, box=turn_box_back(hip.roi.box, turns, (stored[0], stored[1])))
    turned = tuple(
        replace(f, saliency=None if f.saliency is None else _turn_map(f.saliency, turns))
        for f in hip.findings
    )
    return HipReading(roi, turned, hip.abstention)


def turn_box_back(box: Box, turns: int, stored: tuple[int, int]) -> Box:
    """Undo ``turns`` quarter turns (`numpy.rot90`) for a box.

    Parameters
    ----------
    box
        In the turned image.
    turns
        1, 2 or 3.
    stored
        (rows, columns) of the image as stored.
    """
    rows, columns = stored
    match turns % 4:
        case 1:  # rot90: turned[i, j] = stored[j, columns - 1 - i]
            return Box(columns - box.y1, box.x0, columns - box.y0, box.x1)
        case 2:
            return Box(columns - box.x1, rows - box.y1, columns - box.x0, rows - box.y0)
        case 3:  # turned[i, j] = stored[rows - 1 - j, i]
            return Box(box.y0, rows - box.x1, box.y1, rows - box.x0)
        case _:
            return box


def _turn_map(saliency: Saliency, turns: int) -> Saliency:
    back = np.rot90(np.array(saliency), -turns)
    return tuple(tuple(float(v) for v in row) for row in back)
