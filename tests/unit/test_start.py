"""What a command brings in before it knows what it is asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = {"numpy", "pydicom", "pydantic", "sqlalchemy", "onnxruntime", "highdicom", "PIL", "scipy",
         "structlog"}  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "none_of"),
    [
        ("hipnode.cli", HEAVY),
        ("hipnode.storage", HEAVY - {"numpy", "pydantic", "sqlalchemy", "structlog"}),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(asked: str, none_of: set[str]) -> None:
    """``--help`` answers at once, and ``status`` decodes nothing."""
    there = f"{sorted(none_of)!r}"
    code = f"import sys, {asked}; print(*(name for name in {there} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_numpy_gets_no_threads_of_its_own() -> None:
    """They spin after each product: a reading took a second core for as long as it lasted."""
    code = "from hipnode.cli import main; main()"
    ask = "import atexit, os; atexit.register(lambda: print(os.environ['OPENBLAS_NUM_THREADS']));"
    plain = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", f"{ask} {code}", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    assert done.stdout.splitlines()[-1] == "1"
