"""A node from outside, and a push for it: ``status``, ``requeue``, ``config check``."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hipnode.cli.node import ConfigOption
from hipnode.cli.show import cell

if TYPE_CHECKING:
    from hipnode.storage import Store

config_app = typer.Typer(help="The settings.", no_args_is_help=True)


@config_app.callback()
def _config() -> None:
    """Keep ``check`` a sub-command."""


@config_app.command("check")
def config_check(config: ConfigOption = None) -> None:
    """Say what is wrong with the settings, or print those in force (secrets masked)."""
    from hipnode import settings

    typer.echo(json.dumps(settings.load(config).masked(), indent=2))


def status(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    account: Annotated[
        bool, typer.Option("--account", help="Also count where every image got to (reads all).")
    ] = False,
) -> None:
    """Show the queue, the destinations, the disk, and what a person must see to (exit status 1)."""
    from hipnode import settings
    from hipnode.storage import Store

    store = Store.open(settings.load(config))
    try:
        document = overview(store, account=account)
    finally:
        store.close()
    if as_json:
        typer.echo(json.dumps(document))
    else:
        print_overview(document)
    if document["faults"]:
        raise typer.Exit(1)


def overview(store: Store, *, account: bool) -> dict[str, Any]:
    """Return the state of the node as plain values; the keys are stable."""
    from dataclasses import asdict

    seen = store.ledger.overview()
    jobs: dict[str, dict[str, int]] = {}
    for (kind, state), count in seen.jobs.items():
        jobs.setdefault(kind.value, {})[state.value] = count
    now = datetime.now(UTC)
    document = {
        "instances": seen.instances,
        "jobs": jobs,
        "oldest_queued_s": {
            kind.value: round((now - moment).total_seconds(), 1)
            for kind, moment in seen.oldest_queued_utc.items()
        },
        "destinations": [
            {
                "name": d.name,
                "waiting": d.waiting,
                "last_delivery_utc": _iso(d.last_delivery_utc),
                "away_since_utc": _iso(d.away_since_utc),
                "next_attempt_utc": _iso(d.paused_until_utc),
                "error": d.error,
                "uncommitted": d.uncommitted,
                "committed": d.committed,
            }
            for d in seen.destinations
        ],
        "disk_free_bytes": store.files.free_bytes(),
        "quarantine": dict(zip(("files", "bytes"), store.quarantined(), strict=True)),
        "audit": _audit(store),
        "faults": store.faults(),
    }
    return document | {"account": asdict(store.ledger.account())} if account else document


def _audit(store: Store) -> dict[str, Any]:
    state = store.audit.state()
    return {
        "epoch": state.epoch,
        "sealed_utc": _iso(state.sealed_utc),
        "unsealed": state.unsealed,
        "unsealed_since_utc": _iso(state.unsealed_since_utc),
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def print_overview(document: dict[str, Any]) -> None:
    """Print the state of the node for a person."""
    from rich.console import Console
    from rich.table import Table

    states = ("queued", "claimed", "done", "quarantined", "superseded")
    jobs = Table("job", *states, "oldest waits")
    for kind in ("read", "report", "deliver"):
        counts = document["jobs"].get(kind, {})
        oldest = document["oldest_queued_s"].get(kind)
        waits = f"{oldest:.0f} s" if oldest is not None else "-"
        jobs.add_row(kind, *(str(counts.get(s, 0)) for s in states), waits)
    places = Table("destination", "waiting", "uncommitted", "committed", "last delivery", "state")
    for place in document["destinations"]:
        state = "there"
        if place["away_since_utc"]:
            state = f"away since {place['away_since_utc']}: {place['error']}"
        counts = [str(place[name]) for name in ("waiting", "uncommitted", "committed")]
        row = (place["name"], *counts, place["last_delivery_utc"] or "never", state)
        places.add_row(*map(cell, row))
    console = Console()
    console.print(jobs)
    console.print(places)
    console.print(f"images received: {document['instances']}")
    console.print(f"disk free: {document['disk_free_bytes'] / 1024**3:.1f} GiB")
    kept = document["quarantine"]
    if kept["files"]:
        console.print(f"in quarantine: {kept['files']} files, {kept['bytes'] / 1024**2:.1f} MiB")
    audit = document["audit"]
    unsealed = f", {audit['unsealed']} records not yet" if audit["unsealed"] else ""
    console.print(f"audit log sealed: {audit['sealed_utc'] or 'never'}{unsealed}")
    for fault in document["faults"]:
        console.print(cell(f"FAULT: {fault}"))
    for name, count in document.get("account", {}).items():
        console.print(f"{name}: {count}")


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
        count = store.ledger.requeue(
            job or None,
            kind=JobKind(kind) if kind else None,
            study_uid=study,
            destination=destination,
            actor=getpass.getuser(),
        )
    finally:
        store.close()
    typer.echo(f"{count} job{'' if count == 1 else 's'} queued again")
