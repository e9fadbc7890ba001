"""``hipnode account``: who may sign in at the desk, where it keeps its own accounts."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hipnode.cli.node import NO_DESK, ConfigOption
from hipnode.cli.show import plain
from hipnode.domain.people import Role
from hipnode.errors import SettingsInvalid

if TYPE_CHECKING:
    from hipnode.storage import Store

app = typer.Typer(
    no_args_is_help=True,
    help="Who may sign in at the desk. There is no account and no password until one is made.",
)
Name = Annotated[str, typer.Argument(help="The account's name.")]
Roles = Annotated[
    list[Role], typer.Option("--role", help="What the person is; give it again for several.")
]


@app.command("add")
def add(name: Name, role: Roles, config: ConfigOption = None) -> None:
    """Make an account, and print a password that holds for a day and for one sign-in."""
    made, kept = _one_time()
    with _opened(config) as store:
        store.desk.people.add(_named(name), role, kept, actor=_actor())
    typer.echo(made)


@app.command("password")
def password(name: Name, config: ConfigOption = None) -> None:
    """Print a new one-time password for an account, which is unlocked; its sessions end."""
    made, kept = _one_time()
    with _opened(config) as store:
        store.desk.people.change(name, actor=_actor(), password=kept)
    typer.echo(made)


@app.command("change")
def change(
    name: Name,
    config: ConfigOption = None,
    role: Annotated[
        list[Role] | None, typer.Option("--role", help="The roles from now on; several at once.")
    ] = None,
    close: Annotated[
        bool | None, typer.Option("--close/--open", help="Let nobody in with it, or again.")
    ] = None,
) -> None:
    """Change the roles of an account, close it, or open it again; its sessions end."""
    changes: dict[str, object] = {}
    if role:
        changes["roles"] = role
    if close is not None:
        changes["disabled"] = close
    if not changes:
        raise typer.BadParameter("say what: --role, --close or --open")
    with _opened(config) as store:
        store.desk.people.change(name, actor=_actor(), **changes)


@app.command("list")
def list_(config: ConfigOption = None) -> None:
    """List the accounts: name, roles, last use, and whether they are closed or locked."""
    with _opened(config) as store:
        for account in store.desk.people.accounts():
            used = f"{account.used_utc:%Y-%m-%d %H:%M} UTC" if account.used_utc else "never used"
            locked = account.locked_until_utc is not None and account.locked_until_utc > store.now()
            state = "closed" if account.disabled else "locked" if locked else ""
            roles = ",".join(sorted(account.roles))
            typer.echo(f"{plain(account.name):<24} {roles:<32} {used:<21} {state}".rstrip())


def _one_time() -> tuple[str, str]:
    """Return a one-time password, and what is kept of it."""
    try:
        from hipnode.services.desk import passwords
    except ModuleNotFoundError as error:
        raise SettingsInvalid(NO_DESK) from error
    made = passwords.one_time()
    return made, passwords.hashed(made)


def _named(name: str) -> str:
    if not 1 <= len(name.strip()) <= 64 or plain(name) != name or name != name.strip():
        raise typer.BadParameter("a name has 1 to 64 characters that can be seen")
    return name


def _actor() -> str:
    return getpass.getuser()


@contextmanager
def _opened(config: Path | None) -> Iterator[Store]:
    from hipnode import settings
    from hipnode.storage import Store

    store = Store.open(settings.load(config))
    try:
        yield store
    finally:
        store.close()
