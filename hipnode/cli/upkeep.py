"""What a person does about the node's files and database: what is kept, and copies of it."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from hipnode.cli.node import ConfigOption
from hipnode.cli.show import plain


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


def check(
    config: ConfigOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave the indexes out.")] = False,
) -> None:
    """Look for damage in the database itself; if it is whole, it is written to again."""
    from hipnode import settings
    from hipnode.storage import Store

    store = Store.open(settings.load(config), vouch=False)
    try:
        found = store.check_database(thorough=not quick)
        looked = store.can_check_database()
    finally:
        store.close()
    for problem in found:
        typer.echo(plain(f"DAMAGED: {problem}"))
    if found:
        raise typer.Exit(1)
    typer.echo("whole" if looked else "not looked at: PostgreSQL has no extension amcheck here")


def backup(
    to: Annotated[Path, typer.Option(help="The folder of all backups; files are shared there.")],
    config: ConfigOption = None,
) -> None:
    """Copy database, files, key and head while the node runs, and read the copy again."""
    from hipnode import settings
    from hipnode.storage import Store

    store = Store.open(settings.load(config))
    try:
        done = store.back_up(to, actor=getpass.getuser())
    finally:
        store.close()
    typer.echo(f"{done.folder}: {done.files} files, {done.new_files} of them new")
    if done.rows:
        typer.echo(f"read again; records of the audit log verified in it: {done.rows}")
    else:
        typer.echo("read again by pg_restore; a restore verifies the audit log in it")
    if done.missing:
        typer.echo(f"{done.missing} files are missing or damaged in the node itself", err=True)
        raise typer.Exit(1)


def restore(
    source: Annotated[Path, typer.Option("--from", help="A backup, or the folder of all.")],
    reason: Annotated[str, typer.Option(help="Why, in your words. It is signed.")],
    config: ConfigOption = None,
) -> None:
    """Bring a backup back, the newest of a folder; say what could not be. Stop services first."""
    from hipnode import settings
    from hipnode.storage import Store

    lost = Store.restore(settings.load(config), source, actor=getpass.getuser(), reason=reason)
    for path in lost.rows_without_file:
        typer.echo(plain(f"LOST: the file {path} is neither here nor in the backup"))
    for path in lost.files_without_row:
        typer.echo(plain(f"NOT KNOWN: {path} came after the backup; have it sent again"))
    typer.echo(
        f"restored; lost files: {len(lost.rows_without_file)}, "
        f"files that came later: {len(lost.files_without_row)}"
    )
    if lost.rows_without_file:
        raise typer.Exit(1)
