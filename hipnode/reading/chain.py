"""The reading of one image: gates, localisation, implant gate, classification. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from hipnode.domain import (
    TASKS,
    Abstention,
    AbstentionReason,
    Box,
    CovariateSource,
    Header,
    HipReading,
    HipROI,
    Radiograph,
    Reading,
    Role,
    Side,
    Told,
    Unused,
    View,
)
from hipnode.imaging import Squares, as_stored, inside_margins
from hipnode.nets import ModelSet
from hipnode.nets.load.modelset import SCANS
from hipnode.reading import classify, clinical, localise, metal, sides
from hipnode.reading.assess import IN_WORDS, Chosen, Seen, assess, one_is_whole
from hipnode.reading.gates import (
    Sight,
    header_gate,
    may_be_of_a_hip,
    pelvis_after_all,
    said_lateral,
    scan_gate,
    shows_a_hip,
    view_of,
    worth_a_look,
)
from hipnode.reading.policy import ReadPolicy

AGE_UNKNOWN = "The header gives no age; the models are made for adults."
WITH_DATA = "{task}: estimated from the image, {data}."
UNTOLD = "{task}: estimated from the image alone; not known: {missing}."
USED = "Used from outside the image: {what}, by {source}."
UNUSED = "Not used: {what}; {reason}."
WITHOUT_DATA = "{task}: estimated from the image alone; the header does not give {missing}."
CLASSIFIERS = tuple(row.role for row in TASKS.values() if not row.of_scans)
"""The roles that read a hip of a radiograph."""


def read(
    header: Header,
    radiograph: Radiograph,
    models: ModelSet,
    policy: ReadPolicy,
    *,
    told: Sequence[Told] = (),
    lying: Squares | None = None,
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
    told
        What came from outside for the examination.
    lying
        Squares of the image as it lies in its file (`imaging.as_stored`), where others need them
        too.
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
    draft = _Draft(header, radiograph, models, clock, _Asked(header, told, policy))
    if models.reads_scans:
        return _read_scan(header, radiograph, models, policy, draft)
    part = inside_margins(radiograph.pixels)
    if part is None:
        return _read_radiograph(header, radiograph, models, policy, draft, lying)
    pixels = np.ascontiguousarray(radiograph.pixels[part.y0 : part.y1, part.x0 : part.x1])
    inner = replace(radiograph, pixels=pixels)
    found = _read_radiograph(header, inner, models, policy, draft, None)
    return replace(found, hips=tuple(_moved(hip, part) for hip in found.hips))


def _moved(hip: HipReading, part: Box) -> HipReading:
    """Return a hip of a part of an image in the pixels of the whole one."""
    return replace(hip, roi=replace(hip.roi, box=hip.roi.box.moved(part.x0, part.y0)))


def _read_radiograph(
    header: Header,
    radiograph: Radiograph,
    models: ModelSet,
    policy: ReadPolicy,
    draft: _Draft,
    lying: Squares | None,
) -> Reading:
    """Read a radiograph of hips, without even margins."""
    if abstention := header_gate(header, radiograph, policy):
        return draft.abstained(abstention)
    as_said = sides.as_header_says(header, radiograph)
    shown = lying if as_said == as_stored(radiograph) else None
    shown = shown or Squares(as_said.picture(radiograph.pixels))
    sight = view_of(shown, models.gate)
    facing = sides.facing(header, radiograph, sight.turns)
    draft.lap("gate")
    upright = facing.canonical.radiograph(radiograph)
    if facing.canonical != as_said:
        shown = Squares(upright.pixels)
    found = localise.candidates(shown, models.localiser)
    shape = upright.pixels.shape
    if said_lateral(header):
        sight = replace(sight, view=View.OTHER)
    else:
        whole = partial(one_is_whole, shown, models.fracture)
        sight = pelvis_after_all(sight, localise.both(found, shape), whole)
    draft.view = sight.view
    accepted = sight.view is not View.OTHER
    bars = metal.bars(shown) if accepted or may_be_of_a_hip(header, sight) else []
    draft.lap("localise")
    if not accepted and not worth_a_look(header, sight, found):
        unread = _metal(bars) or _unfound(sight, found) or _not_frontal(sight.p_frontal, header)
        return draft.abstained(unread)
    hips_found = localise.hips(found, header, shape, facing, sight.view)
    if hips_found.abstention:
        return draft.abstained(hips_found.abstention)
    draft.missing = hips_found.missing
    chosen, basis = _choose(models, draft.asked, CLASSIFIERS)
    seen = Seen(upright, shown, header, sight.view, hips_found.side, tuple(bars))
    hips, left_out = assess(seen, hips_found.rois, models, chosen, policy)
    draft.lap("classify")
    if not accepted and all(_says_nothing(hip) for hip in hips):
        unsaid = _metal(bars) or _not_frontal(sight.p_frontal, header)
        judged = (hip.abstention.p_judged for hip in hips if hip.abstention)
        highest = max((p for p in judged if p is not None), default=None)
        return draft.abstained(replace(unsaid, p_judged=highest))
    answered = {TASKS[finding.task].role for hip in hips for finding in hip.findings}
    used = (note for role in basis if role in answered for note in basis[role])
    notes = (*hips_found.notes, *used, *left_out, *facing.changes)
    if header.age_years is None:
        notes += (AGE_UNKNOWN,)
    return draft.finished(tuple(facing.canonical.hip_back(hip) for hip in hips), notes)


def _choose(
    models: ModelSet, asked: _Asked, roles: Sequence[Role]
) -> tuple[list[Chosen], dict[Role, tuple[str, ...]]]:
    """Return which variant of each classifier reads this image, and what to say of two.

    References
    ----------
    Yamamoto 2020, 2.7: the same network with and without clinical data.
    """
    chosen, basis = [], {}
    for role in roles:
        if role not in models.models:
            continue
        plain, variant = models.models[role], models.clinical.get(role)
        if variant is None:
            chosen.append(Chosen(plain))
            continue
        names, task = variant.spec.covariates, IN_WORDS[role]
        known = asked.known(names)
        if known.missing:
            chosen.append(Chosen(plain))
            notes = [_without(task, known.missing)]
        else:
            chosen.append(Chosen(variant, known.values, known.used))
            notes = [WITH_DATA.format(task=task, data=clinical.in_words(names))]
            outside = (each for each in known.used if each.source is not CovariateSource.HEADER)
            notes += [USED.format(what=each.in_words, source=each.source) for each in outside]
        notes += [
            UNUSED.format(what=clinical.in_words((each.name,)), reason=each.reason)
            for each in known.unused
        ]
        basis[role] = tuple(notes)
    return chosen, basis


def _without(task: str, missing: tuple[str, ...]) -> str:
    in_header = all(name in clinical.HEADER for name in missing)
    words = WITHOUT_DATA if in_header else UNTOLD
    return words.format(task=task, missing=clinical.in_words(missing))


def _says_nothing(hip: HipReading) -> bool:
    """Tell whether a hip on a view that is not validated is worth no word: metal is."""
    return hip.abstention is not None and hip.abstention.reason is not AbstentionReason.IMPLANT


def _metal(bars: Sequence[metal.Bar]) -> Abstention | None:
    """Return why an image of another view is for a person to look at now; None if it is not."""
    if not bars:
        return None
    straight = max(bar.straight for bar in bars)
    detail = f"a bar {straight:.0f} times as long as wide"
    return Abstention(AbstentionReason.POSSIBLE_METAL, detail)


def _unfound(sight: Sight, found: Sequence[localise.Candidate]) -> Abstention | None:
    """Return why a person should look at another view of a hip; None if it may show none.

    On 30 such views of real hips, left out, the localiser was sure of the hip in 19; of the others
    four were operated, broken or hardly exposed.
    """
    if not shows_a_hip(sight):
        return None
    if not found:
        return Abstention(AbstentionReason.HIP_NOT_FOUND)
    return Abstention(AbstentionReason.TOO_UNCERTAIN, f"localiser {found[0].score:.2f}")


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
    facing = sides.Facing(sides.as_header_says(header, scan))
    pixels = facing.canonical.picture(scan.pixels)
    roi = HipROI(Side(header.laterality), Box(0, 0, pixels.shape[1], pixels.shape[0]), 1.0)
    (chosen,), basis = _choose(models, draft.asked, tuple(SCANS & models.models.keys()))
    made = classify.findings(chosen.model, pixels, [roi], chosen.covariates, whole=True)
    draft.lap("classify")
    (found,) = made
    if isinstance(found, Abstention):
        return draft.abstained(found)
    found = replace(found, covariates=chosen.known)
    hip = facing.canonical.hip_back(HipReading(roi, (found,)))
    return draft.finished((hip,), sum(basis.values(), ()) + facing.changes)


class _Asked:
    """What the models ask about the patient, and what they get."""

    def __init__(self, header: Header, told: Sequence[Told], policy: ReadPolicy) -> None:
        self._header, self._told, self._policy = header, told, policy
        self._unused: dict[Unused, None] = {}

    @property
    def unused(self) -> tuple[Unused, ...]:
        """What was known and not used, and why."""
        return tuple(self._unused)

    def known(self, names: tuple[str, ...]) -> clinical.Known:
        """Return what is known of these."""
        days = self._policy.covariate_days
        found = clinical.known(self._header, names, self._told, days)
        self._unused |= dict.fromkeys(found.unused)
        return found


class _Draft:
    """What every reading of this image has in common, and how long each step took."""

    def __init__(
        self,
        header: Header,
        radiograph: Radiograph,
        models: ModelSet,
        clock: Callable[[], float] | None,
        asked: _Asked,
    ) -> None:
        self.asked = asked
        self._header, self._radiograph, self._models = header, radiograph, models
        self._clock = clock
        self._since_s = clock() if clock else 0.0
        self._timings_ms: dict[str, float] = {}
        self.view: View | None = None
        self.missing: Side | None = None

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
            view=self.view,
            missing=self.missing if hips else None,
            unused=self.asked.unused,
        )
