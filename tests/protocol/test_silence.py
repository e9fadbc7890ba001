"""What reads an image speaks to nobody: neither we nor the libraries that we bring along."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.node import HIPNODE
from tests.peers import missing, require, run
from tests.senders import SAMPLES


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_reading_an_image_reports_to_nobody(tmp_path: Path, device: str) -> None:
    """Both engines' libraries would, unless told not to, and file an identity at home for it."""
    strace = require("strace", "strace")
    if device == "openvino" and find_spec("openvino") is None:
        missing("openvino is not installed: pip install 'hipnode[openvino]'")
    home, calls = tmp_path / "home", tmp_path / "calls"
    home.mkdir()
    told = {"HOME": str(home), "HIPNODE_WORKER__DEVICE": device, "CI": ""}  # CI would silence them
    command = [strace, "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(calls)]
    done = run([*command, *HIPNODE, "read", str(SAMPLES[0]), "--json"], env=told, cwd=tmp_path)
    assert json.loads(done.stdout)["hips"]
    spoke = [line for line in calls.read_text().splitlines() if "AF_INET" in line]
    assert spoke == []
    assert list(home.iterdir()) == []
