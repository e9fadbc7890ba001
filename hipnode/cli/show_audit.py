"""Records of the audit log for a person at 80 columns, and for a pipe."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Final

import typer

from hipnode.cli.show import plain, spreadsheet

if TYPE_CHECKING:
    from hipnode.storage import AuditEntry

_HEADINGS: Final = (
    "no.", "time (UTC)", "event", "outcome", "accession", "patient", "study", "object", "peer",
    "detail",
)  # fmt: skip


def print_heading() -> None:
    """Begin the list: in a pipe, the names of the columns."""
    if not sys.stdout.isatty():
        typer.echo("\t".join(_HEADINGS))


def print_entry(entry: AuditEntry) -> None:
    """Print a record: in a pipe one line with tabs, whole; on a terminal lines of its width."""
    record = entry.record
    when = entry.at_utc.strftime("%Y-%m-%d %H:%M:%S")
    first = (str(entry.id), when, record.event.value, record.outcome.value)
    who = record.ae_title or record.actor
    of = (record.accession_number, record.patient_id, record.study_instance_uid)
    if not sys.stdout.isatty():
        detail = json.dumps(record.detail, ensure_ascii=False)
        rest = (*of, record.sop_instance_uid, who, detail)
        typer.echo("\t".join((*first, *map(spreadsheet, rest))))
        return
    typer.echo("  ".join(first))
    said = [
        f"{name} {value}" for name, value in zip(("accession", "patient", "study"), of, strict=True)
    ]
    facts = [text for text, value in zip(said, of, strict=True) if value]
    facts += [f"object {record.sop_instance_uid}"] * bool(record.sop_instance_uid)
    facts += [f"peer {who}"] * bool(who)
    for text in (", ".join(facts), _short(record.detail)):
        if text:
            typer.echo(textwrap.fill(plain(text), _width(), **_INDENTED))


_INDENTED: Final[dict[str, Any]] = {
    "initial_indent": "    ",
    "subsequent_indent": "    ",
    "break_on_hyphens": False,
}
_SHORT: Final = 300


def _short(detail: dict[str, Any]) -> str:
    """Return the detail in a few lines; `hipnode audit show` has all of it."""
    text = ", ".join(f"{name}={value}" for name, value in detail.items())
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."


def _width() -> int:
    return max(40, shutil.get_terminal_size().columns)
