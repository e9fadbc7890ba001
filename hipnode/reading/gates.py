"""What is not to be read at all: decided from the header first, then by the frontal gate."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hipnode.dicom.kinds import Kind, kind_of, may_be_read
from hipnode.domain import Abstention, AbstentionReason, Header, HipROI, Radiograph, View
from hipnode.imaging import Squares, is_lateral, preprocess
from hipnode.nets import LoadedModel
from hipnode.reading.classify import preprocessing, score
from hipnode.reading.localise import Candidate
from hipnode.reading.policy import ReadPolicy
from hipnode.reading.sides import as_header_says

_LATERAL: Final = frozenset({"LL", "RL", "LLD", "RLD", "LLO", "RLO"})
"""View Position, PS3.3 C.8.7.1.1.1 and C.8.11.5: laterals and obliques."""
_NOT_FRONTAL: Final = re.compile(
    r"\b(lat|lateral|laterale|latero-medial|medio-lateral|seitlich|profil|profile|"
    r"axial|axiale|assiale|axiolateral|ob[lq]|oblique|obliqua|oblicua|schr(ä|ae)g|"
    r"frog|frog-?legs?|lauenstein|dunn|judet|obturator|cross-?table|x-?table|shoot-?through)\b",
    re.IGNORECASE,
)
"""Words for views of a hip that are no AP views: English, German, French, Italian, Spanish."""
_FRONTAL: Final = re.compile(
    r"\b(ap|a\.p\.|a-p|pa|p-a|frontal|antero-?posterior|postero-?anterior)(?!\w)", re.IGNORECASE
)
"""A text that names both is of a series of both, and tells nothing of one image."""
_SMALLEST_PX: Final = 256
_SMALLEST_SCAN_PX: Final = 64
"""A densitometer's image of a hip has about 0.6 mm a pixel."""
CLEAR_UNVALIDATED: Final = 0.9
"""A hip that the localiser scores lower may be none, on a view for which it was not made."""
_HIP: Final = frozenset({"HIP", "PELVIS", "FEMUR"})
"""Body Part Examined where a hip is to be expected (PS3.16 Annex L)."""
_ANOTHER_VIEW: Final = "hip_other"
"""What a gate that knows such views calls a lateral, an oblique or an abducted one of a hip."""
_SURELY_NONE: Final = 0.2
"""A gate that is surer than this that an image shows no hip, from any side, is believed. Of real
images left out of training it was of 4 % of 187 hips, and of 99 % of 352 hands, legs, shoulders."""
_NEARLY: Final = 0.5
"""How likely a pelvis must be, beside a view of one hip: of images left out of training that were
taken for one hip, the one that is a pelvis had 0.64 of it, views of one hip had 0.29 or less."""
_ALMOST: Final = 0.4
"""From how likely on an upright pelvis may be one after all. Of those left out of training that the
gate refuses, five had 0.43 to 0.69, and two clear hips; three infants' pelves (0.67 to 0.79) had
two as well, but none like a whole one of an adult. No limb has two clear hips."""
_LONGEST_PIXEL: Final = 3.0
"""Devices have made pixels twice as high as wide; what is beyond this is a slip of the pen."""
_WIDEST_SCAN_MM: Final = 300.0
"""Scans of one hip show some 150 to 200 mm; a pelvis, a spine or a body takes more."""


def header_gate(header: Header, radiograph: Radiograph, policy: ReadPolicy) -> Abstention | None:
    """Return why the image is not read, as far as header and size tell; None to go on."""
    if kind_of(header.sop_class_uid, header.modality) is not Kind.RADIOGRAPH:
        return _of_another_kind(header)
    if header.age_years is not None and header.age_years < policy.minimum_age_years:
        return Abstention(AbstentionReason.CHILD, f"{header.age_years:.0f} years old")
    if shape := _pixel_shape(radiograph):
        return shape
    if min(radiograph.rows, radiograph.columns) < _SMALLEST_PX:
        size = f"{radiograph.rows} x {radiograph.columns} pixels"
        return Abstention(AbstentionReason.TOO_SMALL, size)
    return None


