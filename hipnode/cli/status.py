"""A node from outside: ``status``, ``health``, ``requeue``, ``reread``, ``config check``."""

from __future__ import annotations

import getpass
import json
import socket
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from hipnode.cli.audit import utc
from hipnode.cli.node import ConfigOption
from hipnode.cli.show import plain

config_app = typer.Typer(help="The settings.", no_args_is_help=True)


@config_app.callback()
def _config() -> None:
    """Keep ``check`` a sub-command."""


@config_app.command("check")
def config_check(
    config: ConfigOption = None,
    live: Annotated[
        bool, typer.Option("--live", help="Try all of it: models, keys, ports, destinations.")
    ] = False,
) -> None:
    """Say what is wrong with the settings, or print those in force (secrets masked)."""
    from hipnode import settings

    effective = settings.load(config)
    if not live:
        typer.echo(json.dumps(effective.masked(), indent=2))
        return
    from hipnode.services.rehearsal import rehearse

    count = 0
    for found in rehearse(effective):
        count += found.is_fault
        typer.echo(f"{found.state:<6} {found.what}: {found.says}")
    if count:
        raise typer.Exit(1)


def status(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    account: Annotated[
        bool, typer.Option("--account", help="Also count where every image got to (reads all).")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only what is wrong, a line each: then exit status 1.")
    ] = False,
) -> None:
    """Show who is alive, the queue, the destinations, the disk, and what is wrong."""
    from hipnode import settings
    from hipnode.cli.show_status import print_status
    from hipnode.services.life.look import look
    from hipnode.storage import Store

    effective = settings.load(config)
    store = Store.open(effective)
    try:
        document = look(effective, store)
        if account:
            document["account"] = asdict(store.lookups.account())
    finally:
        store.close()
    if as_json:
        typer.echo(json.dumps(document))
    elif not check:
        print_status(document)
    if check:
        for fault in document["faults"]:
            typer.echo(fault["what"], err=as_json)
        if document["faults"]:
            raise typer.Exit(1)


def health(
    service: Annotated[
        str | None,
        typer.Argument(help="listener, worker, courier, housekeeper, desk; none: all."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Say whether the services of this host are alive; exit status 1 if one is not."""
    from hipnode import settings
    from hipnode.answers.status import unwell
    from hipnode.domain.services import SERVICES
    from hipnode.storage import Store

    names = [one.name for one in SERVICES]
    if service is not None and service not in names:
        raise typer.BadParameter(f"one of {', '.join(names)}")
    store = Store.open(settings.load(config))
    try:
        lines = unwell(store.services.all(), socket.gethostname(), service)
    finally:
        store.close()
    for line in lines:
        typer.echo(line)
    if lines:
        raise typer.Exit(1)


def requeue(
    job: Annotated[
        list[int] | None, typer.Argument(help="Job numbers; none: all that the options leave.")
    ] = None,
    config: ConfigOption = None,
    kind: Annotated[str | None, typer.Option(help="read, report or deliver.")] = None,
    study: Annotated[str | None, typer.Option(help="Study Instance UID.")] = None,
    destination: Annotated[str | None, typer.Option(help="A destination's name.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every quarantined job, where nothing else is named.")
    ] = False,
) -> None:
    """Queue quarantined jobs again, with all their attempts before them."""
    from hipnode import settings
    from hipnode.domain import JobKind
    from hipnode.storage import Store

    if not (job or kind or study or destination or everything):
        raise typer.BadParameter("name jobs, --kind, --study or --destination, or say --all")
    kinds = [k.value for k in JobKind]
    if kind is not None and kind not in kinds:
        raise typer.BadParameter(f"--kind is one of {', '.join(kinds)}")
    store = Store.open(settings.load(config))
    try:
        count = store.recovery.requeue(
            job or None,
            kind=JobKind(kind) if kind else None,
            study_uid=study,
            destination=destination,
            actor=getpass.getuser(),
        )
    finally:
        store.close()
    typer.echo(f"{count} job{'' if count == 1 else 's'} queued again")


def reread(
    config: ConfigOption = None,
    reason: Annotated[
        str | None,
        typer.Option(help="Why they were not assessed: undecodable, or as status names it."),
    ] = None,
    accession: Annotated[
        list[str] | None,
        typer.Option(help="All images of this examination instead; as often as needed."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(help="Only images received since then: UTC, unless it has an offset."),
    ] = None,
) -> None:
    """Read images again that were not assessed, or all of an examination; reports follow anew."""
    from hipnode import settings
    from hipnode.domain import AbstentionReason
    from hipnode.storage import Store

    numbers = [number.strip() for number in accession or ()]
    if (reason is None) == (not numbers) or not all(numbers):
        raise typer.BadParameter("say --reason, or --accession")
    reasons = [r.value for r in AbstentionReason]
    if reason is not None and reason not in reasons:
        raise typer.BadParameter(f"--reason is one of {', '.join(reasons)}")
    since_utc, actor, counts = None if since is None else utc(since), getpass.getuser(), {}
    store = Store.open(settings.load(config))
    try:
        for number in numbers:
            counts[number] = store.recovery.reread(
                None, since_utc, accession_number=number, actor=actor
            )
        count = store.recovery.reread(reason, since_utc, actor=actor) if reason else 0
    finally:
        store.close()
    count += sum(counts.values())
    typer.echo(f"{count} image{'' if count == 1 else 's'} queued to be read again")
    if none := [number for number, found in counts.items() if not found]:
        typer.echo(plain(f"none of {', '.join(none)}: not read yet, or not kept any more"))
        raise typer.Exit(1)
