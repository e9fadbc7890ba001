"""``hipnode read``: radiographs without any PACS."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hipnode import DISCLAIMER
from hipnode.cli.node import ConfigOption
from hipnode.cli.show import cell
from hipnode.domain import Verdict
from hipnode.errors import HipnodeError

if TYPE_CHECKING:
    from hipnode.domain import Reading
    from hipnode.services.worker.reader import ReaderSpec
    from hipnode.settings import Settings


def read(
    files: Annotated[
        list[Path], typer.Argument(help="DICOM, PNG or JPEG files, or folders of them.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document a line per image.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write SR, Secondary Capture, text and heat map here."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Read radiographs: where the hips are, what the models find, and how sure they are."""
    from tempfile import TemporaryDirectory

    from hipnode import settings
    from hipnode.answers.reading import document
    from hipnode.services.modelsets import ModelSets
    from hipnode.services.worker import reader

    effective = settings.load(config)
    base, sets = reader.reader_spec(effective), ModelSets(effective.worker)
    failures = 0
    rows: list[tuple[str, str, str, str]] = []
    names: set[str] = set()
    with nullcontext() if out is None else TemporaryDirectory(prefix="hipnode-") as views:
        if views is not None:
            base = replace(base, views=Path(views))
        for path in _expand(files):
            try:
                spec = replace(base, model_set=sets.references[sets.choose(_facts(path)).reported])
                reading = reader.read_image(spec, path)
            except HipnodeError as error:
                failures += 1
                if as_json:
                    typer.echo(json.dumps({"file": str(path), "error": str(error)}))
                rows.append((path.name, "", "not read", str(error)))
                continue
            if as_json:
                typer.echo(json.dumps(document(path, reading)))
            rows.extend(table_rows(path.name, reading))
            try:
                if out is not None:
                    names.add(name := _name(path, names))
                    _write(effective, spec, path, reading, out / name)
            except HipnodeError as error:
                failures += 1
                typer.echo(f"{path}: no report: {error}", err=True)
    if not as_json:
        print_table(rows)
    if failures:
        raise typer.Exit(1)


def table_rows(name: str, reading: Reading) -> Iterator[tuple[str, str, str, str]]:
    """Yield ``(file, side, finding, how sure)`` for a table that people read."""
    if reading.abstention:
        why = reading.abstention.reason.value.replace("_", " ")
        yield name, "", f"not assessed: {why}", reading.abstention.detail
    if reading.missing:
        yield name, reading.missing.word, "look now: hip not found", ""
    for hip in reading.hips:
        side = hip.roi.side.word
        if hip.abstention:
            why = hip.abstention.reason.value.replace("_", " ")
            what = "look now" if hip.verdict is Verdict.LOOK_NOW else "not assessed"
            yield name, side, f"{what}: {why}", hip.abstention.detail
        for f in hip.findings:
            finding = f"{f.task.value.replace('_', ' ')}: {f.decision.value}"
            if f.decision.value != "absent":
                finding += f" ({f.label.replace('_', ' ')})"
            yield name, side, finding, f"p = {f.p_positive:.3f}"


def print_table(rows: list[tuple[str, str, str, str]]) -> None:
    """Print what was found, and what it must not be used for."""
    from rich.console import Console
    from rich.table import Table

    table = Table("image", "side", "finding", "how sure", caption=DISCLAIMER)
    for row in rows:
        table.add_row(*map(cell, row))
    Console().print(table)


def _expand(files: list[Path]) -> Iterator[Path]:
    for path in files:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file())
            beside = _beside_images(found)
            yield from (p for p in found if p not in beside)
        else:
            yield path


def _beside_images(files: list[Path]) -> set[Path]:
    """Return which are no radiographs: manifests of phantoms, and the masks that they name."""
    from hipnode.phantom import read_manifest

    found = {path for path in files if path.name == "manifest.csv"}
    for manifest in tuple(found):
        with suppress(OSError, ValueError, csv.Error):
            rows = read_manifest(manifest)  # a row that is cut short has None in it
            found |= {manifest.parent / (row.get("implant_mask") or "") for row in rows}
    return found


def _facts(path: Path) -> dict[str, str]:
    """Return what the rules for model sets can match on; a picture has none of it."""
    from hipnode import imaging

    if path.suffix.lower() in imaging.PICTURE_SUFFIXES:
        return {}
    from hipnode import dicom

    return dicom.read_header(path).facts(calling_ae="")


def _name(path: Path, taken: set[str]) -> str:
    """Return what a file's results are called, and say so where another file has its name.

    A name without a suffix is whole: a UID's last part is none.
    """
    from hipnode import imaging

    known = path.suffix.lower() in {".dcm", *imaging.PICTURE_SUFFIXES}
    own = path.stem if known else path.name
    name = next(n for n in chain((own,), (f"{own}-{i}" for i in count(2))) if n not in taken)
    if name != own:
        typer.echo(f"{path}: its results are called {name}", err=True)
    return name


def _write(settings: Settings, spec: ReaderSpec, path: Path, reading: Reading, out: Path) -> None:
    from blake3 import blake3

    from hipnode import imaging, reporting
    from hipnode.services.worker import reader, reports

    out.parent.mkdir(parents=True, exist_ok=True)
    digest = blake3(path.read_bytes()).hexdigest()
    source = reader.source_image(spec, reader.Source(path, digest, reading))
    request = reporting.ReportRequest((source,), reports.node_identity(settings), datetime.now(UTC))
    if source.pixels is not None:
        Path(f"{out}-heatmap.png").write_bytes(reporting.heatmap_png(source))
    Path(f"{out}-report.txt").write_text(reporting.plain_text(request), encoding="utf-8")
    if path.suffix.lower() in imaging.PICTURE_SUFFIXES:
        return  # a picture has no identity to carry into a DICOM object, and none is invented
    for built in reporting.build(request):
        Path(f"{out}-{built.kind}.dcm").write_bytes(built.to_bytes())
