"""The process in which foreign bytes are decoded and the models run.

A file that kills the decoder or the model kills this process and costs one attempt of one job;
the worker starts another. Everything here runs in the child: the worker's own process never
touches pixels, and the child never touches the database.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from hipnode import imaging, nets, reading, reporting
from hipnode.domain import Header, Reading

_VIEW_PX = 1600
"""The longer edge of a heat map's picture: sharp on a screen, and small on the wire."""


@dataclass(frozen=True)
class ReaderSpec:
    """What a reading process needs to know."""

    model_set: str
    device: str
    threads: int
    memory_limit_bytes: int
    max_pixels: int
    policy: reading.ReadPolicy


_spec: ReaderSpec
_models: nets.ModelSet


def start(spec: ReaderSpec) -> None:
    """Load the models once. Runs first in each reading process."""
    global _spec, _models  # noqa: PLW0603 - the state of a process that does one thing
    if spec.memory_limit_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (spec.memory_limit_bytes,) * 2)
    _spec = spec
    _models = nets.load_model_set(spec.model_set, device=spec.device, threads=spec.threads)
