"""What a form asks for, read from the address: moments, places, filters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hipnode.domain import AuditEvent, Outcome
from hipnode.errors import InputRefused
from hipnode.services.desk.visit import Visit
from hipnode.storage import Asked, AuditFilter

_US = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def day(visit: Visit, name: str, *, end: bool = False) -> datetime | None:
    """Return the begin of a day in the site's time zone, or (``end``) of the one after it.

    Raises
    ------
    InputRefused
        If it is no day.
    """
    text = visit.query.get(name, "")
    if not text:
        return None
    try:
        chosen = date.fromisoformat(text) + timedelta(days=1 if end else 0)
        zone = ZoneInfo(visit.settings.desk.timezone)
        return datetime.combine(chosen, time(), zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputRefused("A day is written as 2026-11-28.") from error


def written(moment: datetime, name: object) -> str:
    """Return a place in a list as an address has it."""
    return f"{(moment - _EPOCH) // _US}_{name}"


def place(text: str) -> tuple[datetime, str] | None:
    """Return the place that an address names.

    Raises
    ------
    InputRefused
        If it names none.
    """
    if not text:
        return None
    moment, _, name = text.partition("_")
    try:
        return _EPOCH + int(moment) * _US, name
    except (ValueError, OverflowError) as error:
        raise InputRefused("There is no such place in the list.") from error


def numbered(text: str) -> tuple[datetime, int] | None:
    """Return the place in the log that an address names; see `place`."""
    found = place(text)
    if found is None:
        return None
    if not (found[1].isascii() and found[1].isdecimal()) or len(found[1]) > 18:
        raise InputRefused("There is no such place in the list.")
    return found[0], int(found[1])


def of_log(visit: Visit) -> Asked:
    """Return what is asked of the log.

    Raises
    ------
    InputRefused
        If there is no such event, outcome or day.
    """
    given: Mapping[str, str] = visit.query
    try:
        event = AuditEvent(given["event"]) if given.get("event") else None
        outcome = Outcome(given["outcome"]) if given.get("outcome") else None
    except ValueError as error:
        raise InputRefused("There is no such event or outcome.") from error
    return Asked(
        AuditFilter(
            since_utc=day(visit, "since"),
            until_utc=day(visit, "until", end=True),
            accession_number=given.get("accession") or None,
            patient_id=given.get("patient") or None,
            study_instance_uid=given.get("study") or None,
            ae_title=given.get("ae") or None,
            event=event,
            outcome=outcome,
        ),
        actor=given.get("actor", ""),
        words=given.get("words", ""),
        object_uid=given.get("object", ""),
    )
