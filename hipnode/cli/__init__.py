"""The command line: commands of a few lines that parse, call and print.

Nothing heavy is imported until a command runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer

from hipnode import DISCLAIMER, __version__, log
from hipnode.cli import (
    account,
    audit,
    conform,
    covariates,
    demo,
    evaluate,
    feedback,
    fetch,
    hold,
    league,
    models,
    node,
    phantom,
    read,
    relabel,
    selftest,
    status,
    story,
    torture,
    train,
    upkeep,
    validate,
)
from hipnode.cli.show import plain
from hipnode.errors import HipnodeError

app = typer.Typer(
    name="hipnode",
    help=f"A DICOM node that reads hip radiographs and reports to the PACS. {DISCLAIMER}.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help, in half the time
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hipnode {__version__} - {DISCLAIMER}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True),
) -> None:
    """Nothing to do before a command."""


app.command("serve")(node.serve)
app.command("listen")(node.listen)
app.command("work")(node.work)
app.command("deliver")(node.deliver)
app.command("housekeep")(node.housekeep)
app.command("desk")(node.desk)
app.command("read")(read.read)
app.command("demo")(demo.demo)
app.command("status")(status.status)
app.command("health")(status.health)
app.command("requeue")(status.requeue)
app.command("reread")(status.reread)
app.command("fetch")(fetch.fetch)
app.command("self-test")(selftest.self_test)
app.command("adopt")(upkeep.adopt)
app.command("reconcile")(upkeep.reconcile)
app.command("check")(upkeep.check)
app.command("backup")(upkeep.backup)
app.command("restore")(upkeep.restore)
app.command("torture")(torture.torture)
app.command("phantom")(phantom.phantom)
app.command("conform")(conform.conform)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("league")(league.league)
app.command("compare")(league.compare)
app.command("relabel")(relabel.relabel)
app.command("validate")(validate.validate)
audit.app.command("story")(story.story)
audit.app.command("findings")(story.findings)
app.add_typer(audit.app, name="audit")
app.add_typer(hold.app, name="hold")
app.add_typer(account.app, name="account")
app.add_typer(feedback.app, name="feedback")
app.add_typer(covariates.app, name="covariates")
app.add_typer(models.app, name="models")
app.add_typer(status.config_app, name="config")


def main(command: Callable[[], object] = app) -> None:
    """Run the command line: exit status 1 for an error, 2 for wrong usage or wrong settings."""
    os.umask(0o077)  # whatever a command writes is the caller's alone
    # Networks have threads of their own. Those of numpy's matrix products spin after each one, on
    # every other core, for as long as a reading takes.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    log.quiet_libraries()
    try:
        command()
    except HipnodeError as error:
        for line in str(error).splitlines():
            typer.echo(f"hipnode: {plain(line)}", err=True)
        sys.exit(2 if type(error).__name__ == "SettingsInvalid" else 1)
    except OSError as error:
        if not error.filename:
            raise
        typer.echo(f"hipnode: {plain(str(error.filename))}: {error.strerror}", err=True)
        sys.exit(1)
