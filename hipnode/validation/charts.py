"""Charts as inline SVG: no script, no font, nothing to fetch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from hipnode.validation.figures import Calibration, Curves, Row
from hipnode.validation.outcomes import Said

COLOURS: Final = {
    Said.DEFINITE: "#b3540f",
    Said.DOUBTFUL: "#e8a35c",
    Said.ELSEWHERE: "#8d2b52",
    Said.LOOK: "#e6cf4a",
    Said.REFUSED: "#b9bec7",
    Said.NONE_SEEN: "#2f6690",
}
_SIZE: Final = 300
_EDGE: Final = 50
_LINE: Final = ("#1f3f5b", "#b3540f", "#4f7a43")


@dataclass(frozen=True)
class Mark:
    """A point on a chart, with a word beside it."""

    x: float
    y: float
    word: str


@dataclass(frozen=True)
class Line:
    """A curve, with its name; both axes run from 0 to 1."""

    name: str
    points: Sequence[tuple[float, float]]
    marks: Sequence[Mark] = ()


def roc(lines: Sequence[tuple[str, Curves, Sequence[Mark]]]) -> str:
    """Return the ROC curves."""
    drawn = [Line(name, list(zip(c.false, c.true, strict=True)), marks) for name, c, marks in lines]
    return _chart("ROC", "false alarms among the intact", "found among the broken", drawn, 1)


def precision_recall(lines: Sequence[tuple[str, Curves]]) -> str:
    """Return the precision-recall curves."""
    drawn = [Line(name, list(zip(c.recall, c.precision, strict=True))) for name, c in lines]
    return _chart("Precision and recall", "recall", "precision", drawn, 0)


def calibration(found: Calibration) -> str:
    """Return how often what was said to be likely was so, with intervals."""
    bars = [(b.said, b.found.estimate.low, b.found.estimate.high) for b in found.bins]
    line = Line("", [(b.said, b.found.estimate.value) for b in found.bins])
    return _chart("Calibration", "probability that was said", "share that was so", [line], 1, bars)


def _chart(
    title: str,
    x_name: str,
    y_name: str,
    lines: Sequence[Line],
    diagonal: int,
    bars: Sequence[tuple[float, float, float]] = (),
) -> str:
    whole = _SIZE + 2 * _EDGE
    height = whole + 22 * (len(lines) > 1)
    parts = [
        f'<svg class="chart" viewBox="0 0 {whole} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<text class="title" x="{_EDGE}" y="24">{escape(title)}</text>',
        *_axes(x_name, y_name),
    ]
    if diagonal:
        parts.append(f'<path class="faint" d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}"/>')
    for x, low, high in bars:
        parts.append(f'<path class="bar" d="M{_x(x)} {_y(low)}V{_y(high)}"/>')
    for number, line in enumerate(lines):
        parts += _curve(line, _LINE[number % len(_LINE)], dots=bool(bars))
        if len(lines) > 1:
            x, y = _EDGE + number * 110, whole + 8
            parts.append(
                f'<path d="M{x} {y - 4}h18" stroke="{_LINE[number]}" stroke-width="3"/>'
                f'<text x="{x + 24}" y="{y}">{escape(line.name)}</text>'
            )
    return "".join(parts) + "</svg>"


def _curve(line: Line, colour: str, *, dots: bool) -> Iterable[str]:
    d = "L".join(f"{_x(x)} {_y(y)}" for x, y in line.points)
    yield f'<path d="M{d}" fill="none" stroke="{colour}" stroke-width="2"/>'
    if dots:
        for x, y in line.points:
            yield f'<circle cx="{_x(x)}" cy="{_y(y)}" r="3.5" fill="{colour}"/>'
    for mark in line.marks:
        left, below = mark.x > 0.6, 14 if mark.y > 0.1 else -8
        yield f'<circle cx="{_x(mark.x)}" cy="{_y(mark.y)}" r="4.5" fill="{colour}"/>'
        yield (
            f'<text x="{_x(mark.x) + (-9 if left else 9)}" y="{_y(mark.y) + below}" '
            f'text-anchor="{"end" if left else "start"}">{escape(mark.word)}</text>'
        )


def _axes(x_name: str, y_name: str) -> Iterable[str]:
    for tick in (0, 0.25, 0.5, 0.75, 1):
        yield f'<path class="grid" d="M{_x(tick)} {_y(0)}V{_y(1)}M{_x(0)} {_y(tick)}H{_x(1)}"/>'
        yield f'<text text-anchor="middle" x="{_x(tick)}" y="{_y(0) + 16}">{tick:g}</text>'
        yield f'<text text-anchor="end" x="{_x(0) - 6}" y="{_y(tick) + 4}">{tick:g}</text>'
    middle = _EDGE + _SIZE / 2
    yield f'<text text-anchor="middle" x="{middle}" y="{_y(0) + 34}">{escape(x_name)}</text>'
    yield (
        f'<text text-anchor="middle" transform="translate(11 {middle}) rotate(-90)">'
        f"{escape(y_name)}</text>"
    )


def _x(value: float) -> float:
    return round(_EDGE + value * _SIZE, 1)


def _y(value: float) -> float:
    return round(_EDGE + (1 - value) * _SIZE, 1)


def stack(row: Row) -> str:
    """Return a bar that shows what was said of units of one truth."""
    if not row.total:
        return ""
    parts, at = [], 0.0
    for said, count in row.counts.items():
        width = 1000 * count / row.total
        if count:
            parts.append(
                f'<rect x="{at:.1f}" y="0" width="{width:.1f}" height="40" '
                f'fill="{COLOURS[said]}"><title>{escape(said.value)}: {count}</title></rect>'
            )
        at += width
    return (
        '<svg class="stack" viewBox="0 0 1000 40" preserveAspectRatio="none" role="img" '
        f'aria-label="what was said">{"".join(parts)}</svg>'
    )


def whisker(low: float, value: float, high: float) -> str:
    """Return a share with its interval on a scale from 0 to 1."""
    x = [round(4 + 112 * v, 1) for v in (low, value, high)]
    return (
        '<svg class="whisker" viewBox="0 0 120 16" aria-hidden="true"><path class="scale" '
        f'd="M4 8H116"/><path class="bar" d="M{x[0]} 8H{x[2]}"/>'
        f'<circle cx="{x[1]}" cy="8" r="4"/></svg>'
    )
