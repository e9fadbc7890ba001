"""``hipnode torture``: attack a node of one's own, and see what holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hipnode.cli.show import plain

if TYPE_CHECKING:
    from hipnode.services.torture.table import Row


def torture(
    minutes: Annotated[float, typer.Option(help="About how long it may take.", min=0.1)] = 20,
    kills: Annotated[int, typer.Option(help="No more kills than this.", min=0)] = 1000,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 1,
    database: Annotated[
        str, typer.Option(help="The URL of an empty PostgreSQL database; else SQLite.")
    ] = "",
    only: Annotated[
        list[str] | None, typer.Option(help="An attack to run, instead of all; as often as needed.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the table is kept.")] = Path("torture-out"),
    sign: Annotated[
        Path | None, typer.Option(help="A private Ed25519 key (PEM): sign the table.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Attack a node in a folder and a database of its own; exit status 1 if anything gives way."""
    from hipnode import log
    from hipnode.services.torture import run, table

    log.configure("error", "console")

    name = datetime.now(UTC).strftime("node-%Y-%m-%dT%H-%M-%SZ")
    wanted = run.Wanted(minutes, kills, seed, database, tuple(only or ()))
    done = run.torture(wanted, out.absolute() / name, lambda line: typer.echo(line, err=True))
    written = table.write(done.content, out, sign)
    if as_json:
        typer.echo(json.dumps(json.loads(done.content)))
    else:
        _print(done.rows)
        typer.echo(f"{written}{', signed' if sign else ', not signed (--sign KEY)'}")
    if done.folder:
        typer.echo(f"what did not hold is left in {done.folder}", err=True)
        raise typer.Exit(1)


def _print(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table("attack", "tried", "held", "lost", "doubled", "named after", "")
    for row in rows:
        named = "" if row.named_s is None else f"{row.named_s:.1f} s"
        numbers = [str(number) for number in (row.tried, row.held, row.lost, row.doubled)]
        if row.not_tried:
            numbers = ["not tried", "", "", ""]
        shown.add_row(row.attack, *numbers, named, plain(row.not_tried or row.words))
    Console().print(shown)
