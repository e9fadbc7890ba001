"""``hipnode feedback``: what is known by now of what was there, in and out as CSV."""

from __future__ import annotations

import csv
import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hipnode.cli.audit import opened, output
from hipnode.cli.node import ConfigOption
from hipnode.cli.show import plain, spreadsheet

if TYPE_CHECKING:
    from hipnode.answers.right import Truth
    from hipnode.domain.opinions import Feedback
    from hipnode.storage import Store

app = typer.Typer(no_args_is_help=True, help="Was it right? Nothing here changes a report.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV: accession, side, truth; task, comment.")],
    config: ConfigOption = None,
) -> None:
    """Take in what final reports say of hips; say of each row that fits nothing why."""
    from hipnode.answers.right import truths

    taken = 0
    with opened(config) as store, file.open(encoding="utf-8-sig", newline="") as rows:
        for truth in list(truths(rows)):  # all of them are right, or none is taken
            found = _given(store, truth)
            if isinstance(found, str):
                typer.echo(plain(f"line {truth.line}: {found}"))
            else:
                _keep(store, truth, found)
                taken += 1
    typer.echo(f"{taken} taken in")


def _given(store: Store, truth: Truth) -> Feedback | str:
    """Return what a row says of what was said, or why it fits nothing."""
    from hipnode.answers import right
    from hipnode.domain.opinions import Feedback, OpinionSource
    from hipnode.storage import StudyFilter

    lines, _ = store.desk.studies.page(StudyFilter(truth.accession_number), limit=1)
    if not lines:
        return "there is no study of this accession number"
    said = right.said(lines[0].said, lines[0].reported).get((truth.side, truth.task))
    if said is None:
        return f"nothing was said of {truth.side}, {truth.task}"
    return Feedback(
        study_instance_uid=lines[0].facts.study_instance_uid,
        side=truth.side,
        task=truth.task,
        opinion=right.opinion_of(said.decision, truth.truth),
        said=said.decision,
        truth=truth.truth,
        model=said.model,
        model_version=said.model_version,
        model_digest=said.model_digest,
        source=OpinionSource.CSV,
        given_by=getpass.getuser(),
        given_utc=store.now(),
        comment=truth.comment,
    )


def _keep(store: Store, truth: Truth, given: Feedback) -> None:
    from hipnode.answers.right import record_detail
    from hipnode.domain import AuditEvent, AuditRecord

    record = AuditRecord(
        AuditEvent.FEEDBACK_GIVEN,
        actor=given.given_by,
        study_instance_uid=given.study_instance_uid,
        accession_number=truth.accession_number,
        detail=record_detail(given),
    )
    store.desk.opinions.add([given], [record])


@app.command("export")
def export(
    config: ConfigOption = None,
    since: Annotated[datetime | None, typer.Option(help="From this moment on (UTC).")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file; default: standard output.")
    ] = None,
) -> None:
    """Write what is known as CSV: of each hip and question the newest."""
    from hipnode.answers.right import COLUMNS, document

    moment = since.replace(tzinfo=UTC) if since else datetime(1970, 1, 1, tzinfo=UTC)
    with opened(config) as store, output(out) as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for each in store.desk.opinions.since(moment):
            row = document(each)
            writer.writerow([spreadsheet(row[name]) for name in COLUMNS])
