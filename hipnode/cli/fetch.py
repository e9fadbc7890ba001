"""``hipnode fetch``: the history, and the studies that were missed."""

from __future__ import annotations

import getpass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from hipnode.cli.node import ConfigOption
from hipnode.cli.show import plain

if TYPE_CHECKING:
    from hipnode.services.history.query import FoundSeries, Wanted
    from hipnode.settings import DestinationSettings, Settings

_DAY = ["%Y-%m-%d"]


class By(StrEnum):
    """How images come."""

    MOVE = "move"
    GET = "get"


def fetch(
    archive: Annotated[
        str | None,
        typer.Option("--from", help="A destination of kind dimse; the only one if none."),
    ] = None,
    accession: Annotated[list[str] | None, typer.Option(help="Of studies; several times.")] = None,
    study: Annotated[
        list[str] | None, typer.Option(help="A Study Instance UID; several times.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=_DAY, help="Studies of this day and later.")
    ] = None,
    until: Annotated[datetime | None, typer.Option(formats=_DAY, help="And to this day.")] = None,
    modality: Annotated[list[str], typer.Option(help="Of the series; several times.")] = [  # noqa: B006
        "DX",
        "CR",
    ],
    by: Annotated[
        By, typer.Option(help="C-MOVE to our listener, or C-GET by this command.")
    ] = By.MOVE,
    shadow_only: Annotated[
        bool, typer.Option(help="Only the sets in shadow read it; nothing is reported (C-GET).")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="List what would be fetched.")] = False,
    config: ConfigOption = None,
) -> None:
    """Fetch studies from an archive: the history for a new model, or what was missed meanwhile.

    What is here already is not read again, except by model sets that have not read it.
    """
    from hipnode import settings
    from hipnode.services.history import fetch as history
    from hipnode.services.history.query import Wanted

    if not (accession or study or since):
        raise typer.BadParameter("say which: --accession, --study or --since")
    if shadow_only and by is not By.GET:
        raise typer.BadParameter("--shadow-only takes --by get: the listener reports what it gets")
    effective = settings.load(config)
    place = history.archive_named(effective, archive)
    wanted = Wanted(
        accession_numbers=tuple(accession or ()),
        study_instance_uids=tuple(study or ()),
        since=since.date() if since else None,
        until=until.date() if until else None,
        modalities=tuple(modality),
    )
    if dry_run:
        for series in history.search(effective, place, wanted):
            _print(series)
        return
    if _fetched(effective, place, wanted, by.value, shadow_only=shadow_only):
        raise typer.Exit(1)


def _fetched(
    effective: Settings, place: DestinationSettings, wanted: Wanted, by: str, *, shadow_only: bool
) -> int:
    """Fetch, print a line for each series, and return how many images failed."""
    from hipnode.services.history.fetch import fetch
    from hipnode.storage import Store

    failed = taken = 0
    store = Store.open(effective)
    try:
        for series, done in fetch(
            effective, store, place, wanted, by=by, shadow_only=shadow_only, actor=getpass.getuser()
        ):
            _print(series, f"{done.taken} images" + f", {done.failed} FAILED" * bool(done.failed))
            taken += done.taken
            failed += done.failed
    finally:
        store.close()
    typer.echo(f"fetched: {taken} images; failed: {failed}")
    return failed


def _print(series: FoundSeries, said: str = "") -> None:
    parts = series.study_date, series.accession_number, series.modality, said
    typer.echo("  ".join(plain(part) or "-" for part in parts).removesuffix("  -"))
