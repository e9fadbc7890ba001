"""Looking at a node from outside: ``status``, ``requeue``, ``config check``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hipnode.cli.node import ConfigOption

config_app = typer.Typer(help="The settings.", no_args_is_help=True)


@config_app.callback()
def _config() -> None:
    """Keep ``check`` a sub-command."""


@config_app.command("check")
def config_check(config: ConfigOption = None) -> None:
    """Say what is wrong with the settings, or print those in force (secrets masked)."""
    from hipnode import settings

    typer.echo(json.dumps(settings.load(config).masked(), indent=2))
