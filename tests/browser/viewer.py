"""OHIF in front of an Orthanc, on one origin: its built distribution, and a proxy to DICOMweb."""

from __future__ import annotations

import http.client
import json
import mimetypes
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Self

_PROXIED = ("/dicom-web", "/wado")
_MODULES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
_DROPPED = frozenset(
    {"accept-encoding", "transfer-encoding", "connection", "content-length", "keep-alive", "host"}
)


def app_config() -> str:
    """Return OHIF's ``app-config.js``: one data source, on the page's own origin."""
    source = {
        "friendlyName": "tests",
        "name": "tests",
        "wadoUriRoot": "/wado",
        "qidoRoot": "/dicom-web",
        "wadoRoot": "/dicom-web",
        "qidoSupportsIncludeField": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "bulkDataURI": {"enabled": True},
        "omitQuotationForMultipartRequest": True,
    }
    config = {
        "routerBasename": None,
        "extensions": [],
        "modes": [],
        "showStudyList": True,
        "maxNumberOfWebWorkers": 2,
        "showErrorDetails": "always",
        "investigationalUseDialog": {"option": "never"},
        "defaultDataSourceName": "tests",
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": "tests",
                "configuration": source,
            }
        ],
    }
    return f"window.config = {json.dumps(config)};"


class ViewerServer:
    """Serves ``dist`` and proxies to the archive, on a free port of loopback.

    Parameters
    ----------
    dist
        The folder of OHIF's built distribution.
    archive
        Host and port of the archive's HTTP server.
    """

    def __init__(self, dist: Path, archive: tuple[str, int]) -> None:
        handler = type("Handler", (_Handler,), {"dist": dist, "archive": archive})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes
    dist: ClassVar[Path]
    archive: ClassVar[tuple[str, int]]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith(_PROXIED):
            self._proxy()
        elif path == "/app-config.js":
            self._send(200, app_config().encode(), "text/javascript")
        else:
            self._file(path)

    do_POST = do_GET  # noqa: N815

    def _file(self, path: str) -> None:
        file = (self.dist / path.lstrip("/")).resolve()
        if not file.is_relative_to(self.dist.resolve()) or not file.is_file():
            file = self.dist / "index.html"  # the routes of a single-page application
        kind = _MODULES.get(file.suffix) or mimetypes.guess_type(file.name)[0]
        self._send(200, file.read_bytes(), kind or "application/octet-stream", "max-age=3600")

    def _proxy(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _DROPPED}
        headers["Host"] = self.headers.get("Host", "")  # Orthanc puts it into BulkDataURIs
        connection = http.client.HTTPConnection(*self.archive, timeout=60)
        try:
            connection.request(self.command, self.path, self.rfile.read(length) or None, headers)
            answer = connection.getresponse()
            self._send(answer.status, answer.read(), answer.getheader("Content-Type") or "")
        finally:
            connection.close()

    def _send(self, status: int, body: bytes, kind: str, kept: str = "no-store") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", kept)
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""
