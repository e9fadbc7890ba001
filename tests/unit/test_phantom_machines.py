"""The same recipe, seed and index give the same pixels, whatever the processor can do."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from hipnode.phantom import Recipe, load_recipe, render

pytestmark = pytest.mark.slow

PINNED = "8fd2fbc9b4894189ff2fa35c7f82a476c1db9f2404cf58662c4fa72ccd26a4b1"
"""Caveat: numpy promises the streams of its generators only within a feature release (NEP 19), and
a new scipy may resample in another order. If this digest changes with a new version of either, look
at the images, then pin the new one and say so in the change log."""

_CHILD = """
import sys
from pathlib import Path
from tests.unit.test_phantom_machines import digest, small_recipe
print(digest(small_recipe(Path(sys.argv[1]))))
"""
_PLAIN_PROCESSOR = {
    "OPENBLAS_CORETYPE": "Nehalem",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F",
    "OMP_NUM_THREADS": "1",
}


def small_recipe(cache: Path) -> Recipe:
    """Return a recipe of one body with a fracture or metal in most images."""
    return replace(
        load_recipe("training"),
        cache_dir=cache,
        anatomies={"train": 1, "val": 1, "test": 1},
        splits={"train": 1.0},
        views={"frontal": 1.0},
        p_fracture_hip=0.6,
        p_implant_hip=0.3,
    )


def digest(recipe: Recipe) -> str:
    """Return one sha256 over the pixels of six images."""
    total = sha256()
    for index in range(6):
        total.update(render(recipe, 5, index, size_px=384).pixels.astype("<u2").tobytes())
    return total.hexdigest()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> str:
    return digest(small_recipe(tmp_path_factory.mktemp("bones")))


def _features_in_use() -> str:
    """Return the processor features that numpy would choose code for, here."""
    found = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    return " ".join(found)


def test_pixels_are_the_pinned_ones(here: str) -> None:
    assert here == PINNED


def test_a_processor_without_vector_extensions_makes_the_same_pixels(
    here: str, tmp_path: Path
) -> None:
    """Bones included: the child builds its own cache."""
    environment = {**os.environ, **_PLAIN_PROCESSOR, "NPY_DISABLE_CPU_FEATURES": _features_in_use()}
    command = [sys.executable, "-c", _CHILD, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == here
