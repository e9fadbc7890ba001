"""``hipnode relabel``: the labels worth an expert's look, and a manifest with the answers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hipnode.cli.checks import number

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def relabel(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or a role of the shipped set.")],
    data: Annotated[Path, typer.Option("--data", help="The manifest (CSV).")],
    out: Annotated[Path, typer.Option("--out", help="The worklist, or the new manifest.")],
    answers: Annotated[
        Path | None, typer.Option(help="The worklist with its answers: write a new manifest.")
    ] = None,
    simulate: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=0.5,
            callback=number,
            help="Make this share of labels wrong; write what it mends.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "all",
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, callback=number, help="On P(fracture); else the bundle's own."),
    ] = None,
) -> None:
    """List false positives, then false negatives, for review; take the answers back."""
    from rich.progress import Progress

    from hipnode.nets.bundle.setfile import bundle_folder
    from hipnode.training.judge import relabel as lists
    from hipnode.training.judge.review import write_curve

    if answers and simulate:
        raise typer.BadParameter("--simulate goes without --answers")
    for one in filter(None, (data, answers)):
        if one.exists() and out.exists() and out.samefile(one):
            raise typer.BadParameter(f"--out would overwrite {one}")
    if answers:
        changed, confirmed = lists.take_answers(data, answers, out)
        typer.echo(f"{out}: {changed} labels changed, {confirmed} confirmed")
        return
    lists.refuse_answered(out)
    folder = bundle_folder(bundle)
    with Progress() as progress:
        task = progress.add_task("hips", total=None)
        tell = partial(_show, progress, task)
        if simulate:
            curve = lists.simulated(
                folder, data, simulate, split=split, threshold=threshold, tell=tell
            )
            write_curve(out, curve)
        else:
            found = lists.doubts(folder, data, split=split, threshold=threshold, tell=tell)
    if simulate:
        last = curve[-1]
        typer.echo(
            f"{out}: labels right {curve[0].right:.1%}, then {last.right:.2%} with "
            f"{last.looked_at:.1%} of the hips looked at"
        )
        return
    lists.write_worklist(out, found)
    alarms = sum(one.kind == "false positive" for one in found)
    typer.echo(f"{out}: {alarms} false positives, then {len(found) - alarms} false negatives")


def _show(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)
