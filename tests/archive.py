"""Debian's Orthanc with its DICOMweb plug-in: the archive that the node reports to in tests."""

from __future__ import annotations

import http.client
import json
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from tests.peers import Process, eventually, require, require_file, start_on_free_ports

_PLUGINS = "/usr/share/orthanc/plugins"


class Orthanc:
    """One Orthanc on loopback; it keeps its database over `stop` and `start`.

    Parameters
    ----------
    folder
        Where its settings, database and files go.
    **options
        Added to (or replacing parts of) its settings file.
    """

    ae_title = "ORTHANC"
    host = "127.0.0.1"

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.options = options
        self.program = require("Orthanc", "orthanc")
        self.dicomweb = require_file(f"{_PLUGINS}/libOrthancDicomWeb.so", "orthanc-dicomweb")
        self.dicom_port = 0
        self.http_port = 0
        self.process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.http_port}"

    @property
    def port(self) -> int:
        """Where it takes C-STORE."""
        return self.dicom_port

    @property
    def dicomweb_url(self) -> str:
        return f"{self.url}/dicom-web"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.running

    def start(self) -> None:
        """Start it; the second time on the same ports, as a PACS that comes back would."""
        if self.running:
            return
        if self.dicom_port:
            self._launch(self.dicom_port, self.http_port)
        else:
            start_on_free_ports(self._launch, 2)

    def _launch(self, dicom_port: int, http_port: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "Name": "hipnode tests",
            "DicomAet": self.ae_title,
            "DicomPort": dicom_port,
            "HttpPort": http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomCheckCalledAet": True,
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "StableAge": 1,
            "ExecuteLuaEnabled": False,
            "Plugins": [str(self.dicomweb)],
            "DicomWeb": {"Enable": True},
            **self.options,
        }
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(settings, indent=1), encoding="utf-8")
        process = Process([self.program, path], self.folder / "orthanc.log")
        process.wait_listening(dicom_port, http_port)
        self.process, self.dicom_port, self.http_port = process, dicom_port, http_port
        eventually(lambda: self.request("GET", "/system"), what="Orthanc answers")

    def stop(self) -> None:
        """End it as a shutdown would; what it has stored stays."""
        if self.process:
            self.process.stop()

    def kill(self) -> None:
        """``kill -9`` it."""
        if self.process:
            self.process.kill()

    # --- REST ---------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: Any = None) -> bytes:
        """Send one REST request and return the answer's body; not 200 is an AssertionError."""
        payload = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.host, self.http_port, timeout=60)
        try:
            connection.request(method, path, payload)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, f"{method} {path}: {answer.status} {content[:500]!r}"
        return content

    def get(self, path: str) -> Any:
        """Return the JSON document at ``path``."""
        return json.loads(self.request("GET", path))

    def instances(self) -> list[dict[str, str]]:
        """Return the simple tags (by keyword) of every stored instance."""
        found = self.get("/instances?expand")
        return [{**item["MainDicomTags"], "OrthancID": item["ID"]} for item in found]

    def sop_instance_uids(self) -> list[str]:
        """Return the SOP Instance UIDs of all stored instances, sorted."""
        return sorted(item["SOPInstanceUID"] for item in self.instances())

    def fetch_bytes(self, sop_instance_uid: str) -> bytes:
        """Return the stored file with this SOP Instance UID, exactly as Orthanc keeps it."""
        found = json.loads(self.request("POST", "/tools/lookup", sop_instance_uid.encode()))
        ids = [item["ID"] for item in found if item["Type"] == "Instance"]
        assert len(ids) == 1, f"{sop_instance_uid}: {len(ids)} instances"
        return self.request("GET", f"/instances/{ids[0]}/file")

    def fetch(self, sop_instance_uid: str) -> Dataset:
        """Return the stored instance with this SOP Instance UID."""
        return dcmread(BytesIO(self.fetch_bytes(sop_instance_uid)))

    def store(self, data: bytes) -> None:
        """Put a DICOM file into the archive."""
        self.request("POST", "/instances", data)

    def clear(self) -> None:
        """Delete everything it has stored, and its log of changes."""
        for patient in self.get("/patients"):
            self.request("DELETE", f"/patients/{patient}")
        self.request("DELETE", "/changes")

    def route(self, name: str) -> None:
        """Send everything that it holds to a DICOM peer known to it, as a routing rule would."""
        everything = self.get("/instances")
        self.request("POST", f"/modalities/{name}/store", everything)

    def set_modality(self, name: str, ae_title: str, host: str, port: int) -> None:
        """Make a DICOM peer known to it (a storage commitment's answer goes there, say)."""
        self.request("PUT", f"/modalities/{name}", {"AET": ae_title, "Host": host, "Port": port})
