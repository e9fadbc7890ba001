"""The systemd unit lets hipnode do all that it does: its system calls, on the main job, counted."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.archive import Orthanc
from tests.node import HIPNODE, Node, destination
from tests.peers import ROOT, Process, eventually, require, run
from tests.senders import SAMPLES, storescu

UNIT = ROOT / "docker" / "systemd" / "hipnode.service"


def _allowed() -> set[str]:
    """Return the system calls that the unit's SystemCallFilter lines leave."""
    listed: dict[str, list[str]] = {}
    name = ""
    analyze = require("systemd-analyze", "systemd")
    for line in run([analyze, "syscall-filter"]).stdout.splitlines():
        if line.startswith("@"):
            name = line.strip()
            listed[name] = []
        elif line.startswith("    ") and not line.strip().startswith("#"):
            listed[name].append(line.strip())

    def calls(group: str) -> set[str]:
        if not group.startswith("@"):
            return {group}
        return {call for member in listed[group] for call in calls(member)}

    allowed: set[str] = set()
    for value in re.findall(r"^SystemCallFilter=(\S+)$", UNIT.read_text(), re.MULTILINE):
        if value.startswith("~"):
            allowed -= calls(value[1:])
        else:
            allowed |= calls(value)
    return allowed


@pytest.mark.timeout(300)
def test_the_main_job_needs_no_system_call_that_the_unit_forbids(
    tmp_path: Path, orthanc: Orthanc
) -> None:
    strace = require("strace", "strace")
    node = Node(tmp_path / "node", destinations=[destination(orthanc)])
    counts = tmp_path / "counts"
    log = node.folder / "node.log"
    command = [strace, "-f", "-qq", "-c", "-U", "name", "-o", str(counts), *HIPNODE, "serve"]
    process = Process([*command, "--config", str(node.config)], log)
    try:
        ready = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
        eventually(lambda: ready.search(process.output()), timeout_s=120, what="hipnode listens")
        found = ready.search(process.output())
        assert found
        node.port = int(found[1])
        storescu(node, SAMPLES[:1])
        eventually(orthanc.instances, timeout_s=180, poll_s=1, what="a report arrives")
        (supervisor,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(supervisor), signal.SIGTERM)
        process.popen.wait(120)
    finally:
        process.kill()
    used = set(counts.read_text().split()) - {"syscall", "total"}
    used = {call for call in used if not set(call) <= set("-")}
    assert len(used) > 50
    if os.geteuid() == 0:
        used.discard("fchown")  # SQLite keeps its files' owner, as root only; the unit is not root
    forbidden = used - _allowed()
    assert not forbidden
