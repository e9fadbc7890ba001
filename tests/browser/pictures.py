"""The pictures of the viewer in the documents: ``python -m tests.browser.pictures``.

A simulated pelvis of `hipnode.phantom`, with a reading made up from its truth, in OHIF.
"""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import dcmread

from hipnode.domain import Box, Side
from hipnode.imaging import load
from hipnode.reporting import SourceImage, build
from tests import cases
from tests.archive import Orthanc
from tests.browser.viewer import ViewerServer
from tests.factory import hip, reading
from tests.peers import ROOT, require, run

HERE = Path(__file__).resolve().parent
PICTURES = {"measurements": "SR - INV", "capture": "map - INV", "report": "text - INV"}
WIDTH_PX = 900


def _fractured(folder: Path) -> dict[str, str]:
    """Return the manifest's first frontal pelvis with both hips, one of them broken."""
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            labels = (row["right_label"], row["left_label"])
            frontal = row["view"] == "frontal" and row["mirrored"] == "0" and all(labels)
            if frontal and len(set(labels)) == 2 and float(row["spacing_mm"]) < 0.6:
                return row
    raise SystemExit("no such image; simulate more: hipnode phantom --count 40")


def _source(folder: Path, row: dict[str, str]) -> SourceImage:
    path = folder / row["file"]
    dataset = dcmread(path, stop_before_pixels=True)
    _, radiograph = load(path)
    hips = []
    for side in Side:
        x0, y0, x1, y1 = map(int, row[f"{side.name.lower()}_box"].split())
        label, implant = (row[f"{side.name.lower()}_{of}"] for of in ("label", "implant"))
        p = None if implant else 0.02 if label == "no_fracture" else 0.97
        kind = {"intracapsular": 0.9 if label == "intracapsular" else 0.1} if p else {}
        hips.append(hip(side, p, Box(x0, y0, x1, y1), **kind))
    read = reading(
        hips,
        sop_instance_uid=str(dataset.SOPInstanceUID),
        rows=radiograph.rows,
        columns=radiograph.columns,
    )
    return SourceImage(dataset, read, pixels=(255 * radiograph.pixels).astype(np.uint8))


def main(folder: Path, dist: Path) -> None:
    """Store the study, open it, and keep three small pictures."""
    row = _fractured(folder)
    source = _source(folder, row)
    out = ROOT / "docs" / "viewer"
    out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        archive = Orthanc(Path(work, "orthanc"))
        archive.start()
        archive.store((folder / row["file"]).read_bytes())
        for built in build(cases.request(source, objects=cases.DEFAULT_OBJECTS)):
            archive.store(built.to_bytes())
        with ViewerServer(dist, (archive.host, archive.http_port)) as server:
            url = f"{server.url}/viewer?StudyInstanceUIDs={source.dataset.StudyInstanceUID}"
            steps = [
                {"open": entry, "expect": [entry], "wait_ms": 5000, "shot": f"{work}/{name}.png"}
                for name, entry in PICTURES.items()
            ]
            steps.insert(1, {"click": "No", "wait_ms": 3000, "shot": f"{work}/measurements.png"})
            jobs = {"chromium": require("chromium-headless-shell", "chromium-headless-shell"),
                    "cases": [{"name": "pictures", "url": url, "steps": steps}]}  # fmt: skip
            Path(work, "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
            run(["node", HERE / "look.mjs", f"{work}/jobs.json", f"{work}/results.json"])
        archive.stop()
        for name in PICTURES:
            image = Image.open(f"{work}/{name}.png").convert("RGB")
            height = image.height * WIDTH_PX // image.width
            small = image.resize((WIDTH_PX, height), Image.Resampling.LANCZOS)
            small.save(out / f"{name}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    import sys

    main(Path(sys.argv[1]), Path(sys.argv[2]))
