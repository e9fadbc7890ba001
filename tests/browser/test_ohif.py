"""Every case as a radiologist sees it: stored in Orthanc, opened in OHIF, read off the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hipnode import DISCLAIMER
from hipnode.domain import Side, Task
from hipnode.reporting import ReportRequest, build
from hipnode.reporting.palette import LIKELY, POSSIBLE, WARNING
from tests import cases, factory, headers
from tests.archive import Orthanc
from tests.browser.viewer import ViewerServer
from tests.factory import as_cr, hip, radiograph, reading

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1600),  # four minutes where idle
    pytest.mark.xdist_group("viewer"),  # one folder of screenshots
]

Seen = dict[str, Any]
SHORT = {Task.HIP_FRACTURE: "fx", Task.FRACTURE_RISK: "risk"}
ON_SCREEN = 40
"""Pixels of one colour that a line or a letter has at the very least."""


def _cr() -> ReportRequest:
    ds = as_cr(radiograph("cr"))
    return cases.request(cases.source("cr", reading([hip(Side.LEFT, 0.3)], "cr"), ds=ds))


STUDIES: dict[str, Callable[[], ReportRequest]] = {
    **{name: (lambda n=name: cases.CASES[n].request(n)) for name in cases.CASES},
    **{f"input-{name.replace(' ', '')}": (lambda n=name: headers.variant(n)) for name in (
        "no type 2", "one-valued orientation", "time zone")},
    "input-cr": _cr,
}  # fmt: skip
MEASURED = [n for n in STUDIES if n not in cases.CASES or cases.CASES[n].measured]
UNMEASURED = [n for n in STUDIES if n not in MEASURED]


def entry(name: str, kind: str) -> str:
    """Return how a study's SR or text ends in the list of series; the outcome stands before it."""
    return f"{kind}{' v2' if name == 'second-version' else ''} - {DISCLAIMER}"


def picture(name: str) -> str:
    """Return the same of the capture of a study's first image."""
    return f"{'AI POSITIVE ' if name == 'several-images' else ''}map - {DISCLAIMER}"


def _store(archive: Orthanc, request: ReportRequest) -> None:
    """Put the images and the report of a study into the archive."""
    for source in request.sources:
        header = source.dataset
        changes = {e.keyword: e.value for e in header if e.keyword and e.keyword != "PixelData"}
        whole = radiograph(image=str(header.get("InstanceNumber", 1)), **changes)
        whole.file_meta.MediaStorageSOPInstanceUID = whole.SOPInstanceUID
        buffer = BytesIO()
        whole.save_as(buffer, enforce_file_format=True)
        archive.store(buffer.getvalue())
    for built in build(request):
        archive.store(built.to_bytes())


def _steps(name: str, request: ReportRequest, folder: Path) -> list[Seen]:
    """Return what a person does: look at the list, the SR, the tracking prompt, capture, text."""
    case = cases.CASES.get(name)
    listed = [entry(name, "text"), *([entry(name, "SR")] if name in MEASURED else [])]
    steps: list[Seen] = [{"expect": [*listed, "W:"], "shot": str(folder / f"{name}-1-list.png")}]
    if name in MEASURED:
        labels = [
            f"{h.roi.side.word} {SHORT[first.task]} AI: {100 * first.p_positive:.2f} %"
            for h in request.sources[0].hips
            for first in h.findings[:1]
        ]
        steps.append(
            {"open": entry(name, "SR"), "expect": labels, "shot": str(folder / f"{name}-2-sr.png")}
        )
        if name == "positive-left":
            steps.append({"click": "Yes", "expect": labels, "wait_ms": 4000,
                          "shot": str(folder / f"{name}-3-tracked.png")})  # fmt: skip
    if any(s.pixels is not None for s in request.sources):
        steps.append({"open": picture(name), "expect": [picture(name)], "wait_ms": 2500,
                      "shot": str(folder / f"{name}-4-capture.png")})  # fmt: skip
    says = list(case.says) if case else ["FRACTURE LIKELY" if "cr" not in name else "POSSIBLE"]
    steps.append({"open": entry(name, "text"), "expect": ["Diagnostic imaging report", *says],
                  "shot": str(folder / f"{name}-5-report.png")})  # fmt: skip
    return steps


@pytest.fixture(scope="module")
def seen(
    viewer: tuple[Orthanc, ViewerServer],
    look: Callable[[list[Seen]], dict[str, Seen]],
    artefacts: Path,
) -> dict[str, Seen]:
    """What the page showed of each study: its steps by name."""
    archive, server = viewer
    jobs = []
    for name, make in STUDIES.items():
        request = make()
        _store(archive, request)
        study = request.sources[0].dataset.StudyInstanceUID
        url = f"{server.url}/viewer?StudyInstanceUIDs={study}"
        jobs.append({"name": name, "url": url, "steps": _steps(name, request, artefacts)})
    found = look(jobs)
    for job in jobs:
        shown = found[job["name"]]["steps"]
        found[job["name"]]["by"] = {
            step.get("open") or step.get("click") or "list": result
            for step, result in zip(job["steps"], shown, strict=False)
        }
    return found


def shot(folder: Path, name: str, step: str) -> np.ndarray:
    """Return a screenshot's viewport: (rows, columns, 3), without the panels beside it."""
    image = np.asarray(Image.open(folder / f"{name}-{step}.png").convert("RGB")).astype(int)
    return image[50:895, 290:1360]


