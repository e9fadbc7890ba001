"""From what somebody wrote to a value that a model can use, or why not: nothing is guessed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final

from hipnode.domain import COVARIATES, CovariateSource, Told
from hipnode.storage.ledger.covariates import Refused

_YES: Final = frozenset({"1", "y", "yes", "true", "ja", "j", "oui", "o"})
_NO: Final = frozenset({"0", "n", "no", "false", "nein", "non"})
_NUMBER: Final = re.compile(r"[+-]?\d{1,9}(\.\d{1,9})?", re.ASCII)
_MOMENT: Final = re.compile(
    r"(\d{4})-?(\d{2})-?(\d{2})"
    r"(?:[T ]?(\d{2})(?::?(\d{2})(?::?\d{2}(?:\.\d+)?)?)?)?(?:Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
_SHOWN: Final = re.compile(r"[<>=^~ ]{0,3}[\d.,+^-]{1,20}")
_UNIT: Final = re.compile(r"[A-Za-z0-9/%^.²µμ()-]{1,12}")
_LONGEST: Final = 200
_EARLIEST_YEAR: Final = 1900


@dataclass(frozen=True, slots=True)
class Said:
    """A value as it came, and where it stood."""

    accession_number: str
    patient_ids: tuple[str, ...]
    name: str  # of the covariate
    value: str  # "": taken back
    unit: str
    measured: str
    corrected: bool = False


def by_status(
    status: str, final: frozenset[str], takes_back: frozenset[str], value: str, why: str
) -> tuple[str, str]:
    """Return a value, and why it cannot be taken, as the status of its observation has it.

    Parameters
    ----------
    status
        As written there, no longer than any that is known.
    final, takes_back
        Those of a value that stands, and of one that does not any more.
    value, why
        As read, whatever the status.
    """
    if status in takes_back:
        return "", ""
    if status not in final:
        return value, f"status {status}: not final" if status else "no status"
    return value, why or ("" if value else "no value")


def told(
    said: Said, source: CovariateSource, message: str, given_by: str, now: datetime
) -> Told | Refused:
    """Return a value as it is kept, or why it cannot be.

    Parameters
    ----------
    said
        As it came.
    source, message, given_by
        Whence, in which message or file, from whom.
    now
        What is dated later than tomorrow is a slip of the pen.
    """
    measured = moment(said.measured)
    one = Told(
        accession_number=short(said.accession_number),
        patient_ids=tuple(dict.fromkeys(short(each) for each in said.patient_ids if each.strip())),
        name=short(said.name)[:48],
        value=None,
        measured=measured,
        source=source,
        given=_given(said.value, said.unit),
        message=short(message),
        given_by=short(given_by),
        corrected=said.corrected,
    )
    row = COVARIATES.get(one.name)
    if row is None or not row.told:
        return Refused(one, "there is no such covariate that may come from outside")
    if not one.accession_number:
        return Refused(one, "no accession number")
    if not one.patient_ids:
        return Refused(one, "no patient ID")
    if not measured and (said.value or said.measured):
        return Refused(one, "no date" if not said.measured else "no date that can be read")
    if measured and _day(measured) > now.date() + timedelta(days=1):
        return Refused(one, "it is dated in the future")
    if not said.value:
        return one
    value = _number(one.name, said.value, said.unit)
    if isinstance(value, str):
        return Refused(one, value)
    if not row.low <= value <= row.high:
        shown = f"{value:.4g} {row.unit} is out of range ({row.low:g} to {row.high:g})"
        return Refused(one, shown)
    return replace(one, value=value)


def consistent(found: Sequence[Told | Refused]) -> list[Told | Refused]:
    """Refuse what one message says twice of the same moment with different values."""
    values: dict[tuple[object, ...], set[float | None]] = {}
    for one in found:
        if isinstance(one, Told):
            values.setdefault(_moment_of(one), set()).add(one.value)
    return [
        Refused(one, "the message gives two values for it")
        if isinstance(one, Told) and len(values[_moment_of(one)]) > 1
        else one
        for one in found
    ]


def _moment_of(one: Told) -> tuple[object, ...]:
    return one.accession_number, one.patient_ids, one.name, one.measured, one.corrected


def moment(text: str) -> str:
    """Return a date, with the time if there is one, as ISO 8601; "" where it is none.

    What is written counts: a time zone does not move it to another day.
    """
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        return ""
    year, month, day, hour, minute = match.groups()
    try:
        made = datetime(  # noqa: DTZ001 - as written there
            int(year), int(month), int(day), int(hour or 0), int(minute or 0)
        )
    except ValueError:
        return ""
    if made.year < _EARLIEST_YEAR:
        return ""
    return made.isoformat(timespec="minutes") if hour else made.date().isoformat()


def _day(measured: str) -> date:
    return date.fromisoformat(measured[:10])


def _number(name: str, text: str, unit: str) -> float | str:
    """Return the value in the unit of its row, or why there is none."""
    row, text = COVARIATES[name], text.strip()
    if row.is_yes_or_no:
        word = text.lower()
        return 1.0 if word in _YES else 0.0 if word in _NO else "neither yes nor no"
    if not _NUMBER.fullmatch(text):
        return "not a plain number"
    known = unit.strip().replace(" ", "").replace("µ", "u").replace("μ", "u").lower()
    times = {row.unit.lower(): 1.0, **row.times}.get(known)
    if times is None:
        return "no unit" if not known else "a unit that is not known for it"
    value = float(text) * times
    return value if math.isfinite(value) else "not a plain number"


def _given(value: str, unit: str) -> str:
    """Return a value as it came for the audit log: text that is none could be a name."""
    value, unit = value.strip(), unit.strip()
    plain = not value or _SHOWN.fullmatch(value) or value.lower() in _YES | _NO
    known = not unit or _UNIT.fullmatch(unit)
    return f"{value if plain else '(text)'} {unit if known else '(text)'}".strip()


def short(text: str) -> str:
    """Return what a sender wrote as one line that every table holds."""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:_LONGEST]
