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
    from hipnode.services.covariates.take import Whence, take
    from hipnode.services.covariates.values import consistent

    who = getpass.getuser()
    with opened(config) as store:
        if file.suffix.lower() in {".json", ".ndjson"}:
            orders = list(fhir.orders(_text(file), settings.load(config).covariates.codes))
            count = sum(len(order.said) for order in orders)
            taken = take(store, orders, Whence(CovariateSource.FHIR, file.name, who))
            lines = [f"{each.told.accession_number} {each.told.name}" for each in taken.refused]
        else:
            numbers, values = [], []
            for number, value in table.rows(file, who, store.now()):
                numbers.append(number)
                values.append(value)
            checked = consistent(values)
            count, taken = len(checked), store.desk.covariates.add(checked, store.now())
            lines = [f"line {numbers[each.at]}" for each in taken.refused]
    for where, each in zip(lines, taken.refused, strict=True):
        typer.echo(plain(f"{where}: {each.reason}"))
    typer.echo(f"{count - len(taken.refused)} of {count} taken in")
    for late in taken.late:
        again = f"hipnode reread --accession {shlex.quote(plain(late))}"
        typer.echo(f"{plain(late)} was read before this was known; to read it again: {again}")
    if taken.refused:
        raise typer.Exit(1)


def _text(file: Path) -> str:
    from hipnode.errors import InputRefused

    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise InputRefused(f"{file} cannot be read: {why}") from error
