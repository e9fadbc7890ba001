"""``hipnode hold``: what must be kept, whatever its age."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from hipnode.cli.audit import opened
from hipnode.cli.node import ConfigOption
from hipnode.cli.show import plain

app = typer.Typer(
    no_args_is_help=True,
    help="What must be kept, whatever its age: neither deleted by retention nor archived.",
)

Reason = Annotated[str, typer.Option(help="Why, in your words. It goes on the audit log.")]


@app.command("set")
def set_(
    reason: Reason,
    config: ConfigOption = None,
    accession: Annotated[str | None, typer.Option(help="Accession Number.")] = None,
    patient: Annotated[str | None, typer.Option(help="Patient ID: all of the studies.")] = None,
    study: Annotated[str | None, typer.Option(help="Study Instance UID.")] = None,
) -> None:
    """Hold one study, accession or patient."""
    from hipnode.storage import HoldKind

    named = {HoldKind.STUDY: study, HoldKind.PATIENT: patient, HoldKind.ACCESSION: accession}
    given = [(kind, value) for kind, value in named.items() if value]
    if len(given) != 1:
        raise typer.BadParameter("name one of --study, --patient, --accession")
    ((kind, value),) = given
    with opened(config) as store:
        number = store.holds.set(kind, value, actor=getpass.getuser(), reason=reason)
    typer.echo(f"hold {number} is set")


@app.command("lift")
def lift(
    number: Annotated[int, typer.Argument(help="The hold's number.")],
    reason: Reason,
    config: ConfigOption = None,
) -> None:
    """Lift a hold: from then on age counts again."""
    with opened(config) as store:
        store.holds.lift(number, actor=getpass.getuser(), reason=reason)
    typer.echo(f"hold {number} is lifted")


@app.command("list")
def list_(config: ConfigOption = None) -> None:
    """Show all holds, those that were lifted too."""
    with opened(config) as store:
        for one in store.holds.every():
            typer.echo(
                plain(
                    f"{one.id}  {one.kind} {one.value}, by {one.set_by} on"
                    f" {one.set_utc:%Y-%m-%d}: {one.reason}"
                )
            )
            if one.lifted_utc:
                lifted = f"lifted by {one.lifted_by} on {one.lifted_utc:%Y-%m-%d}"
                typer.echo(plain(f"    {lifted}: {one.lifted_reason}"))
