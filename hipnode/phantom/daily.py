"""The phantom of a day: what a self-test is about, on a clean image: its answer is plain."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Final

import numpy as np

from hipnode.domain.selftest import IMPLANT, Matter, matter_of
from hipnode.phantom import anatomy, fractures
from hipnode.phantom.body import HipPlan
from hipnode.phantom.lots import draw_plan
from hipnode.phantom.population import load_recipe
from hipnode.phantom.render import render
from hipnode.phantom.truth import Phantom

IMPLANTS: Final = ("hemi", "total", "nail", "sliding_screw")
_CLEAR_MM: Final = 8.0
"""Fractures of the self-test are displaced by so much at least: it tests the way, not the eye."""


def phantom_of(day: date, number: int = 0) -> Phantom:
    """Return the phantom of a day; ``number`` counts those of the same day."""
    recipe = replace(
        load_recipe("demo"),
        name="self-test",
        p_fracture_hip=0.0,
        p_implant_hip=0.0,
        p_old_hip=0.0,
        p_osteoarthritis_hip=0.0,
    )
    seed, matter = day.toordinal(), matter_of(day)
    plan = draw_plan(recipe, seed, number)
    rng = anatomy.generator("self-test", matter.word, seed, number)
    hips = tuple(_hip(hip, matter, rng) for hip in plan.hips)
    return render(recipe, seed, number, plan=replace(plan, hips=hips))


def _hip(hip: HipPlan, matter: Matter, rng: np.random.Generator) -> HipPlan:
    if hip.side != matter.side:
        return hip
    if matter.label == IMPLANT:
        return replace(hip, implant=str(rng.choice(IMPLANTS)))
    broken = fractures.draw(matter.label, rng)
    while broken.subtype == "impacted" or broken.displacement_mm < _CLEAR_MM:
        broken = fractures.draw(matter.label, rng)
    return replace(hip, fracture=broken)
