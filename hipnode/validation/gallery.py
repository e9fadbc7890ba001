"""Pictures of what went wrong: misses and false alarms, with boxes and with the network's maps."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hipnode.domain import HipReading, Reading, Task, Verdict
from hipnode.errors import HipnodeError
from hipnode.reporting.palette import colour_map
from hipnode.services.worker import reader
from hipnode.validation.cases import Case
from hipnode.validation.charts import COLOURS
from hipnode.validation.outcomes import SUSPECTED, Said, Unit

LONG_SIDE_PX: Final = 460
_OPACITY: Final = 0.55
_JPEG_QUALITY: Final = 82
_BROKEN: Final = (Said.NONE_SEEN, Said.ELSEWHERE, Said.REFUSED)
_INTACT: Final = (Said.DEFINITE, Said.DOUBTFUL)
_COLOURS: Final = {
    Verdict.DEFINITE: COLOURS[Said.DEFINITE],
    Verdict.DOUBTFUL: COLOURS[Said.DOUBTFUL],
    Verdict.LOOK_NOW: COLOURS[Said.LOOK],
    Verdict.EQUIVOCAL: COLOURS[Said.LOOK],
    Verdict.NONE_SEEN: "#ffffff",
}


@dataclass(frozen=True)
class Shown:
    """One image that went wrong: pictures as ``data:`` URLs, none where the file is gone."""

    unit: Unit
    pictures: tuple[str, ...]
    lines: tuple[str, ...]  # what was said of each hip


@dataclass(frozen=True)
class Gallery:
    """What is shown, and how many more went wrong."""

    misses: tuple[Shown, ...]
    alarms: tuple[Shown, ...]
    more_misses: int
    more_alarms: int


Locate = Callable[[Case], Path | None]


def gallery(images: Sequence[Unit], spec: reader.ReaderSpec, locate: Locate, most: int) -> Gallery:
    """Return pictures of images that went wrong, the worst first.

    Parameters
    ----------
    images
        All of them.
    spec
        How pixels are decoded.
    locate
        Where the file of a case is; None where it is gone.
    most
        So many of each kind.
    """
    misses = _chosen(images, _BROKEN, broken=True)
    alarms = _chosen(images, _INTACT, broken=False)
    shown = [tuple(_shown(unit, spec, locate) for unit in some[:most]) for some in (misses, alarms)]
    more = [max(0, len(some) - most) for some in (misses, alarms)]
    return Gallery(shown[0], shown[1], more[0], more[1])


def _chosen(images: Sequence[Unit], order: Sequence[Said], *, broken: bool) -> list[Unit]:
    some = [unit for unit in images if unit.broken is broken and unit.said in order]
    key = {said: place for place, said in enumerate(order)}
    return sorted(some, key=lambda unit: (key[unit.said], -(unit.scores.p or 0), unit.name))


def _shown(unit: Unit, spec: reader.ReaderSpec, locate: Locate) -> Shown:
    case = unit.case
    if case is None or case.reading is None:
        return Shown(unit, (), (unit.why,))
    lines = tuple(_lines(case.reading))
    path = locate(case)
    if path is None:
        return Shown(unit, (), lines)
    try:
        source = reader.source_image(spec, reader.Source(path, "", case.reading))
    except (HipnodeError, OSError):
        return Shown(unit, (), lines)
    if source.pixels is None:
        return Shown(unit, (), lines)
    return Shown(unit, tuple(_pictures(source.pixels, case.reading)), lines)


def _lines(reading: Reading) -> Iterator[str]:
    if reading.abstention is not None:
        yield f"{_plain(reading.abstention.reason)}: {reading.abstention.detail}".rstrip(": ")
    for hip in reading.hips:
        said = f"{hip.roi.side.word}: {_plain(hip.verdict)}"
        if hip.abstention is not None:
            said += f" ({_plain(hip.abstention.reason)}; {hip.abstention.detail})"
        for finding in hip.findings:
            if finding.task is Task.HIP_FRACTURE:
                said += f", p {finding.p_positive:.3f}"
                if finding.p_alone is not None and finding.p_alone != finding.p_positive:
                    said += f" (alone {finding.p_alone:.3f})"
        if hip.caveats:
            said += f"; {', '.join(_plain(caveat) for caveat in hip.caveats)}"
        yield said
    if reading.missing is not None:
        yield f"{reading.missing.word}: hip not found"


def _plain(word: str) -> str:
    return word.replace("_", " ")


def _pictures(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], reading: Reading
) -> Iterator[str]:
    """Yield the radiograph with its boxes, and once more with the maps, where there are any."""
    image = Image.fromarray(pixels)
    shrink = min(1.0, LONG_SIDE_PX / max(image.size))
    size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    small = image.resize(size, Image.Resampling.LANCZOS).convert("RGB")
    scale = (small.width / max(1, reading.columns), small.height / max(1, reading.rows))
    mapped, any_map = small.copy(), False
    for hip in reading.hips:
        any_map |= _lay_map(mapped, hip, scale)
    for picture in (small, mapped) if any_map else (small,):
        for hip in reading.hips:
            _box(picture, hip, scale)
        buffer = BytesIO()
        picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
        yield f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"


def _lay_map(image: Image.Image, hip: HipReading, scale: tuple[float, float]) -> bool:
    found = (f.saliency for f in hip.findings if f.task is Task.HIP_FRACTURE and f.saliency)
    saliency = next(found, None)
    if saliency is None:
        return False
    x0, y0, x1, y1 = _corners(hip, scale)
    if x1 <= x0 or y1 <= y0:
        return False
    values = Image.fromarray(np.asarray(saliency, np.float32))
    resized = values.resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC)
    level = np.clip(np.asarray(resized), 0.0, 1.0)
    opacity = Image.fromarray((255 * _OPACITY * level).astype(np.uint8))
    image.paste(Image.fromarray(colour_map(level)), (x0, y0), opacity)
    return True


def _box(image: Image.Image, hip: HipReading, scale: tuple[float, float]) -> None:
    corners = _corners(hip, scale)
    colour = _COLOURS.get(hip.verdict, COLOURS[Said.REFUSED])
    pen = ImageDraw.Draw(image)
    wide = 3 if hip.verdict in {Verdict.DEFINITE, Verdict.DOUBTFUL} else 2
    pen.rectangle(corners, outline="#000000", width=wide + 2)
    pen.rectangle(corners, outline=colour, width=wide)
    font = ImageFont.load_default(22)
    place = (corners[0] + 6, corners[1] + 4)
    pen.text(place, hip.roi.side.value, font=font, fill=colour, stroke_width=2, stroke_fill="#000")


def _corners(hip: HipReading, scale: tuple[float, float]) -> tuple[int, int, int, int]:
    box = hip.roi.box
    x0, x1 = round(box.x0 * scale[0]), round(box.x1 * scale[0])
    return x0, round(box.y0 * scale[1]), x1, round(box.y1 * scale[1])


def went_wrong(unit: Unit) -> bool:
    """Tell whether an image is one that the gallery is about."""
    return unit.said in _BROKEN if unit.broken else unit.said in SUSPECTED