def said_lateral(header: Header) -> bool:
    """Tell whether the header says that the view is a lateral, an oblique or an abducted one.

    A code for the view is of this image, and goes before what the series is called.

    References
    ----------
    PS3.3 C.8.11.5 (View Position, View Code Sequence, CID 4010 and 4011), C.7.3.1 (Series).
    """
    if header.view_position.upper() in _LATERAL or is_lateral(header):
        return True
    said = " ".join(header.view_words)
    if not said:
        said = "" if header.view_position else header.series_description
        if _FRONTAL.search(said):
            return False
    return bool(_NOT_FRONTAL.search(said))


def _pixel_shape(stored: Radiograph) -> Abstention | None:
    """Return an abstention where the header gives pixels a shape that no device makes."""
    if stored.aspect is None:
        detail = "the pixel spacings in the header contradict each other"
    elif not 1 / _LONGEST_PIXEL <= stored.aspect <= _LONGEST_PIXEL:
        detail = f"pixels {stored.aspect:.3g} times as high as wide"
    else:
        return None
    return Abstention(AbstentionReason.PIXEL_SHAPE, detail)


def scan_gate(
    header: Header, scan: Radiograph, policy: ReadPolicy, frontal: LoadedModel | None = None
) -> Abstention | None:
    """Return why an image is not read as a densitometer's scan of one hip; None to go on.

    ``frontal`` is the gate that knows radiographs of the pelvis: what it accepts is refused here.
    """
    if not may_be_read(header.sop_class_uid):
        return _of_another_kind(header)
    if header.age_years is not None and header.age_years < policy.minimum_age_years:
        return Abstention(AbstentionReason.CHILD, f"{header.age_years:.0f} years old")
    if shape := _pixel_shape(scan):
        return shape
    if min(scan.rows, scan.columns) < _SMALLEST_SCAN_PX:
        return Abstention(AbstentionReason.TOO_SMALL, f"{scan.rows} x {scan.columns} pixels")
    if header.laterality not in {"R", "L"}:
        return Abstention(AbstentionReason.SIDE_UNKNOWN, "the header gives no laterality")
    if scan.spacing_mm:
        down, across = scan.rows * scan.spacing_mm[0], scan.columns * scan.spacing_mm[1]
        if max(down, across) > _WIDEST_SCAN_MM:
            detail = f"{down:.0f} x {across:.0f} mm are no scan of one hip"
            return Abstention(AbstentionReason.OUT_OF_DISTRIBUTION, detail)
    if frontal is not None:
        sight = view_of(as_header_says(header, scan).picture(scan.pixels), frontal)
        if sight.view is View.PELVIS:
            detail = f"P(frontal pelvis) = {sight.p_frontal:.3f}: a radiograph, no scan of one hip"
            return Abstention(AbstentionReason.OUT_OF_DISTRIBUTION, detail)
    return None


def _of_another_kind(header: Header) -> Abstention:
    what = f"SOP Class {header.sop_class_uid}, Modality {header.modality[:16] or 'not given'}"
    return Abstention(AbstentionReason.NOT_A_RADIOGRAPH, what)


@dataclass(frozen=True, slots=True)
class Sight:
    """What the gate makes of an image, once it is upright."""

    view: View
    turns: int  # how often `numpy.rot90` makes it upright: 0, else 1, 2 or 3
    p_frontal: float  # the probability of a frontal view, turned so
    p_none: float  # that it shows no hip, as stored: not even from another side
    may_be_pelvis: bool = False  # though the view is another, or not accepted


