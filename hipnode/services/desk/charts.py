"""Charts as SVG, drawn here: no script, and no number that only a colour tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

_WIDTH: Final = 720
_HEIGHT: Final = 120
_BASE: Final = 100


def bars(items: Sequence[tuple[str, int]], label: str, second: Sequence[int] = ()) -> Markup:
    """Return a chart of bars.

    Parameters
    ----------
    items
        Of each bar what it is called, and its number.
    label
        What the chart shows, for who cannot see it.
    second
        Of each bar the part that is drawn apart at its foot (hatched).
    """
    top = max([number for _, number in items] + [1])
    step = _WIDTH / max(len(items), 1)
    parts = []
    for place, (name, number) in enumerate(items):
        x, height = place * step, 80 * number / top
        parts.append(
            Markup(
                '<g class="bar"><title>{}: {}</title>'
                '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/></g>'
            ).format(name, number, x + 1, _BASE - height, step - 2, height)
        )
        if second and second[place]:
            part = max(2.0, 80 * second[place] / top)
            parts.append(
                Markup(
                    '<rect class="part" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
                ).format(x + 1, _BASE - part, step - 2, part)
            )
    ends = Markup("")
    if items:
        ends = Markup(
            '<text x="0" y="116">{}</text><text x="{}" y="116" text-anchor="end">{}</text>'
            '<text x="0" y="12">{}</text>'
        ).format(items[0][0], _WIDTH, items[-1][0], top)
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}'
        '<line x1="0" y1="{}" x2="{}" y2="{}"/>{}</svg>'
    ).format(_WIDTH, _HEIGHT, label, Markup("").join(parts), _BASE, _WIDTH, _BASE, ends)
