"""``hipnode demo``: a radiograph goes in, a report comes out."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hipnode import DISCLAIMER

if TYPE_CHECKING:
    from hipnode.services.demo.demo import Shown

SAMPLES = Path(__file__).resolve().parent.parent / "phantom" / "samples"


def demo(
    folder: Annotated[
        Path | None, typer.Option("--input", help="A folder of DICOM files instead of phantoms.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the results are kept.")] = Path(
        "demo-out"
    ),
) -> None:
    """Start a node and an archive, send a study, show what came back. Leaves nothing running."""
    from rich.console import Console

    from hipnode.dicom import is_dicom
    from hipnode.services.demo import demo as service

    console = Console()
    inputs = [p for p in sorted((folder or SAMPLES).rglob("*")) if p.is_file() and is_dicom(p)]
    console.print(f"[bold]hipnode demo[/bold] - {DISCLAIMER}")
    if folder is None:
        console.print("sending simulated pelves: one with a fracture, one without, one implant")
    with tempfile.TemporaryDirectory(prefix="hipnode-demo-") as work, console.status("starting"):
        shown = service.run(inputs, Path(work), lambda line: console.print(f"  {line}"))
        kept = _keep(shown, out)
    _print(shown, kept, out)


def _keep(shown: Shown, out: Path) -> list[Path]:
    """Copy what the archive received, and make pictures and text of it."""
    from hipnode import reporting

    out.mkdir(parents=True, exist_ok=True)
    kept = []
    for number, path in enumerate(shown.archived, start=1):
        kind, rendered, suffix = reporting.render(path)
        name = f"{number:02d}-{kind}"
        shutil.copyfile(path, out / f"{name}.dcm")
        (out / f"{name}{suffix}").write_bytes(rendered)
        kept += [out / f"{name}.dcm", out / f"{name}{suffix}"]
    with (out / "audit.txt").open("w", encoding="utf-8") as file:
        for entry in shown.audit:
            file.write(f"{entry.at_utc.isoformat()} {entry.record.event} {entry.record.detail}\n")
    return kept


def _print(shown: Shown, kept: list[Path], out: Path) -> None:
    from collections import Counter

    from hipnode.cli.read import print_table, table_rows
    from hipnode.domain import Reading

    rows: list[tuple[str, str, str, str]] = []
    for number, (instance, found) in enumerate(shown.images, start=1):
        name = f"{number}. {instance.header.study_description or instance.header.modality}"
        if isinstance(found, Reading):
            rows += table_rows(name, found)
        else:
            rows.append((name, "", "not read", found))
    print_table(rows)
    typer.echo("what the archive received, as DICOM and to look at:")
    for path in kept:
        typer.echo(f"  {path}")
    counts = Counter(entry.record.event.value for entry in shown.audit)
    typer.echo(f"the audit trail, {len(shown.audit)} records ({out / 'audit.txt'}):")
    typer.echo("  " + ", ".join(f"{count} {event}" for event, count in counts.items()))
    typer.echo(f"  audit log verified: {shown.fault or 'unbroken'}")
