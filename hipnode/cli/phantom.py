"""``hipnode phantom``: simulated radiographs whose truth is known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def phantom(
    out: Annotated[Path | None, typer.Option(help="Where the DICOM files go.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many images.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same pixels.")] = 0,
    kind: Annotated[str, typer.Option(help="pelvis or dxa.")] = "pelvis",
    recipe: Annotated[
        str,
        typer.Option(help="A packaged recipe (training, gross, demo, dxa, ...) or a TOML file."),
    ] = "",
    gallery: Annotated[
        Path | None, typer.Option(help="Also, or only, write a contact sheet (PNG).")
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0: one for each core.")] = 0,
) -> None:
    """Write simulated radiographs (DICOM) and their truth (manifest.csv)."""
    from rich.progress import track

    from hipnode.errors import SettingsInvalid
    from hipnode.phantom import batch, load_recipe, render
    from hipnode.phantom.gallery import contact_sheet
    from hipnode.phantom.manifest import write_manifest

    if kind not in ("pelvis", "dxa"):
        raise SettingsInvalid(f"kind {kind!r} is neither pelvis nor dxa")
    if out is None and gallery is None:
        raise SettingsInvalid("say where to write: --out or --gallery")
    chosen = load_recipe(recipe or ("dxa" if kind == "dxa" else "training"))
    if out is not None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        made = batch.make_all(batch.Order(chosen, seed, out), count, jobs or cores or 1)
        rows = list(track(made, "images", total=count))
        write_manifest(out / "manifest.csv", rows)
        typer.echo(f"{count} images and manifest.csv in {out}")
    if gallery is not None:
        shown = [render(chosen, seed, i) for i in track(range(min(count, 24)), "gallery")]
        contact_sheet(shown, gallery)
        typer.echo(f"contact sheet: {gallery}")
