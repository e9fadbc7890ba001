"""Decoding a full DX in each transfer syntax, next to what pydicom chooses by itself."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from functools import partial
from io import BytesIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array

from hipnode.imaging.frame import stored_frame
from hipnode.imaging.layout import layout_of
from tests.bench import objects
from tests.bench.harness import Measure, Run, Table, Target

DEFAULT = "pydicom's default"


def tables(run: Run) -> Iterator[Table]:
    """Yield a table for each transfer syntax."""
    warnings.simplefilter("ignore")
    truth = objects.pelvis()
    for syntax in objects.SYNTAXES:
        content = objects.filed(objects.image(syntax=syntax))
        plugins = get_decoder(syntax).available_plugins if syntax.is_encapsulated else ()
        handlers: dict[str, Measure] = {
            "hipnode": partial(_ours, content, truth),
            DEFAULT: partial(_pydicom, content, truth, ""),
            **{f"pydicom with {name}": partial(_pydicom, content, truth, name) for name in plugins},
        }
        table = Table(
            f"Decode: {syntax.name}, DX of {len(content) / 1e6:.1f} MB",
            "ms",
            targets=(Target(DEFAULT, at_most=1.05),),
            notes=["file in memory to stored values; every value is compared with the original's"],
        )
        yield table.run(handlers, run.rounds)


def _ours(content: bytes, truth: NDArray[np.uint16]) -> float:
    start_s = time.perf_counter()
    dataset = pydicom.dcmread(BytesIO(content))
    layout = layout_of(dataset, 100_000_000, [])
    pixels = stored_frame(dataset, layout, 0, 100_000_000, [])
    took_s = time.perf_counter() - start_s
    _check(pixels, truth)
    return took_s * 1000


def _pydicom(content: bytes, truth: NDArray[np.uint16], plugin: str) -> float:
    start_s = time.perf_counter()
    dataset = pydicom.dcmread(BytesIO(content))
    pixels = pixel_array(dataset, decoding_plugin=plugin) if plugin else dataset.pixel_array
    took_s = time.perf_counter() - start_s
    _check(pixels, truth)
    return took_s * 1000


def _check(pixels: NDArray[np.uint16], truth: NDArray[np.uint16]) -> None:
    if not np.array_equal(pixels, truth):
        raise RuntimeError("a decoder gives other values than were encoded")
