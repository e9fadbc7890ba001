"""``hipnode covariates``: what is known about patients and stands in no header, taken in."""

from __future__ import annotations

import getpass
import shlex
from pathlib import Path
from typing import Annotated

import typer

from hipnode.cli.audit import opened
from hipnode.cli.node import ConfigOption
from hipnode.cli.show import plain

app = typer.Typer(no_args_is_help=True, help="What is known about patients beside the image.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV; or FHIR Observations as .json or .ndjson.")],
    config: ConfigOption = None,
) -> None:
    """Take in values for examinations, by accession number and patient ID; say what is refused.

    The columns of the CSV file are accession, patient_id, name, value, unit and date.
    """
    from hipnode import settings
    from hipnode.domain import CovariateSource
    from hipnode.services.covariates import fhir, table
    from hipnode.services.covariates.take import Whence, checked, take_file

    who = getpass.getuser()
    with opened(config) as store:
        if file.suffix.lower() in {".json", ".ndjson"}:
            orders = fhir.orders(_text(file), settings.load(config).covariates.codes)
            found = checked(store, orders, Whence(CovariateSource.FHIR, file.name, who))
            taken = take_file(store, found)
            lines = [f"{each.told.accession_number} {each.told.name}" for each in taken.refused]
        else:
            rows = list(table.rows(file, who, store.now()))
            found = [value for _, value in rows]
            taken = take_file(store, found)
            lines = [f"line {rows[each.at][0]}" for each in taken.refused]
    for where, each in zip(lines, taken.refused, strict=True):
        typer.echo(plain(f"{where}: {each.reason}"))
    typer.echo(f"{len(found) - len(taken.refused)} of {len(found)} taken in")
    for late in taken.late:
        again = f"hipnode reread --accession {shlex.quote(plain(late))}"
        typer.echo(f"{plain(late)} was read before this was known; to read it again: {again}")
    if not found:
        typer.echo("no row, and no Observation with a code that covariates.codes names")
    if taken.refused or not found:
        raise typer.Exit(1)


def _text(file: Path) -> str:
    from hipnode.errors import InputRefused

    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise InputRefused(f"{file} cannot be read: {why}") from error
