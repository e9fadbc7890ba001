"""The strips above and below a picture: what is said of each hip, and what the drawing means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from hipnode.domain import Attention, Decision, Finding, HipReading, Side, Task, Verdict
from hipnode.reporting.languages import Phrases
from hipnode.reporting.palette import (
    DIM,
    INK,
    OPACITY,
    PAPER,
    WARNING,
    Colour,
    colour_map,
    fit,
    fitting,
    font,
    line,
    style,
)
from hipnode.reporting.ranking import Flag, attention_of, flag_of, rank_of
from hipnode.reporting.request import SourceImage, findings_of
from hipnode.reporting.terms import leading_class
from hipnode.reporting.words import ascii_text, models_of, reason_words

_KEPT: Final = 32
"""Strips of each kind that are kept: few differ in more than the width, and none names anybody."""
_WHEN_COLOURS: Final = {Attention.NOW: WARNING, Attention.SOON: INK, Attention.ROUTINE: DIM}


class Said(NamedTuple):
    """What is said of a hip in large letters, and below it how sure that is.

    ``as_large``: both in the same size, so that neither is read without the other.
    """

    colour: Colour
    what: str
    sure: str
    as_large: bool = False


def said_of(hip: HipReading, phrases: Phrases) -> list[Said]:
    """Return what is said of a hip, the worst first: its findings, or the abstention."""
    side = f"{phrases.letters[hip.roi.side]}{phrases.colon}"
    if hip.abstention is not None:
        why = reason_words(hip.abstention.reason, phrases)
        if hip.verdict is Verdict.LOOK_NOW:
            return [Said(WARNING, f"{side}{phrases.not_judged}", why)]
        return [Said(DIM, f"{side}{phrases.not_assessed}", why)]
    return [_said(finding, hip, side, phrases) for finding in sorted(findings_of(hip), key=rank_of)]


def _said(finding: Finding, hip: HipReading, side: str, phrases: Phrases) -> Said:
    task, colour = phrases.tasks[finding.task], style(finding.decision)[0]
    what = f"{side}{task.said[finding.decision]}"
    if finding.decision is Decision.ABSENT:
        return Said(colour, what, task.not_excluded, as_large=True)
    if finding.decision is Decision.DOUBTFUL:
        because = hip.caveats if finding.task is Task.HIP_FRACTURE else ()
        why = phrases.caveats[because[0].value] if because else phrases.neither
        return Said(colour, what, why.rstrip("."))
    leading = leading_class(finding) if finding.decision is Decision.PRESENT else None
    kind = phrases.kind.format(phrases.class_words(leading)) if leading else ""
    return Said(colour, what, (kind or task.advice[finding.decision]).rstrip("."))


def _cells(source: SourceImage, phrases: Phrases) -> list[list[Said]]:
    """Return what each cell says, in the order in which the hips lie in the image."""
    if not source.hips:
        reading = source.reading
        reason = reading.abstention.reason if reading and reading.abstention else None
        look = flag_of((source,)) is Flag.LOOK_NOW
        colour, what = (WARNING, phrases.not_judged) if look else (DIM, phrases.not_assessed)
        return [[Said(colour, what, reason_words(reason, phrases))]]
    ordered = sorted(source.hips, key=lambda hip: hip.roi.box.x0 + hip.roi.box.x1)
    cells = [said_of(hip, phrases) for hip in ordered]
    if source.missing is not None:
        what = f"{phrases.letters[source.missing]}{phrases.colon}{phrases.not_judged}"
        cells.append([Said(WARNING, what, phrases.no_hip)])
    return cells


def headline_strip(source: SourceImage, width: int, phrases: Phrases) -> Image.Image:
    """Return the strip above the image: how soon to look, and a cell for each hip.

    Parameters
    ----------
    source
        What was read.
    width
        Of the strip, in px.
    phrases
        The language.
    """
    cells = tuple(map(tuple, _cells(source, phrases)))
    return _headline(cells, attention_of((source,)), width, phrases)


@lru_cache(maxsize=_KEPT)
def _headline(
    cells: tuple[tuple[Said, ...], ...], when: Attention, width: int, phrases: Phrases
) -> Image.Image:
    big = max(30, width // (15 if len(cells) > 1 else 12))
    gap, banner = big // 4, big
    room = width // len(cells)
    inner = room - 2 * gap
    big = min(fitting(said.what, big, inner, bold=True) for cell in cells for said in cell)
    small = max(9, big * 3 // 4)
    entry = 2 * big + 2 * gap
    height = banner + 2 * gap + max(len(cell) for cell in cells) * entry
    strip = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(strip)
    colour = _WHEN_COLOURS[when]
    fit(pen, (gap, gap), phrases.when[when], banner, width - 2 * gap, colour, bold=True)
    for index, cell in enumerate(cells):
        x = index * room
        for n, said in enumerate(cell):
            y = banner + 2 * gap + n * entry
            pen.rectangle((x, y, x + gap * 2 // 3, y + entry - gap), fill=said.colour)
            place = (x + gap * 3 // 2, y)
            fit(pen, place, said.what, big, inner, said.colour, bold=True)
            size, ink = (big, said.colour) if said.as_large else (small, INK)
            below = (place[0], y + big + gap // 2)
            fit(pen, below, said.sure, size, inner, ink, bold=said.as_large)
    return strip


def legend_strip(
    source: SourceImage,
    width: int,
    maker: str,
    maps: Mapping[Task, Sequence[Side]],
    phrases: Phrases,
) -> Image.Image:
    """Return the strip below the image: the disclaimer, what lines and maps mean, and who made it.

    Parameters
    ----------
    source
        What was read.
    width
        Of the strip, in px.
    maker
        Who made it.
    maps
        Whose maps are drawn, over which hips; each is named beside its scale.
    phrases
        The language.
    """
    models = [f"{ascii_text(m.name)} {m.version} ({m.digest[:8]})" for m in models_of([source])]
    last = phrases.drawn_by[bool(maps)].format(maker, ", ".join(models) or phrases.no_model)
    last = f"{phrases.scope_short} {last}" if models else last
    return _legend(width, tuple((t, tuple(sides)) for t, sides in maps.items()), last, phrases)


@lru_cache(maxsize=_KEPT)
def _legend(
    width: int, maps: tuple[tuple[Task, tuple[Side, ...]], ...], last: str, phrases: Phrases
) -> Image.Image:
    warn, text = max(26, width // 24), max(15, width // 60)
    tiny = max(12, width // 85)
    rows = [(warn * 3) // 2, *[text * 2] * (1 + len(maps)), tiny * 2]
    strip = Image.new("RGB", (width, sum(rows)), PAPER)
    pen = ImageDraw.Draw(strip)
    fit(pen, (width // 2, rows[0] // 2), phrases.disclaimer, warn, width - 20, WARNING, "mm")
    _lines(pen, (text, rows[0] + text), text, width, phrases)
    for n, (task, sides) in enumerate(maps, start=2):
        name = phrases.maps.format(phrases.tasks[task].noun, phrases.hip(*sides))
        _scale(strip, (text, sum(rows[:n]) + text), text, width, name, task)
    fit(pen, (text, sum(rows[:-1]) + tiny // 2), last, tiny, width - 2 * text, DIM)
    return strip


def _lines(
    pen: ImageDraw.ImageDraw, place: tuple[int, int], size: int, width: int, phrases: Phrases
) -> None:
    """Draw what each kind of line means, in one row."""
    labels = phrases.legend
    bars = len(labels) * size * 11 // 2
    while size > 9 and bars + sum(pen.textlength(t, font(size)) for t in labels.values()) > width:
        size -= 1
        bars = len(labels) * size * 11 // 2
    x, middle = place
    for decision, label in labels.items():
        colour, thick, dashes = style(decision)
        end = (x + size * 4, middle)
        halved = (max(3, dashes[0] // 2), max(3, dashes[1] // 2)) if dashes else None
        line(pen, (x, middle), end, colour, max(2, thick * 2 // 3), halved)
        x = _label(pen, (int(end[0]) + size // 2, middle), label, size) + size


def _label(pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int) -> int:
    pen.text(place, text, font=font(size), fill=INK, anchor="lm")
    return place[0] + int(pen.textlength(text, font(size)))


def _scale(
    strip: Image.Image, place: tuple[int, int], size: int, width: int, name: str, task: Task
) -> None:
    """Draw whose map it is, and its scale as it looks over mid grey: 0, the bar, 1."""
    pen = ImageDraw.Draw(strip)
    size = fitting(f"{name}  0  1", size, width * 2 // 3)
    x = _label(pen, place, f"{name}  0 ", size)
    bar = min(width // 4, width - x - 3 * size)
    level = np.tile(np.linspace(0.0, 1.0, max(1, bar)), (size, 1))
    alpha = (OPACITY * level)[..., None]
    rgb = (alpha * colour_map(level, task) + (1 - alpha) * 110.0).round().astype(np.uint8)
    strip.paste(Image.fromarray(rgb), (x, place[1] - size // 2))
    _label(pen, (x + bar + size // 3, place[1]), "1", size)
