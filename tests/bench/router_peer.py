"""dicom-ai-router with a model that answers at once: the nearest peer for a whole study.

It takes CT only, so it gets the same pixels as a CT. It makes a Basic Text SR and a picture.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset, uid

from tests.archive import Orthanc
from tests.bench import objects
from tests.bench.harness import say
from tests.peers import Process, start_on_free_ports

NAME: Final = "dicom-ai-router, instant model, same pixels as CT"
RESULTS: Final = 2
AE_TITLE: Final = "AIROUTER"
_ANSWER: Final = {
    "model": "instant",
    "model_version": "1",
    "result": "none",
    "summary_lines": [["Finding", "none"]],
    "key_sop_instance_uid": None,
    "overlays": [],
}


class _Instant(BaseHTTPRequestHandler):
    """A model that looks at nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take what comes, and answer."""
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        content = json.dumps(_ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


def image() -> Dataset:
    """Return the pelvis as a CT, which is all that it takes."""
    return objects.image(
        SOPClassUID=uid.CTImageStorage,
        Modality="CT",
        BodyPartExamined="CHEST",
        StudyDescription="CT chest",
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        InstanceNumber=1,
    )


@contextmanager
def running(folder: Path, archive: Orthanc) -> Iterator[int | None]:
    """Install it into an environment of its own and run it; None where that is not possible."""
    folder.mkdir()
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "dicom-ai-router==0.3.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        say(f"dicom-ai-router cannot be installed here: {done.stderr[-300:]}")
        yield None
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Instant)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def launch(port: int) -> tuple[Process, int]:
        settings = folder / "router.yaml"
        url = f"http://127.0.0.1:{server.server_address[1]}/infer"
        settings.write_text(json.dumps(_settings(folder, port, url, archive)))  # JSON is YAML
        process = Process(
            [folder / "venv" / "bin" / "dicom-ai-router", "serve", "--config", settings],
            folder / "router.log",
            env={"AIROUTER_DEID_SALT": os.urandom(32).hex()},
            cwd=folder,
        )
        process.wait_listening(port)
        return process, port

    process, port = start_on_free_ports(launch, 1)
    try:
        yield port
    finally:
        process.kill()
        server.shutdown()


def _settings(folder: Path, port: int, url: str, archive: Orthanc) -> dict[str, Any]:
    return {
        "router": {
            "ae_title": AE_TITLE,
            "port": port,
            "study_quiet_seconds": 0,
            "workers": 2,
            "workdir": str(folder / "data"),
            "bind_address": "127.0.0.1",
        },
        "pacs": {"ae_title": archive.ae_title, "host": archive.host, "port": archive.port},
        "ai_endpoints": {"instant": {"url": url}},
        "rules": [{"name": "all", "match": {"Modality": "CT"}, "model": "instant"}],
        "deid": {"salt": ""},
    }
