"""What a person does about the node's files and database: ``adopt``, ``reconcile``."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from hipnode.cli.node import ConfigOption


def adopt(
    reason: Annotated[str, typer.Option(help="Why, in your words. It goes on the audit log.")],
    config: ConfigOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
) -> None:
    """Join this database with these files on purpose; services refuse two of different nodes."""
    from hipnode import settings
    from hipnode.storage import Store

    store = Store.open(settings.load(config), migrate=True, vouch=False)
    try:
        known, some = store.known_files()
        typer.echo(f"of {some} files looked at, this database knows {known}")
        if not yes:
            typer.confirm("Join them?", abort=True)
        given_up = store.adopt(actor=getpass.getuser(), reason=reason)
    finally:
        store.close()
    typer.echo(f"joined; given up: {', '.join(given_up) or 'nothing'}")


def reconcile(
    config: ConfigOption = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Put right whatever is found, however much it is.")
    ] = False,
) -> None:
    """Compare rows and files, as each start does; what was put aside comes back if it has a row."""
    from hipnode import settings
    from hipnode.storage import Store

    store = Store.open(settings.load(config))
    try:
        done = store.reconcile(yes=yes)
    finally:
        store.close()
    typer.echo(f"brought back: {done.brought_back}")
    typer.echo(f"put aside, without a row: {done.files_without_row}")
    typer.echo(f"given up, without a file: {done.rows_without_file}")
    typer.echo(
        f"deleted: {done.retired} past retention or kept twice, {done.abandoned} half received"
    )
    if done.asks:
        typer.echo(done.asks)
        raise typer.Exit(1)
