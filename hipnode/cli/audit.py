"""``hipnode audit``: what happened, and whether the log of it is whole."""

from __future__ import annotations

import csv
import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hipnode.answers.audit import COLUMNS, document
from hipnode.cli.node import ConfigOption
from hipnode.cli.show import plain, spreadsheet
from hipnode.cli.show_audit import print_entry, print_heading

if TYPE_CHECKING:
    from hipnode.storage import AuditFault, AuditFilter, Head, Store, VerifyReport

_LAST: Final = 2**63 - 1  # that an SQL database can number

app = typer.Typer(
    no_args_is_help=True,
    help="What happened to which image, and whether the log of it is whole. Asking is audited too.",
)

Since = Annotated[
    datetime | None, typer.Option(help="From this moment on: UTC, unless it has an offset.")
]
Until = Annotated[
    datetime | None, typer.Option(help="Before this moment: UTC, unless it has an offset.")
]
Accession = Annotated[str | None, typer.Option(help="Accession Number.")]
Patient = Annotated[str | None, typer.Option(help="Patient ID.")]
Study = Annotated[str | None, typer.Option(help="Study Instance UID.")]
AE = Annotated[str | None, typer.Option("--ae", help="AE title of the peer.")]
EventName = Annotated[str | None, typer.Option("--event", help="An event, e.g. image_read.")]
Out = Annotated[Path | None, typer.Option("--out", help="The file; default: standard output.")]
OutcomeName = Annotated[str | None, typer.Option("--outcome", help="ok, refused or failed.")]


class Format(StrEnum):
    """How records are exported."""

    CSV = "csv"
    JSONL = "jsonl"


@app.command("list")
def list_(
    config: ConfigOption = None,
    since: Since = None,
    until: Until = None,
    accession: Accession = None,
    patient: Patient = None,
    study: Study = None,
    ae: AE = None,
    event: EventName = None,
    outcome: OutcomeName = None,
    limit: Annotated[int, typer.Option(min=1, help="As many at most, the newest first.")] = 50,
) -> None:
    """Show the newest records that fit all conditions; in a pipe, a line with tabs each."""
    wanted = chosen(since, until, accession, patient, study, ae, event, outcome)
    with opened(config) as store:
        print_heading()
        for entry in store.audit.query(wanted, actor=getpass.getuser(), limit=limit):
            print_entry(entry)


@app.command("days")
def days(
    config: ConfigOption = None,
    number: Annotated[
        int, typer.Option("--days", min=1, help="As many, the present one last.")
    ] = 30,
) -> None:
    """Show how often what happened on each of the last days (UTC)."""
    with opened(config) as store:
        for found in store.audit.days(number, actor=getpass.getuser()):
            typer.echo(f"{found.day}  {found.event:<24} {found.outcome:<8} {found.number:>9}")


@app.command("show")
def show(
    number: Annotated[int, typer.Argument(min=1, max=_LAST, help="The record's number.")],
    config: ConfigOption = None,
) -> None:
    """Show one record with everything that it holds, as JSON."""
    with opened(config) as store:
        entry = store.audit.get(number, actor=getpass.getuser())
    if entry is None:
        typer.echo(f"hipnode: there is no record {number}", err=True)
        raise typer.Exit(1)
    typer.echo(json.dumps(document(entry), indent=2))


@app.command("verify")
def verify(
    archive: Annotated[
        list[Path] | None, typer.Argument(help="Also these archives, each for itself.")
    ] = None,
    config: ConfigOption = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="A file with heads that were kept elsewhere; each must be in the log."),
    ] = None,
    as_statement: Annotated[
        bool, typer.Option("--report", help="Write a statement that others can check: signed.")
    ] = False,
) -> None:
    """Recompute the whole log; exit status 1, naming all that is wrong, if anything is."""
    with opened(config, vouch=False) as store:
        report = store.audit.report(actor=getpass.getuser(), against=_heads(against or []))
        late = _unsealed_too_long(report, store.now(), store.settings.audit.max_unsealed_s)
        broken = [not _is_whole(store, path) for path in archive or []]
        signed = _statement(store, report) if as_statement else ""
    if as_statement:
        typer.echo(signed, nl=False)
    else:
        _say(report, late)
    if report.faults or late or any(broken):
        raise typer.Exit(1)


def _is_whole(store: Store, path: Path) -> bool:
    """Verify an archive, also against what the log says of it; say what was found."""
    from hipnode.storage import verified_archive

    known = next((made for made in store.audit.archived() if made.file == path.name), None)
    report = verified_archive(path, store.audit.keys(), known)
    faults = [f"BROKEN {_where(fault)}: {fault.reason}" for fault in report.faults]
    faults += [] if known else ["BROKEN the log knows of no archive of that name"]
    for line in (*faults, *_looked_at(report)):
        typer.echo(plain(f"{path.name}: {line}"), err=True)
    return not faults


def _statement(store: Store, report: VerifyReport) -> str:
    from hipnode.answers.statement import Verified, audit_statement
    from hipnode.domain import Outcome

    outcome = Outcome.FAILED if report.faults else Outcome.OK
    found = Verified(store.now(), getpass.getuser(), outcome, report.detail())
    state, head, key = store.audit.state(), store.audit.head(), store.desk.verifier()
    text = audit_statement(store.settings.node.name, store.now(), found, state, head, key)
    return store.desk.statement(text)


def _say(report: VerifyReport, late: bool) -> None:
    for fault in report.acknowledged:
        typer.echo(plain(f"acknowledged {_where(fault)}: {fault.reason}"))
    for fault in report.faults:
        typer.echo(plain(f"BROKEN {_where(fault)}: {fault.reason}"))
    if late:
        typer.echo(f"NOT SEALED {report.unsealed} records: is a housekeeper running?")
    if not report.faults and not late:
        typer.echo("unbroken")
    for line in _looked_at(report):
        typer.echo(line)


