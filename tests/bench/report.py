"""What a report's objects cost: the processor time of SR, capture and text of one image.

Time of the processor, not of the clock: what else the machine does counts little. The reference is
the same with every content tree made anew by highdicom.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from hipnode.domain import ResultKind, Side
from hipnode.reporting import LONG_SIDE_PX, ReportRequest, build
from hipnode.reporting.measurements import prepare
from tests import cases, factory
from tests.bench import objects
from tests.bench.harness import Run, Table, Target

HIGHDICOM = "each content tree by highdicom"
_KINDS = {
    "SR, capture and text": cases.DEFAULT_OBJECTS,
    "SR": frozenset({ResultKind.SR}),
    "capture": frozenset({ResultKind.CAPTURE}),
    "text": frozenset({ResultKind.TEXT}),
    "PDF, its capture included": frozenset({ResultKind.PDF}),
}


def tables(run: Run) -> Iterator[Table]:
    """Yield the tables of this measurement."""
    prepare()
    asked = one_image()
    for what, kinds in _KINDS.items():
        bare = replace(asked, objects=kinds)
        contestants: dict[str, Callable[[], float]] = {
            "hipnode": partial(spent_ms, bare),
            HIGHDICOM: partial(spent_ms, bare, prepared=False),
        }
        whole = kinds == cases.DEFAULT_OBJECTS
        table = Table(
            f"Report: {what} of one image",
            "ms of processor time",
            targets=(Target(at_most=30),) if whole else (),
            notes=["one thread; two hips; the picture as the worker keeps it"],
        )
        for contestant in contestants.values():
            contestant()
        yield table.run(contestants, 3 * run.rounds)


def one_image() -> ReportRequest:
    """Return a request for the report of a pelvis with one broken hip."""
    grey = Image.fromarray((objects.pelvis(*objects.FULL) >> 4).astype(np.uint8))
    grey.thumbnail((LONG_SIDE_PX, LONG_SIDE_PX))
    hips = [factory.hip(Side.RIGHT, 0.97), factory.hip(Side.LEFT, 0.02)]
    source = cases.source("report", factory.reading(hips, "report"))
    return cases.request(replace(source, pixels=np.asarray(grey)))


def spent_ms(asked: ReportRequest, *, prepared: bool = True) -> float:
    """Return the processor time that the objects of a request take, encoding included."""
    fresh = replace(asked, sources=tuple(replace(source) for source in asked.sources))
    start_s = time.process_time()
    for built in build(fresh, prepared=prepared):
        built.to_bytes()
    return (time.process_time() - start_s) * 1000
