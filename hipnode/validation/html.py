"""A page that needs nothing but itself: a few tags, one style sheet, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final


class Raw(str):
    """Text that is HTML already; any other is escaped."""

    __slots__ = ()


Content = str | Raw


def text(content: Content) -> str:
    """Return content as HTML."""
    return content if isinstance(content, Raw) else escape(content)


def tag(name: str, *content: Content, **attributes: str) -> Raw:
    """Return an element; ``class_`` stands for ``class``."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    return Raw(f"<{name}{given}>{''.join(text(one) for one in content)}</{name}>")


def joined(parts: Iterable[Content]) -> Raw:
    """Return content one after the other."""
    return Raw("\n".join(text(part) for part in parts))


def table(head: Sequence[Content], rows: Iterable[Sequence[Content]], class_: str = "") -> Raw:
    """Return a table; the first cell of a row is its heading."""
    top = tag("tr", *(tag("th", cell, scope="col") for cell in head))
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:]))
        for row in rows
    ]
    made = tag("table", tag("thead", top), tag("tbody", *body), class_=class_)
    return tag("div", made, class_="wide")


def page(title: str, body: Raw) -> str:
    """Return a whole page that may load nothing and run nothing."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>{body}</body></html>\n"
    )


_STYLE: Final = """
:root { --ink: #1b2530; --dim: #5b6672; --rule: #d8dde3; --paper: #fff; --shade: #f4f6f8; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1092px; padding: 24px 28px 60px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 27px; line-height: 1.2; margin: 18px 0 4px; }
h2 { font-size: 19px; margin: 40px 0 8px; padding-top: 10px; border-top: 2px solid var(--ink); }
h3 { font-size: 15px; margin: 24px 0 6px; }
p, ul { margin: 6px 0 10px; max-width: 78ch; }
.disclaimer { background: #ffe27a; color: #1b2530; padding: 10px 14px; font-weight: 650; }
.private, .warn { background: var(--shade); border-left: 4px solid #b3540f; padding: 8px 12px; }
.lead { font-size: 17px; max-width: 78ch; }
.dim, figcaption, .note { color: var(--dim); font-size: 13px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 12px 0; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 8px 0 12px; font-size: 14px;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 5px 10px 5px 0; border-bottom: 1px solid var(--rule);
  vertical-align: middle; }
thead th { color: var(--dim); font-weight: 600; font-size: 12.5px; vertical-align: bottom; }
tbody th { font-weight: 500; }
.counts td, .counts thead th:not(:first-child) { text-align: right; }
.key { display: inline-block; width: 12px; height: 12px; margin-right: 6px;
  vertical-align: -1px; border: 1px solid rgba(0, 0, 0, .25); }
svg.stack { width: 100%; height: 18px; display: block; margin: 2px 0 8px; }
svg.whisker { width: 120px; height: 16px; display: block; }
svg.whisker .scale, svg.chart .grid { stroke: var(--rule); fill: none; }
svg.whisker .bar, svg.chart .bar { stroke: #7c8793; stroke-width: 2; }
svg.whisker circle { fill: #1f3f5b; }
.charts { display: flex; flex-wrap: wrap; gap: 8px; }
.legend span { white-space: nowrap; }
table.groups { table-layout: fixed; } table.groups th:first-child { width: 19%; }
svg.chart { width: 336px; max-width: 100%; height: auto; }
svg.chart text { font-size: 12px; fill: var(--ink); }
svg.chart .title { font-size: 15px; font-weight: 650; }
svg.chart .faint { stroke: #9aa4ae; stroke-dasharray: 3 4; fill: none; }
.gallery { display: grid; gap: 22px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); }
figure { margin: 0; break-inside: avoid; }
figure img { max-width: calc(50% - 4px); max-height: 420px; vertical-align: top;
  margin-right: 4px; }
figcaption b { color: var(--ink); } figcaption { margin-top: 4px; overflow-wrap: anywhere; }
@media (max-width: 560px) { body { padding: 12px; } .gallery { grid-template-columns: 1fr; } }
@media print {
  @page { margin: 14mm; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  h2, h3 { break-after: avoid; } table, .charts, .disclaimer { break-inside: avoid; }
  .gallery { grid-template-columns: 1fr 1fr; } figure img { max-height: 220px; }
  .disclaimer, .key, svg rect { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
