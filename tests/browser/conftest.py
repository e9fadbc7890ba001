"""OHIF's built distribution from the npm registry, and Debian's Chromium to look at it with."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.archive import Orthanc
from tests.browser.viewer import ViewerServer
from tests.peers import ROOT, missing, require, run

HERE = Path(__file__).resolve().parent
VERSION = "3.13.2"
INTEGRITY = (
    "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
)
ARTEFACTS = ROOT / "artefacts" / "viewer"


@pytest.fixture(scope="session")
def ohif() -> Path:
    """The folder of OHIF's built distribution, fetched once and checked."""
    unpacked = ROOT / "build" / f"ohif-{VERSION}"
    if not (unpacked / "package" / "dist" / "index.html").is_file():
        npm = require("npm", "npm")
        unpacked.mkdir(parents=True, exist_ok=True)
        fetched = run(
            [npm, "pack", f"@ohif/app@{VERSION}", "--pack-destination", unpacked, "--silent"],
            timeout_s=300,
            check=False,
        )
        if fetched.returncode:
            missing(f"OHIF {VERSION} cannot be fetched: {fetched.stderr[-300:]}")
        archive = unpacked / f"ohif-app-{VERSION}.tgz"
        digest = hashlib.sha512(archive.read_bytes()).digest()
        assert base64.b64encode(digest).decode() == INTEGRITY, "not the OHIF that was published"
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
        archive.unlink()
    return unpacked / "package" / "dist"


@pytest.fixture(scope="session")
def driver() -> str:
    """Node.js, with playwright-core beside `look.mjs`."""
    node = require("node", "nodejs")
    if not (HERE / "node_modules" / "playwright-core").is_dir():
        npm = require("npm", "npm")
        done = run([npm, "ci", "--no-audit", "--no-fund", "--prefix", HERE], check=False)
        if done.returncode:
            missing(f"playwright-core cannot be installed: {done.stderr[-300:]}")
    return node


@pytest.fixture(scope="session")
def look(
    driver: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """A function that opens cases in the viewer and returns what the page showed."""
    chromium = require("chromium-headless-shell", "chromium-headless-shell")

    def open_cases(cases: list[dict[str, Any]]) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("look")
        jobs, results = folder / "jobs.json", folder / "results.json"
        jobs.write_text(json.dumps({"chromium": chromium, "cases": cases}), encoding="utf-8")
        run([driver, HERE / "look.mjs", jobs, results], timeout_s=1500)
        found: dict[str, Any] = json.loads(results.read_text(encoding="utf-8"))
        return found

    return open_cases


@pytest.fixture(scope="session")
def viewer(
    ohif: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Orthanc, ViewerServer]]:
    """An archive, and OHIF in front of it."""
    archive = Orthanc(tmp_path_factory.mktemp("viewer"))
    archive.start()
    with ViewerServer(ohif, (archive.host, archive.http_port)) as server:
        yield archive, server
    archive.stop()


@pytest.fixture(scope="session")
def artefacts() -> Path:
    """An empty folder for the screenshots, which CI keeps."""
    shutil.rmtree(ARTEFACTS, ignore_errors=True)
    ARTEFACTS.mkdir(parents=True)
    return ARTEFACTS