def _where(fault: AuditFault) -> str:
    if fault.row_id is None:
        return "in a seal or head"
    if fault.last_id in {None, fault.row_id}:
        return f"at record {fault.row_id}"
    return f"at records {fault.row_id} to {fault.last_id}"


def _looked_at(report: VerifyReport) -> Iterator[str]:
    if report.first_utc and report.last_utc:
        span = f"from {_second(report.first_utc)} to {_second(report.last_utc)}"
        yield f"{report.rows} records {span}"
    else:
        yield f"{report.rows} records"
    yield f"{report.seals} seals in {report.epochs} epochs, compared with {report.heads} heads"
    for made in report.archives:
        yield plain(str(made))
    if report.unsealed_since_utc:
        yield f"not yet sealed: {report.unsealed}, since {_second(report.unsealed_since_utc)}"


def _second(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _unsealed_too_long(report: VerifyReport, now: datetime, limit_s: float) -> bool:
    since = report.unsealed_since_utc
    return since is not None and (now - since).total_seconds() > limit_s


def _heads(paths: list[Path]) -> list[Head]:
    from hipnode.errors import InputRefused
    from hipnode.storage import parse_heads

    found: list[Head] = []
    for path in paths:
        try:
            these = parse_heads(path.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise InputRefused(f"{path} cannot be read: {error.strerror}") from error
        if not these:
            raise InputRefused(f"{path} has no head of an audit log in it")
        found += these
    return found


@app.command("head")
def head(config: ConfigOption = None) -> None:
    """Print the log's newest head, signed: a checkpoint, to be kept elsewhere."""
    with opened(config) as store:
        found = store.audit.head()
    if found is not None:
        typer.echo(found.note(), nl=False)


@app.command("acknowledge")
def acknowledge(
    reason: Annotated[str, typer.Option(help="What happened, in your words. It is signed.")],
    config: ConfigOption = None,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Take the key in its file, or a new one, from now on.")
    ] = False,
) -> None:
    """Say in writing that you know what is wrong with the log; it goes on in a new epoch."""
    with opened(config, vouch=False) as store:
        if new_key:
            store.take_key()
        begun = store.audit.acknowledge(actor=getpass.getuser(), reason=reason)
    for fault in begun.faults:
        typer.echo(plain(f"acknowledged {_where(fault)}: {fault.reason}"))
    typer.echo(f"epoch {begun.id} has begun; {len(begun.given_up)} heads were given up")


@app.command("archive")
def archive(
    before: Annotated[datetime, typer.Option(help="What was sealed before this moment (UTC).")],
    reason: Annotated[str, typer.Option(help="Why, in your words. It is signed.")],
    config: ConfigOption = None,
) -> None:
    """Write old records to a file that verifies by itself, and take them out of the log."""
    moment = utc(before)
    with opened(config) as store:
        made = store.archive(moment, actor=getpass.getuser(), reason=reason)
        path = store.settings.audit_archive_dir / made.file
    typer.echo(f"{made.rows} records up to {made.last_id}: {path}")
    typer.echo(f"sha256 {made.sha256}")


@app.command("export")
def export(
    config: ConfigOption = None,
    since: Since = None,
    until: Until = None,
    accession: Accession = None,
    patient: Patient = None,
    study: Study = None,
    ae: AE = None,
    event: EventName = None,
    outcome: OutcomeName = None,
    form: Annotated[
        Format, typer.Option("--format", help="csv or jsonl (a JSON document a line).")
    ] = Format.CSV,
    out: Out = None,
) -> None:
    """Write all records that fit all conditions, oldest first."""
    wanted = chosen(since, until, accession, patient, study, ae, event, outcome)
    with opened(config) as store, output(out) as file:
        entries = store.audit.query(wanted, actor=getpass.getuser(), limit=None, newest_first=False)
        if form is Format.JSONL:
            for entry in entries:
                file.write(json.dumps(document(entry)) + "\n")
            return
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for entry in entries:
            row = document(entry)
            row["detail"] = json.dumps(row["detail"])
            writer.writerow([spreadsheet(row[name]) for name in COLUMNS])


def chosen(
    since: datetime | None,
    until: datetime | None,
    accession: str | None,
    patient: str | None,
    study: str | None,
    ae: str | None,
    event: str | None,
    outcome: str | None,
) -> AuditFilter:
    from hipnode.domain import AuditEvent, Outcome
    from hipnode.storage import AuditFilter

    events = [e.value for e in AuditEvent]
    if event is not None and event not in events:
        raise typer.BadParameter(f"--event is one of {', '.join(events)}")
    for text in (accession, patient, study, ae):
        if text is not None and any("\ud800" <= c <= "\udfff" for c in text):  # bytes, to Python
            raise typer.BadParameter(f"{text!a} is not in UTF-8")
    outcomes = [o.value for o in Outcome]
    if outcome is not None and outcome not in outcomes:
        raise typer.BadParameter(f"--outcome is one of {', '.join(outcomes)}")
    return AuditFilter(
        since_utc=utc(since) if since else None,
        until_utc=utc(until) if until else None,
        accession_number=accession,
        patient_id=patient,
        study_instance_uid=study,
        ae_title=ae,
        event=AuditEvent(event) if event else None,
        outcome=Outcome(outcome) if outcome else None,
    )


def utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@contextmanager
def opened(config: Path | None, *, vouch: bool = True) -> Iterator[Store]:
    from hipnode import settings
    from hipnode.storage import Store

    store = Store.open(settings.load(config), vouch=vouch)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def output(path: Path | None) -> Iterator[Any]:
    if path is None:
        yield sys.stdout
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        yield file