def view_of(pixels: NDArray[np.float32] | Squares, gate: LoadedModel) -> Sight:
    """Tell which view an image is, and the quarter turn that makes it upright.

    Parameters
    ----------
    pixels
        (rows, columns) float32 in [0, 1], or `Squares` of them.
    gate
        The view gate. Its positive labels are upright views of hips; a gate of two classes knows
        pelves alone.
    """
    accepted_from = gate.spec.operating_point.present_from
    how = preprocessing(gate.spec)
    # Padding and resampling are alike in all four directions, so the small input can be turned.
    small = preprocess(pixels, how)[0]
    as_stored = score(gate, small[np.newaxis, np.newaxis])
    p_stored, p_hip = as_stored.probabilities[0], float(as_stored.p_positive[0])
    here = _named(gate, p_stored)
    if p_hip >= accepted_from and here is not View.OTHER:
        nearly = _nearly_pelvis(gate, p_stored)
        return Sight(here, 0, _frontal(gate, p_stored), 1 - p_hip, nearly)
    others = (1, 3, 2)
    turned = score(gate, np.stack([np.rot90(small, k)[np.newaxis] for k in others]))
    frontal = [_frontal(gate, p) for p in turned.probabilities]
    best = int(np.argmax(frontal))
    view = _named(gate, turned.probabilities[best])
    # Three more looks at an image that is none: each may leave a third of the doubt only.
    if frontal[best] >= 1 - (1 - accepted_from) / len(others) and view is not View.OTHER:
        nearly = _nearly_pelvis(gate, turned.probabilities[best])
        return Sight(view, others[best], frontal[best], 1 - p_hip, nearly)
    frontal_here = _frontal(gate, p_stored)
    almost = here is View.PELVIS and frontal_here >= _ALMOST
    return Sight(View.OTHER, 0, frontal_here, 1 - p_hip, almost)


def _frontal(gate: LoadedModel, p: NDArray[np.float32]) -> float:
    """Return the probability of a frontal view."""
    labels = gate.spec.labels
    at = [i for i in gate.spec.positive_indices if labels[i] != _ANOTHER_VIEW]
    return float(p[at].sum())


def _named(gate: LoadedModel, p: NDArray[np.float32]) -> View:
    """Return the likeliest of the views of a hip."""
    labels = gate.spec.labels
    if View.HIP not in labels:
        return View.PELVIS
    hip, pelvis = p[labels.index(View.HIP)], p[labels.index(View.PELVIS)]
    another = p[labels.index(_ANOTHER_VIEW)] if _ANOTHER_VIEW in labels else 0.0
    if pelvis >= max(hip, another):
        return View.PELVIS
    return View.HIP if hip >= another else View.OTHER


def _nearly_pelvis(gate: LoadedModel, p: NDArray[np.float32]) -> bool:
    """Tell whether a pelvis is at least half as likely as a view of one hip."""
    labels = gate.spec.labels
    if not {View.HIP, View.PELVIS} <= set(labels):
        return False
    return bool(p[labels.index(View.PELVIS)] >= _NEARLY * p[labels.index(View.HIP)])


def pelvis_after_all(
    sight: Sight, hips: Sequence[HipROI], one_is_whole: Callable[[Sequence[HipROI]], bool]
) -> Sight:
    """Return a view as a pelvis where the gate hardly tells, and two hips are there.

    Parameters
    ----------
    sight
        What the gate says: a view of one hip, or one that it does not accept.
    hips
        Two clear ones that lie as in a pelvis, or none.
    one_is_whole
        Whether one of them is like the whole hips that the fracture model knows. It is asked for a
        view that the gate does not accept: an infant's pelvis has two hips as well.
    """
    if not hips or not sight.may_be_pelvis:
        return sight
    if sight.view is View.OTHER and not one_is_whole(hips):
        return sight
    return replace(sight, view=View.PELVIS)


def may_be_of_a_hip(header: Header, sight: Sight) -> bool:
    """Tell whether a view that the gate does not accept may be of a hip all the same.

    Parameters
    ----------
    header
        Body Part Examined is too often wrong to silence anything, and good enough to look.
    sight
        What the gate says: where it is sure that this is none, it is believed.
    """
    return shows_a_hip(sight) or header.body_part.strip().upper() in _HIP


def shows_a_hip(sight: Sight) -> bool:
    """Tell whether the gate is sure that an image shows a hip, if not from which side."""
    return sight.p_none < _SURELY_NONE


def worth_a_look(header: Header, sight: Sight, found: Sequence[Candidate]) -> bool:
    """Tell whether a hip on a view that the gate does not accept is judged, for a suspicion.

    Parameters
    ----------
    header, sight
        As for `may_be_of_a_hip`.
    found
        What the localiser takes for hips, the best first.
    """
    return may_be_of_a_hip(header, sight) and bool(found) and found[0].score >= CLEAR_UNVALIDATED
