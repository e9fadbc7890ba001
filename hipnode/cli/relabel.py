"""``hipnode relabel``: the labels worth an expert's look, and a manifest with the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def relabel(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or a role of the shipped set.")],
    data: Annotated[Path, typer.Option("--data", help="The manifest (CSV).")],
    out: Annotated[Path, typer.Option("--out", help="The worklist, or the new manifest.")],
    answers: Annotated[
        Path | None, typer.Option(help="The worklist with its answers: write a new manifest.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "all",
    threshold: Annotated[
        float | None, typer.Option(help="On P(fracture); else the bundle's own.")
    ] = None,
) -> None:
    """List false positives, then false negatives, for review; take the answers back."""
    from rich.progress import Progress

    from hipnode.nets.bundle.setfile import bundle_folder
    from hipnode.training.judge.relabel import doubts, take_answers, write_worklist

    if answers:
        changed, confirmed = take_answers(data, answers, out)
        typer.echo(f"{out}: {changed} labels changed, {confirmed} confirmed")
        return
    folder = bundle_folder(bundle)
    with Progress() as progress:
        task = progress.add_task("hips", total=None)
        found = doubts(
            folder,
            data,
            split=split,
            threshold=threshold,
            tell=lambda done, total: progress.update(task, completed=done, total=total),
        )
    write_worklist(out, found)
    alarms = sum(one.kind == "false positive" for one in found)
    typer.echo(f"{out}: {alarms} false positives, then {len(found) - alarms} false negatives")
