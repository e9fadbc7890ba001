"""``hipnode feedback``: what is known by now of what was there, in and out as CSV."""

from __future__ import annotations

import csv
import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hipnode.cli.audit import Out, Since, opened, output, utc
from hipnode.cli.node import ConfigOption
from hipnode.cli.show import plain, spreadsheet

if TYPE_CHECKING:
    from hipnode.domain.opinions import Feedback
    from hipnode.storage import Store

app = typer.Typer(no_args_is_help=True, help="Was it right? Nothing here changes a report.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV: accession, side, truth; task, comment.")],
    config: ConfigOption = None,
) -> None:
    """Take in what final reports say of hips; say of each row that fits nothing why."""
    from hipnode import tables
    from hipnode.answers.right import truths
    from hipnode.domain.opinions import OpinionSource
    from hipnode.services.opinions.match import About, Heard, Teller, take

    rows = list(truths(tables.read(file, str.lower)))  # all of them are right, or none is taken
    taken = 0
    with opened(config) as store:
        for truth in rows:
            about = About((truth.accession_number,))
            heard = Heard(truth.side, truth.task, truth.truth)
            teller = Teller(OpinionSource.CSV, getpass.getuser(), comment=truth.comment)
            done = take(store, about, [heard], teller)
            taken += done.count
            for why in done.unmatched:
                typer.echo(plain(f"line {truth.line}: {why}"))
    typer.echo(f"{taken} taken in")
    if rows and not taken:
        raise typer.Exit(1)


@app.command("misses")
def misses(
    config: ConfigOption = None,
    since: Since = None,
    out: Out = None,
) -> None:
    """Write what the node got wrong as labels that `validate --from-node` takes."""
    from hipnode.answers.right import missed
    from hipnode.domain import Side

    with opened(config) as store, output(out) as file:
        writer = csv.writer(file)
        writer.writerow(("sop_instance_uid", "side", "label", "kind", "comment"))
        for each in _known(store, since):
            kind = missed(each)
            if not kind or each.task != "hip_fracture":
                continue
            label = "fracture" if each.truth == "present" else "no fracture"
            for image in store.lookups.instances(each.study_instance_uid):
                uid = image.header.sop_instance_uid
                side = each.side if each.side in {Side.RIGHT, Side.LEFT} else ""  # of the image
                row = (uid, side, label, kind, each.comment)
                writer.writerow([spreadsheet(value) for value in row])


@app.command("export")
def export(
    config: ConfigOption = None,
    since: Since = None,
    out: Out = None,
) -> None:
    """Write what is known as CSV: of each hip and question the newest."""
    from hipnode.answers.right import COLUMNS, document

    with opened(config) as store, output(out) as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for each in _known(store, since):
            row = document(each)
            writer.writerow([spreadsheet(row[name]) for name in COLUMNS])


def _known(store: Store, since: datetime | None) -> list[Feedback]:
    from hipnode.services.drifting import opinions

    return opinions(store, utc(since) if since else datetime(1970, 1, 1, tzinfo=UTC))
