"""``hipnode league`` and ``hipnode compare``: systems side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def league(
    out: Annotated[Path, typer.Option("--out", help="The league's folder; gone on with.")],
    profile: Annotated[str, typer.Option(help="smoke, cpu, gpu or paper: how large.")] = "cpu",
    only: Annotated[
        str, typer.Option(help="What to play: rows or tasks, e.g. 'yamamoto2020-*'.")
    ] = "*",
    seeds: Annotated[int, typer.Option(min=1, help="So many networks a row.")] = 3,
    minutes: Annotated[
        float, typer.Option(min=0, help="Begin no cell after so many; 0: go on to the end.")
    ] = 0,
) -> None:
    """Train and judge every system of the papers alike; write league.json and league.md."""
    import time

    from hipnode.errors import HipnodeError, SettingsInvalid
    from hipnode.training.league.cells import cells, known, play, with_played
    from hipnode.training.league.files import alone
    from hipnode.training.league.profiles import PROFILES
    from hipnode.training.league.table import PAGE, gather

    if profile not in PROFILES:
        raise SettingsInvalid(f"profile {profile!r} is none of {', '.join(PROFILES)}")
    since = time.monotonic()
    wanted = {cell.folder for cell in cells(PROFILES[profile], seeds, only)}
    if not wanted:
        raise SettingsInvalid(f"no row or task is {only!r}")
    with alone(out):
        every = with_played(PROFILES[profile], seeds, out)
        found = {cell.folder: known(cell, out, typer.echo) for cell in every}
        failed: list[HipnodeError] = []
        for cell in every:
            late = minutes and time.monotonic() - since > 60 * minutes
            if cell.folder in wanted and found[cell.folder] is None and not late:
                try:
                    found[cell.folder] = play(cell, out, typer.echo)
                except HipnodeError as error:  # another cell's night need not end with this one
                    typer.echo(f"{cell.folder}: left out: {error}")
                    failed.append(error)
                    continue
                gather(every, found, out)
        if not gather(every, found, out):
            raise failed[0] if failed else SettingsInvalid("there was no time for a cell")
    typer.echo(f"{sum(one is not None for one in found.values())} cells; {out / PAGE}")
    if failed:
        raise typer.Exit(1)


def compare(
    one: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    other: Annotated[Path, typer.Argument(help="Another's, of the same classes.")],
    data: Annotated[Path, typer.Option("--data", help="The manifest (CSV).")],
    out: Annotated[Path, typer.Option("--out", help="Where both reports go.")],
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "test",
    view: Annotated[
        list[str] | None, typer.Option(help="Of which views hips are judged (frontal).")
    ] = None,
) -> None:
    """Judge two bundles on the same images, and tell whether they differ."""
    from rich.console import Console
    from rich.table import Table

    from hipnode.training.league.compare import compare as run

    table = Table("figure", "", box=None)
    for figure in run(one, other, data, out, split=split, views=tuple(view or ("frontal",))):
        table.add_row(figure.name, f"{figure}")
    Console().print(table)
