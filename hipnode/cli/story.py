"""``hipnode audit story`` and ``findings``: what the audit log says of a study, and of hips."""

from __future__ import annotations

import csv
import getpass
import json
import sys
import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hipnode.cli.audit import (
    Accession,
    Format,
    Out,
    Patient,
    Since,
    Study,
    Until,
    chosen,
    opened,
    output,
)
from hipnode.cli.node import ConfigOption
from hipnode.cli.show import plain, spreadsheet

if TYPE_CHECKING:
    from hipnode.storage import AuditEntry, Store

_WIDTH = 80


def story(
    accession: Annotated[str, typer.Argument(help="Accession Number.")],
    config: ConfigOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also how the work went on: queued, claimed, retried.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a study.")] = False,
) -> None:
    """Tell the story of an accession on a page, oldest first. Asking is on the audit log."""
    with opened(config) as store:
        studies = _studies(store, accession)
        for uid, entries in studies.items():
            (_as_json if as_json else _told)(uid, entries, everything)
        older = [made.file for made in store.audit.archived()]
    if not studies:
        typer.echo(f"hipnode: there is nothing on the audit log of {plain(accession)}", err=True)
        if older:
            typer.echo(f"hipnode: older records are in {', '.join(older)}", err=True)
        raise typer.Exit(1)


def _studies(store: Store, accession: str) -> dict[str, list[AuditEntry]]:
    """Return the records of each study of an accession, oldest first.

    Under "": those of none, as of a value that came before its images.
    """
    actor = getpass.getuser()

    def query(accession: str | None, study: str | None) -> list[AuditEntry]:
        wanted = chosen(None, None, accession, None, study, None, None, None)
        return list(store.audit.query(wanted, actor=actor, limit=None, newest_first=False))

    found = query(accession, None)
    of_none = [entry for entry in found if not (entry.record.study_instance_uid or _asked(entry))]
    uids = dict.fromkeys(entry.record.study_instance_uid for entry in found)
    studies = {uid: query(None, uid) for uid in uids if uid}
    return ({"": of_none} if of_none else {}) | {
        uid: [entry for entry in entries if not _asked(entry) or entry.record.actor != actor]
        for uid, entries in studies.items()
    }


def _asked(entry: AuditEntry) -> bool:
    from hipnode.domain import AuditEvent

    return entry.record.event is AuditEvent.AUDIT_QUERIED


def _as_json(uid: str, entries: list[AuditEntry], everything: bool) -> None:
    from hipnode.answers import audit

    document = {
        "study_instance_uid": uid,
        "objects": audit.objects(entries),
        "story": [
            audit.document(entry) | {"sentence": audit.sentence(entry)}
            for entry in entries
            if everything or not audit.is_plumbing(entry)
        ],
    }
    typer.echo(json.dumps(document))


def _told(uid: str, entries: list[AuditEntry], everything: bool) -> None:
    from hipnode.answers import audit

    first = entries[0].record
    typer.echo(f"study {plain(uid)}" if uid else "before any image of it, or of none")
    names = f"accession {first.accession_number}"
    names += f", patient ID {first.patient_id}" if uid else ""  # one accession number may be two's
    typer.echo(plain(names) + "\n")
    folded = 0
    for entry in entries:
        if audit.is_plumbing(entry) and not everything:
            folded += 1
            continue
        whose = "" if uid else f" (patient ID {entry.record.patient_id})"
        said = plain(audit.sentence(entry) + whose)
        _line(f"{entry.at_utc:%Y-%m-%d %H:%M:%S}  {said}", 21)
    if folded:
        typer.echo(f"({folded} records of how the work went on: --all)")
    for made in audit.objects(entries):
        typer.echo(
            f"\n{made['kind']}, version {made['version']}: {plain(made['sop_instance_uid'])}"
        )
        typer.echo(f"  sha256 {made['sha256']}")
        for way in ("delivered", "committed"):
            for name, when in made[way]:
                typer.echo(f"  {way} {plain(name)} {when}")
    typer.echo()


def _line(text: str, indent: int) -> None:
    """Print a line: whole in a pipe, wrapped for a terminal."""
    if sys.stdout.isatty():
        text = textwrap.fill(text, _WIDTH, subsequent_indent=" " * indent)
    typer.echo(text)


def findings(
    config: ConfigOption = None,
    since: Since = None,
    until: Until = None,
    accession: Accession = None,
    patient: Patient = None,
    study: Study = None,
    form: Annotated[
        Format, typer.Option("--format", help="csv or jsonl (a JSON document a line).")
    ] = Format.CSV,
    out: Out = None,
) -> None:
    """Write a row for each hip and finding: what was said, by which model, why not."""
    from hipnode.answers.audit import FINDING_COLUMNS

    with opened(config) as store, output(out) as file:
        writer = csv.writer(file)
        if form is Format.CSV:
            writer.writerow(FINDING_COLUMNS)
        for row in _rows(store, since, until, accession, patient, study):
            if form is Format.CSV:
                writer.writerow([spreadsheet(row[name]) for name in FINDING_COLUMNS])
            else:
                file.write(json.dumps(row) + "\n")


def _rows(
    store: Store,
    since: datetime | None,
    until: datetime | None,
    accession: str | None,
    patient: str | None,
    study: str | None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of both events, in the order of the records."""
    from heapq import merge

    from hipnode.answers import audit

    records = [
        store.audit.query(
            chosen(since, until, accession, patient, study, None, event.value, None),
            actor=getpass.getuser(),
            limit=None,
            newest_first=False,
        )
        for event in audit.READ
    ]
    for entry in merge(*records, key=lambda entry: (entry.at_utc, entry.id)):
        yield from audit.findings(entry)
