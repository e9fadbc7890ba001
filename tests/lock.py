"""Write the lock files: what pip installs for the tests and for the image, each file's sha256.

``make lock`` calls it, on the platform of the container and of CI (CPython 3.11, Linux, x86-64).
No index is named in a lock file, and a hash admits one build alone: for PyTorch the CPU's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from packaging.utils import canonicalize_name

from tests.packages import brought_by
from tests.peers import ROOT

_HEAD = """\
# What {what} is made of: `make lock` writes this file, and pip holds every file to its hash.
# CPython 3.11, Linux, x86-64; elsewhere install by the ranges in pyproject.toml.
"""


def resolved(requirement: str) -> dict[str, str]:
    """Return one line of the lock file for each package that ``requirement`` brings."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run([*command, "--report", str(report), requirement], check=True, cwd=ROOT)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    lines = {}
    for item in found:
        if "dir_info" in item["download_info"]:  # hipnode itself
            continue
        name, version = canonicalize_name(item["metadata"]["name"]), item["metadata"]["version"]
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        lines[name] = f"{name}=={version} --hash=sha256:{digest}"
    return lines


def write(path: Path, what: str, lines: Iterable[str]) -> None:
    """Write a lock file."""
    text = _HEAD.format(what=what) + "".join(f"{line}\n" for line in sorted(lines))
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """Write both: the image has of the tests' packages those that a node needs."""
    lines = resolved(".[test,train]")
    write(ROOT / "tests" / "requirements.lock", "the environment of the tests", lines.values())
    image = brought_by("hipnode[desk,postgresql,s3]").keys() & lines.keys()
    write(ROOT / "requirements.lock", "the container image", (lines[name] for name in image))


if __name__ == "__main__":
    main()
