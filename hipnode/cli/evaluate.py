"""``hipnode evaluate``: a bundle, or a whole chain, against a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hipnode.cli.show import plain
from hipnode.cli.validate import validate


def evaluate(
    data: Annotated[Path, typer.Option("--data", help="The manifest (CSV).")],
    out: Annotated[Path, typer.Option("--out", help="Where the report goes.")],
    bundle: Annotated[
        str | None, typer.Argument(help="A bundle's folder, or a role of the shipped set.")
    ] = None,
    model_set: Annotated[
        str | None,
        typer.Option(
            help="Instead: the whole chain of this set, refusals included, for fractures."
        ),
    ] = None,
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
    maps: Annotated[
        int, typer.Option(min=0, help="So many examples of what the network looked at.")
    ] = 0,
) -> None:
    """Run a bundle over a manifest with the worker's own code, and write tables and plots."""
    if (bundle is None) == (model_set is None):
        raise typer.BadParameter("give a bundle, or --model-set")
    if model_set is not None:
        if external or view or by or maps:
            raise typer.BadParameter("--model-set goes with --data, --out and --split alone")
        validate(
            data.parent, data, out, model_set=model_set, split=None if split == "all" else split
        )
    elif bundle is not None:
        _judge(bundle, data, out, split, external, view or ("frontal",), by or (), maps)


def _judge(
    bundle: str,
    data: Path,
    out: Path,
    split: str,
    external: Path | None,
    views: Sequence[str],
    by: Sequence[str],
    maps: int,
) -> None:
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
            views=views,
            by=by,
            maps=maps,
            tell=lambda done, total: progress.update(task, completed=done, total=total),
        )
    printed = PUBLISHED.get(found.model.spec.name, {})
    table = Table("figure", "here", "the paper", box=None)
    for figure in found.figures:
        table.add_row(figure.name, str(figure), printed.get(figure.name, ""))
    Console().print(table)
    for line in found.notes:
        typer.echo(plain(line))
    typer.echo(f"{found.count} samples of {found.patients} patients; report in {out}")