def pixels_like(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Return how many pixels are (nearly) of this colour."""
    return int((np.abs(image - colour).max(axis=2) < 40).sum())


@pytest.mark.parametrize("name", STUDIES)
def test_the_page_says_all_that_it_should(name: str, seen: dict[str, Seen]) -> None:
    """Pitfalls 1, 2 and 7: every study opens, the side is read, the text is whole."""
    steps = seen[name]["steps"]
    assert not [step["missing"] for step in steps if step["missing"]], seen[name]["console"]
    assert not [line for line in seen[name]["console"] if line.startswith("pageerror")]


@pytest.mark.parametrize("name", STUDIES)
def test_the_disclaimer_is_in_the_series_list_and_the_text(
    name: str, seen: dict[str, Seen]
) -> None:
    """Pitfall 5."""
    kinds = [entry(name, "text"), *([entry(name, "SR")] if name in MEASURED else [])]
    for kind in kinds:
        assert kind in seen[name]["by"]["list"]["text"]
    assert (
        f"Not reviewed by a physician. {DISCLAIMER}."
        in seen[name]["by"][entry(name, "text")]["text"]
    )


@pytest.mark.parametrize("name", MEASURED)
def test_boxes_are_drawn_where_the_reading_puts_them(name: str, seen: dict[str, Seen]) -> None:
    """Pitfall 6, in the viewer: outlines and labels agree with the reading's boxes."""
    request = STUDIES[name]()
    drawn = {
        re.split(r" \w+ AI:", b["label"])[0]: b["points"]
        for b in seen[name]["by"][entry(name, "SR")]["boxes"]
    }
    hips = [h for h in request.sources[0].hips if h.findings]
    assert {h.roi.side.word for h in hips} == set(drawn)
    scales, origins = [], []
    for h in hips:
        xs, ys = drawn[h.roi.side.word][::2], drawn[h.roi.side.word][1::2]
        assert len(xs) == 5
        box = h.roi.box
        scales += [(max(xs) - min(xs)) / box.width_px, (max(ys) - min(ys)) / box.height_px]
        origins.append((min(xs) - box.x0 * scales[-1], min(ys) - box.y0 * scales[-1]))
    assert np.ptp(scales) < 0.01 * scales[0]
    assert np.ptp(np.array(origins), axis=0).max() < 1.5


@pytest.mark.parametrize(
    ("name", "hips"),
    [("positive-right", 2), ("positive-left", 2), ("negative", 2), ("flipped", 2), ("dxa", 1)],
)
def test_no_probability_is_cut_off_at_the_edge(name: str, hips: int, seen: dict[str, Seen]) -> None:
    """Pitfall 2, on both hips, a flipped image and a scan: "97 %" must not read "9"."""
    boxes = seen[name]["by"][entry(name, "SR")]["boxes"]
    assert len(boxes) == hips
    assert min(b["room"] for b in boxes) > 0


def test_the_label_stands_after_the_tracking_prompt(seen: dict[str, Seen]) -> None:
    """Pitfall 4: "Yes" does not replace the AI's words by area and mean."""
    before, after = (
        seen["positive-left"]["by"][step] for step in (entry("positive-left", "SR"), "Yes")
    )
    assert "Do you want to continue tracking measurements for this study?" in before["text"]
    assert "Do you want to continue tracking" not in after["text"]
    assert [b["label"] for b in after["boxes"]] == [b["label"] for b in before["boxes"]]


@pytest.mark.parametrize("name", [n for n in STUDIES if n != "failed"])
def test_the_capture_is_seen_with_its_disclaimer(
    name: str, seen: dict[str, Seen], artefacts: Path
) -> None:
    """Pitfall 5: the words are in the pixels; and the boxes of what was found are there."""
    assert picture(name) in seen[name]["by"]
    image = shot(artefacts, name, "4-capture")
    assert pixels_like(image, WARNING) > ON_SCREEN
    decisions = {f.decision for h in STUDIES[name]().sources[0].hips for f in h.findings}
    for meant, colour in (({"present"}, LIKELY), ({"doubtful", "equivocal"}, POSSIBLE)):
        drawn = pixels_like(image[130:700, 160:890], colour)  # without strips and OHIF's frame
        assert (drawn > 4 * ON_SCREEN) == bool(meant & decisions), (meant, drawn)


@pytest.mark.parametrize("name", UNMEASURED)
def test_what_was_not_read_has_a_text_and_no_measurements(name: str, seen: dict[str, Seen]) -> None:
    """Pitfall 1: nothing stops the viewer, and nothing is silent."""
    listed = seen[name]["by"]["list"]["text"]
    assert entry(name, "SR") not in listed
    assert entry(name, "text") in listed
    assert "not assessed" in seen[name]["by"][entry(name, "text")]["text"].lower()


def test_the_older_sop_class_is_shown_alike(
    viewer: tuple[Orthanc, ViewerServer],
    look: Callable[[list[Seen]], dict[str, Seen]],
    artefacts: Path,
) -> None:
    """Pitfall 9: a PACS that refuses the 3D class gets the other, and its viewer shows it."""
    archive, server = viewer
    read = reading([hip(Side.RIGHT, 0.97), hip(Side.LEFT, 0.02)], "older")
    source = cases.source("older", read, ds=factory.header("older"))
    _store(archive, cases.request(source, sr_classes=("comprehensive",)))
    url = f"{server.url}/viewer?StudyInstanceUIDs={factory.uid('older')}"
    step = {"open": entry("", "SR"), "expect": ["RIGHT fx AI: 97.00 %", "LEFT fx AI: 2.00 %"],
            "shot": str(artefacts / "older-2-sr.png")}  # fmt: skip
    shown = look([{"name": "older", "url": url, "steps": [step]}])["older"]["steps"][0]
    assert not shown["missing"]
    assert len(shown["boxes"]) == 2
