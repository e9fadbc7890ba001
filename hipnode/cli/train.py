"""``hipnode train``: a recipe and a manifest in, a bundle out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hipnode.cli.checks import device_of

if TYPE_CHECKING:
    from rich.progress import Progress

    from hipnode.training.recipe.recipe import Pretraining, Recipe
    from hipnode.training.runs.train import Telling


_WITHOUT: Final = {
    "a recipe without labels": ("weights", "folds", "leave_out", "of", "everything", "version"),
    "--leave-out": ("folds", "resume", "everything", "version"),
    "--folds": ("of", "everything", "version"),
    "a run without --leave-out": ("of",),
}
"""By what is run, the options that mean nothing to it."""


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a TOML file.")],
    data: Annotated[
        list[Path], typer.Option("--data", help="The manifest (CSV); several are read as one.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The bundle's folder.")],
    device: Annotated[str, typer.Option(help="cpu or cuda", callback=device_of("cpu"))] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    epochs: Annotated[int, typer.Option(help="Another number than the recipe's.")] = 0,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE instead of the recipe's, e.g. plan.batch=8."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A safetensors file or a bundle to start from.")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="Cross-validate: so many models, one held-out test split."),
    ] = None,
    leave_out: Annotated[
        int | None,
        typer.Option(
            min=1, help="Judge patients of --of by networks that had not seen them: so many."
        ),
    ] = None,
    of: Annotated[str, typer.Option(help="The domain of whom --leave-out is.")] = "real",
    everything: Annotated[
        bool,
        typer.Option("--everything", help="Learn from the test split too, once it is judged."),
    ] = False,
    version: Annotated[str, typer.Option(help="The bundle's version.")] = "0.1.0",
) -> None:
    """Train a network and write its bundle: checkpoints and curves lie in OUT.run."""
    from rich.progress import Progress

    from hipnode.training.recipe.recipe import Pretraining, read_recipe
    from hipnode.training.runs.crossval import cross_validate
    from hipnode.training.runs.leaveout import leave_out as leaving_out
    from hipnode.training.runs.pretrain import pretrain

    changes = [*(change or ()), *([f"plan.epochs={epochs}"] if epochs else [])]
    chosen = read_recipe(recipe, changes)
    _check(context, chosen, data, folds, leave_out)
    with Progress() as progress:
        telling = _telling(progress, chosen.plan.epochs)
        if isinstance(chosen, Pretraining):
            said = str(pretrain(chosen, data, out, device=device, resume=resume, telling=telling))
        else:
            judge = partial(leaving_out, folds=leave_out or 0, domain=of)
            cross = partial(cross_validate, folds=folds or 0, resume=resume)
            make = partial(_bundle, version=version, everything=everything, resume=resume)
            said = (judge if leave_out else cross if folds else make)(
                chosen, data, out, device=device, weights=weights, telling=telling
            )
    typer.echo(said)


def _check(
    context: typer.Context,
    recipe: Recipe | Pretraining,
    data: list[Path],
    folds: int | None,
    leave_out: int | None,
) -> None:
    """Refuse options that would do nothing, and a manifest that would be read twice."""
    from hipnode.training.recipe.recipe import Recipe

    kind = "--leave-out" if leave_out else "--folds" if folds else "a run without --leave-out"
    if not isinstance(recipe, Recipe):
        kind = "a recipe without labels"
    for name in _WITHOUT[kind]:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise typer.BadParameter(f"--{name.replace('_', '-')} means nothing to {kind}")
    if len({path.resolve() for path in data}) < len(data):
        raise typer.BadParameter("--data names a file twice")


def _bundle(
    recipe: Recipe,
    data: list[Path],
    out: Path,
    *,
    version: str,
    everything: bool,
    resume: bool,
    device: str,
    weights: Path | None,
    telling: Telling,
) -> str:
    """Train one network; return where its bundle lies, and its digest."""
    from hipnode.nets.bundle.contents import MANIFEST
    from hipnode.training.runs.leaveout import everything as all_of
    from hipnode.training.runs.train import train as run
    from hipnode.training.samples.manifest import read_manifest

    if (out / MANIFEST).exists():
        typer.echo(f"{out} holds a bundle: the new one will take its place", err=True)
    rows = all_of(read_manifest(data, seed=recipe.plan.seed)) if everything else ()
    model = run(
        recipe, data, out, device=device, resume=resume, weights=weights, version=version,
        telling=telling, rows=rows,
    )  # fmt: skip
    return f"{out}\nsha256 = {model.spec.digest}"


def _telling(progress: Progress, epochs: int) -> Telling:
    """Show what a run says as bars and lines."""
    from hipnode.training.runs.train import Telling

    bars = {name: progress.add_task(f"read {name}", total=None) for name in ("train", "val")}
    learning = progress.add_task("train", total=epochs)

    def decoded(split: str, done: int, total: int) -> None:
        progress.update(bars[split], completed=done, total=total)

    def left_out(split: str, why: dict[str, int]) -> None:
        progress.update(bars[split], completed=1, total=1)
        for reason, count in why.items():
            progress.console.print(f"{split}: left out {count}: {reason}")

    def epoch(row: dict[str, float]) -> None:
        progress.update(learning, completed=int(row["epoch"]) + 1)
        figures = [f"{name} {value:.4f}" for name, value in row.items() if name != "epoch"]
        progress.console.print(f"epoch {int(row['epoch']):3d}  {'  '.join(figures)}")

    return Telling(decoded, left_out, epoch, progress.console.print)
