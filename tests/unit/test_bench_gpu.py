"""What is measured on a GPU runs on a CPU too: a borrowed machine is no place to find mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers import ROOT

pytestmark = pytest.mark.slow


def test_all_that_is_measured_on_a_gpu_runs(tmp_path: Path) -> None:
    from tests.bench.gpu import SETS, STEPS

    script = ROOT / "tests" / "bench" / "on-gpu"
    command = [str(script), "--rounds=1", f"--folder={tmp_path}"]
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    measured = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["tables"]
    assert len(measured) == len(SETS) + 2 + len(STEPS)
    (verdict,) = next(one["verdicts"] for one in measured if "difference" in one["title"])
    assert verdict.endswith(" met")
