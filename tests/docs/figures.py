"""What was measured, from the files that measurements write, into the pages that quote it.

``docs/figures`` holds them, the newest of each alone: ``bench-PART.json`` as `make bench` writes it
to ``artefacts/bench``, ``torture-….json`` as `hipnode torture` does, ``left-out-….json`` as
`hipnode train --leave-out` does. The block ``targets`` gathers what the bench aims at.
``python -m tests.docs.figures`` writes them into the pages; a test fails when a page says something
else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.bench.harness import Table, number
from tests.peers import ROOT

FOLDER: Final = ROOT / "docs" / "figures"
TARGETS: Final = "targets"
"""The block that has every target of the bench, and whether it is met."""
_VERDICT = re.compile(r"(.*), target (\S+ \S+) (met|NOT MET)")
_BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> Iterator[Path]:
    """Yield the pages that quote figures."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        if _BLOCK.search(page.read_text(encoding="utf-8")):
            yield page


def names(page: str) -> list[str]:
    """Return the files whose figures a page quotes."""
    return [match[2] for match in _BLOCK.finditer(page)]


def filled(page: str) -> str:
    """Return a page with its figures made anew."""
    return _BLOCK.sub(lambda m: f"{m[1]}\n{_made(m[2])}\n{m[3]}", page)


def _made(name: str) -> str:
    if name == TARGETS:
        return _targets()
    document = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    if "attacks" in document:
        return _attacks(document)
    if "tables" in document:
        return _bench(document)
    return _measured(document)


def _measured(figures: dict[str, list[float | None]]) -> str:
    """Return what was measured of a model: each value, and its interval where it has one."""
    return "\n".join(["| figure | value |", "|---|---|", *map(_row, figures.items())])


def _row(figure: tuple[str, list[float | None]]) -> str:
    name, (value, *interval) = figure
    low_high = [f"{one:.3f}" for one in interval if one is not None]
    return f"| {name} | {value:.3f}" + (f" [{', '.join(low_high)}] |" if low_high else " |")


def _attacks(document: dict[str, Any]) -> str:
    """Return what `hipnode torture` tried, and how it ended."""
    began = document["began_utc"][:16].replace("T", " ")
    head = f"{document['database']}, {began} UTC, {document['took_s'] / 60:.0f} minutes:\n\n"
    return head + "".join(
        f"- {one['attack']}: {one['tried']} tried, {one['held']} held, {one['lost']} lost, "
        f"{one['doubled']} doubled; {one['words']}\n"
        for one in document["attacks"]
    )


def _targets() -> str:
    """Return what the bench aims at, a row each, and whether it is reached."""
    lines = ["| measured | reached | target | |", "|---|---|---|---|"]
    for path in sorted(FOLDER.glob("bench-*.json")):
        for table in json.loads(path.read_text(encoding="utf-8"))["tables"]:
            for verdict in table["verdicts"]:
                if judged := _VERDICT.fullmatch(verdict):
                    reached, bound, met = judged.groups()
                    met = "met" if met == "met" else "**not met**"
                    lines.append(f"| {table['title']} | {reached} | {bound} | {met} |")
    return "\n".join(lines)


def _bench(document: dict[str, Any]) -> str:
    """Return a row for each table of a part of the bench, with when and where it was made."""
    about = document["machine"]
    load = (
        f"{about['cores']} cores of an {about['processor']}, load {about['load_before']:.1f} before"
    )
    lines = [
        f"{about['date_utc'][:16].replace('T', ' ')} UTC, {load}:",
        "",
        "| what | hipnode | others (hipnode / this) | |",
        "|---|---|---|---|",
    ]
    lines += map(_line, document["tables"])
    notes = dict.fromkeys(note for one in document["tables"] for note in one["notes"])
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)])


def _line(one: dict[str, Any]) -> str:
    """Return a measurement as one row: medians, the range of ours, and what was aimed at."""
    ours = one["ours"]
    table = Table(one["title"], one["unit"], ours, values=one["values"])
    values = table.values[ours]
    reached = f"**{number(table.median(ours))}** {table.unit}"
    span = f"({number(min(values))}..{number(max(values))})"
    others = "; ".join(
        f"{name} {number(table.median(name))} ({table.ratio(name):.2f})"
        for name in table.values
        if name != ours
    )
    judged = "; ".join(each.removeprefix(f"{ours} ") for each in one["verdicts"])
    return f"| {table.title.partition(': ')[2]} | {reached} {span} | {others} | {judged} |"


if __name__ == "__main__":
    for each in pages():
        each.write_text(filled(each.read_text(encoding="utf-8")), encoding="utf-8")
