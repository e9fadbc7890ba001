"""What a command brings in before it knows what it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"numpy", "pydicom", "pydantic", "sqlalchemy", "onnxruntime", "highdicom", "PIL", "scipy"}


@pytest.mark.parametrize(
    ("asked", "none_of"),
    [("hipnode.cli", HEAVY), ("hipnode.storage", HEAVY - {"numpy", "pydantic", "sqlalchemy"})],
)
def test_nothing_heavy_is_imported_before_it_is_needed(asked: str, none_of: set[str]) -> None:
    """``--help`` answers at once, and ``status`` decodes nothing."""
    there = f"{sorted(none_of)!r}"
    code = f"import sys, {asked}; print(*(name for name in {there} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
