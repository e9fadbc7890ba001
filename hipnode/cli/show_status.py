"""The node's state for a person: readable at 80 columns, and in a pipe."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import typer

from hipnode.answers.shown import plain

_WIDTH: Final = 80
_STATES: Final = ("queued", "claimed", "done", "quarantined", "superseded")


def print_status(document: dict[str, Any]) -> None:
    """Print the state of the node, what is wrong first."""
    faults = document["faults"]
    many = f"{len(faults)} things are wrong" if len(faults) > 1 else "1 thing is wrong"
    typer.echo(f"{document['ae_title']}, hipnode {document['version']}: ", nl=False)
    typer.echo(f"{many}:" if faults else "all is well.")
    for fault in faults:
        _wrapped(f"! {fault['what']}", indent=2)
    typer.echo()
    _services(document["services"])
    _jobs(document)
    _destinations(document["destinations"])
    _rest(document)


def _services(services: list[dict[str, Any]]) -> None:
    rows = [
        (
            one["name"],
            one["state"],
            one["host"],
            str(one["pid"]),
            one["version"],
            _second(one["beat_utc"]),
            one["doing"],
        )
        for one in services
    ]
    _table(("service", "state", "host", "pid", "version", "last beat (UTC)", "at"), rows)
    for one in services:
        for loaded in one["models"]:
            versions = ", ".join(sorted(set(loaded.get("models", {}).values())))
            text = loaded.get("error") or f"{loaded['digest'][:12]}, {versions}"
            _wrapped(f"model set {loaded['set']}: {text}", indent=2)
    typer.echo()


def _jobs(document: dict[str, Any]) -> None:
    rows = []
    for kind in ("read", "report", "deliver"):
        counts = document["jobs"].get(kind, {})
        oldest = document["oldest_queued_s"].get(kind)
        waits = f"{oldest:.0f} s" if oldest is not None else "-"
        rows.append((kind, *(str(counts.get(state, 0)) for state in _STATES), waits))
    _table(("job", *_STATES, "oldest waits"), rows)
    typer.echo()


def _destinations(places: list[dict[str, Any]]) -> None:
    if not places:
        typer.echo("no destination: nothing is sent")
    rows = [
        (
            place["name"],
            *(str(place[name]) for name in ("waiting", "uncommitted", "committed")),
            _second(place["last_delivery_utc"]) if place["last_delivery_utc"] else "never",
            _standing(place),
        )
        for place in places
    ]
    if rows:
        headings = ("destination", "waiting", "uncommitted", "committed", "last delivery (UTC)")
        _table((*headings, "state"), rows)
    for place in places:
        if place["error"]:
            since = _second(place["away_since_utc"])
            _wrapped(f"{place['name']}, since {since} UTC: {place['error']}", indent=2)
    typer.echo()


def _standing(place: dict[str, Any]) -> str:
    if not place["configured"]:
        return "not in the settings"
    if place["rejects"]:
        return "rejects us"
    if place["away_since_utc"]:
        return "away"
    return "there" if place["last_delivery_utc"] else "not tried"


def _rest(document: dict[str, Any]) -> None:
    last = document["last_image_utc"]
    typer.echo(
        f"images received: {document['instances']}" + (f", last {_second(last)}" * bool(last))
    )
    reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(document["not_assessed"].items()))
    _wrapped(f"images not assessed in the last 7 days: {reasons or 'none'}", indent=2)
    values = document["covariates"]
    if any(values.values()):
        typer.echo(
            f"covariates from outside in the last 7 days: {values['told']} taken, "
            f"{values['refused']} refused, {values['late']} after the images were read"
        )
    free, mark = (document[f"disk_{name}_bytes"] / 1024**3 for name in ("free", "low"))
    refused = "IMAGES ARE REFUSED" if document["images_refused"] else "images are taken"
    typer.echo(f"disk free: {free:.1f} GiB, mark {mark:.1f} GiB: {refused}")
    audit = document["audit"]
    verified = audit["verified_utc"]
    came_of = f"{'whole' if audit['verified'] else 'NOT WHOLE'} at {_second(verified)}"
    typer.echo(
        f"audit log: {audit['unsealed']} records not sealed; verified: "
        + (came_of if verified else "never")
    )
    for name, count in document.get("account", {}).items():
        typer.echo(f"{name}: {count}")


def _second(moment: str | None) -> str:
    return f"{datetime.fromisoformat(moment):%m-%d %H:%M:%S}" if moment else "-"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as what is in them; nothing is cut.

    On a terminal that is too narrow, the last column has a line of its own.
    """
    shown = [tuple(map(plain, row)) for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    is_narrow = sys.stdout.isatty() and sum(widths) + 2 * (len(widths) - 1) > _WIDTH
    for row in shown:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        typer.echo("  ".join(cells[:-1] if is_narrow else cells).rstrip())
        if is_narrow and row is not shown[0] and row[-1]:
            _wrapped(f"    {row[-1]}", indent=4)


def _wrapped(text: str, indent: int) -> None:
    """Print a text that may be longer than a line: whole in a pipe, wrapped on a terminal."""
    text = plain(text)
    if not sys.stdout.isatty():
        typer.echo(text)
        return
    typer.echo(textwrap.fill(text, _WIDTH, subsequent_indent=" " * indent))
