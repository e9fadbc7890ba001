"""The reading of one image: gates, localisation, implant gate, classification. Pure."""

from __future__ import annotations

from dataclasses import replace

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
)
from hipnode.nets import ModelSet, Role
from hipnode.reading import classify, localise
from hipnode.reading.gates import ReadPolicy, header_gate, upright_quarter_turns

TURNED = "The image is stored turned by {degrees} degrees; it was assessed upright."
CLASSIFIERS = (Role.FRACTURE, Role.OSTEOPOROSIS)
"""The roles that read a hip of a radiograph."""


def read(header: Header, radiograph: Radiograph, models: ModelSet, policy: ReadPolicy) -> Reading:
    """Read one image.

    Parameters
    ----------
    header, radiograph
        As `hipnode.imaging.load` gives them.
    models
        The model set; its digest goes into the reading.
    policy
        What the site wants to be read.

    Returns
    -------
    Reading
        Hips, the patient's right first, with boxes in the pixels of the image as stored; or an
        abstention for the whole image.

    References
    ----------
    Gale 2017, Methods (frontal gate, bounding box, metal gate, classifier); Murphy 2022, Methods.
    """
    reading = _Draft(header, radiograph, models)
    if abstention := header_gate(header, radiograph, policy):
        return reading.abstained(abstention)
    turns, p_frontal = upright_quarter_turns(radiograph.pixels, models.gate)
    if turns is None:
        detail = f"P(frontal pelvis) = {p_frontal:.3f}"
        return reading.abstained(Abstention(AbstentionReason.NOT_FRONTAL, detail))
    pixels = np.rot90(radiograph.pixels, turns)
    rois, no_hips, notes = localise.hips(
        localise.candidates(pixels, models.localiser), header, pixels.shape, turned=turns != 0
    )
    if no_hips:
        return reading.abstained(no_hips)
    if turns:
        notes += (TURNED.format(degrees=turns * 90),)
    hips = _read_hips(pixels, rois, models, policy)
    if turns:
        hips = [_turn_back(hip, turns, radiograph.pixels.shape) for hip in hips]
    return reading.finished(tuple(hips), notes)


class _Draft:
    """What every reading of this image has in common."""

    def __init__(self, header: Header, radiograph: Radiograph, models: ModelSet) -> None:
        self._header, self._radiograph, self._models = header, radiograph, models

    def abstained(self, abstention: Abstention) -> Reading:
        return self._reading((), abstention, ())

    def finished(self, hips: tuple[HipReading, ...], notes: tuple[str, ...]) -> Reading:
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
        )


def _read_hips(
    pixels: NDArray[np.float32], rois: list[HipROI], models: ModelSet, policy: ReadPolicy
) -> list[HipReading]:
    pixels = np.ascontiguousarray(pixels)
    p_metal = classify.run(models.metal, pixels, rois).p_positive
    metal = models.metal.spec.operating_point
    implants = [metal.decide(float(p)) is not Decision.ABSENT for p in p_metal]
    clear = [r for r, i in zip(rois, implants, strict=True) if policy.read_implants or not i]
    by_hip: dict[HipROI, list[Finding]] = {roi: [] for roi in clear}
    for role in CLASSIFIERS if clear else ():
        if role in models.models:
            model = models.models[role]
            for roi, finding in zip(clear, classify.findings(model, pixels, clear), strict=True):
                by_hip[roi].append(finding)
    return [
        HipReading(roi, tuple(by_hip[roi]))
        if roi in by_hip
        else HipReading(
            roi, abstention=Abstention(AbstentionReason.IMPLANT, f"P(implant) = {p:.3f}")
        )
        for roi, p in zip(rois, p_metal, strict=True)
    ]


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
