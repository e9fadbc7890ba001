"""``hipnode evaluate``: a bundle against a manifest, in the papers' tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or a role of the shipped set.")],
    data: Annotated[Path, typer.Option("--data", help="The manifest (CSV).")],
    out: Annotated[Path, typer.Option("--out", help="Where the report goes.")],
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "test",
    external: Annotated[
        Path | None, typer.Option(help="The manifest of another hospital, all of its rows.")
    ] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(help="Of which views hips are judged: frontal (default), one_hip, lateral."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="A column: each of its values is judged by itself; more than once."),
    ] = None,
    maps: Annotated[int, typer.Option(help="So many examples of what the network looked at.")] = 0,
) -> None:
    """Run a bundle over a manifest with the worker's own code, and write tables and plots."""
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from hipnode.nets.bundle.setfile import bundle_folder
    from hipnode.training.judge.evaluate import evaluate as run
    from hipnode.training.recipe.published import PUBLISHED

    folder = bundle_folder(bundle)
    with Progress() as progress:
        task = progress.add_task("images", total=None)
        found = run(
            folder,
            data,
            out,
            split=split,
            external=external,
            views=view or ("frontal",),
            by=by or (),
            maps=maps,
            tell=lambda done, total: progress.update(task, completed=done, total=total),
        )
    printed = PUBLISHED.get(found.model.spec.name, {})
    table = Table("figure", "here", "the paper", box=None)
    for figure in found.figures:
        table.add_row(figure.name, str(figure), printed.get(figure.name, ""))
    Console().print(table)
    typer.echo(f"{found.count} samples of {found.patients} patients; report in {out}")
