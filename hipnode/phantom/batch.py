"""Many images at once, over several processes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from hipnode.phantom.dicom import write_dicom
from hipnode.phantom.manifest import Made
from hipnode.phantom.population import Recipe
from hipnode.phantom.render import render


@dataclass(frozen=True, slots=True)
class Order:
    """What to make and where to put it."""

    recipe: Recipe
    seed: int
    folder: Path
    size_px: int | None = None


def make(order: Order, index: int) -> Made:
    """Write one image, and the mask of its metal where it shows any."""
    phantom = render(order.recipe, order.seed, index, size_px=order.size_px)
    name = f"{phantom.truth.image_id}.dcm"
    write_dicom(phantom, order.folder / name)
    mask = ""
    if phantom.implant_mask.any():
        mask = f"{phantom.truth.image_id}.implant.png"
        Image.fromarray(phantom.implant_mask).save(order.folder / mask, optimize=True)
    return Made(name, phantom.truth, mask)


def make_all(order: Order, count: int, jobs: int) -> Iterator[Made]:
    """Write ``count`` images over ``jobs`` processes; yield them in order as they are done."""
    order.folder.mkdir(parents=True, exist_ok=True)
    if jobs <= 1:
        yield from map(partial(make, order), range(count))
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(make, order), range(count), chunksize=2)
