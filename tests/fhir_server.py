"""A stub of a FHIR server, for what leaves as FHIR: reports, and what is on the audit log."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fhir.resources.R4B.bundle import Bundle


class FHIRServer:
    """Takes valid transactions of PUT, and answers as told (then 200)."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.holds: dict[str, dict[str, Any]] = {}
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = stub.statuses.pop(0) if stub.statuses else 200
                if self.headers["Content-Type"] != "application/fhir+json":
                    status = 415
                if status == 200:
                    Bundle.model_validate_json(body)
                    for entry in json.loads(body)["entry"]:
                        stub.holds[entry["request"]["url"]] = entry["resource"]
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/r4"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def reports(self) -> list[dict[str, Any]]:
        """The diagnostic reports that it holds."""
        return [r for r in self.holds.values() if r["resourceType"] == "DiagnosticReport"]

    def stop(self) -> None:
        """Take no more."""
        self._server.shutdown()
