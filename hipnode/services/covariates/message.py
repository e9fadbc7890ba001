"""Values from an HL7 v2 ORU^R01: each OBX whose code the settings name.

References
----------
HL7 v2.5.1, 7.3.1 (ORU^R01), 7.4.2 (OBX), 2.A.47 (NM), 2.A.72 (SN), 3.4.2 (PID), table 0085.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hipnode.services.covariates.values import Said, by_status

_FINAL: Final = frozenset({"F", "C", "U"})
_TAKES_BACK: Final = frozenset({"D", "W"})  # deleted; wrong (another patient's, say)
_RIGHT: Final = frozenset({"C", "D", "W"})


@dataclass(slots=True)
class _Order:
    """What comes before an OBX and holds for it."""

    patient_ids: tuple[str, ...] = ()
    accessions: tuple[str, ...] = ()
    measured: str = ""
    status: str = ""
    said: list[tuple[Said, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Order:
    """The values of one order: of which examination (the first of these that is known), of whom."""

    accessions: tuple[str, ...]
    said: tuple[tuple[Said, str], ...]  # each with why it cannot be taken, or ""


def orders(message: Any, codes: Mapping[str, str]) -> Iterator[Order]:
    """Yield what each order of a message says of covariates.

    Parameters
    ----------
    message
        As `hl7.parse` returns it.
    codes
        Names of covariates by scheme:value (OBX-3).
    """
    order = _Order()
    for segment in message:
        match str(segment(0)):
            case "PID":
                yield from _ended(order)
                order = _Order(patient_ids=_identifiers(segment, 3))
            case "ORC" | "OBR" as kind:
                yield from _ended(order)
                order = _Order(patient_ids=order.patient_ids)
                if kind == "OBR":
                    numbers = (_first(segment, 18), _first(segment, 3), _first(segment, 2))
                    order.accessions = tuple(dict.fromkeys(filter(None, numbers)))
                    order.measured, order.status = _first(segment, 7), _first(segment, 25)
            case "IPC":
                if number := _first(segment, 1):
                    order.accessions = tuple(dict.fromkeys((number, *order.accessions)))
            case "OBX":
                if name := named(segment, codes):
                    order.said.append(_said(message, segment, name, order))
    yield from _ended(order)


def _ended(order: _Order) -> Iterator[Order]:
    if order.said:
        yield Order(order.accessions, tuple(order.said))


def named(segment: Any, codes: Mapping[str, str]) -> str:
    """Return which covariate an OBX is of, by either of the codes that OBX-3 can hold."""
    parts = [*_components(text(segment, 3).split(_repeats(segment))[0], segment), *[""] * 6]
    pairs = ((parts[2], parts[0]), (parts[5], parts[3]))
    return next((codes[key] for s, v in pairs if (key := f"{s}:{v}") in codes), "")


def _said(message: Any, segment: Any, name: str, order: _Order) -> tuple[Said, str]:
    status = (_first(segment, 11) or order.status)[:2]
    value, why = by_status(status, _FINAL, _TAKES_BACK, *_value(message, segment))
    said = Said(
        accession_number="",  # `take` chooses it
        patient_ids=order.patient_ids,
        name=name,
        value=value,
        unit=message.unescape(_first(segment, 6)),
        measured=_first(segment, 14) or order.measured,
        corrected=status in _RIGHT,
    )
    return said, why


def _value(message: Any, segment: Any) -> tuple[str, str]:
    """Return the value as text, or why there is none that is one value."""
    whole = text(segment, 5)
    if _repeats(segment) in whole:
        return whole, "several values"
    kind = _first(segment, 2)
    parts = [message.unescape(part) for part in _components(whole, segment)]
    if kind == "SN":  # comparator, number, separator, number
        comparator, number, *rest = [*parts, ""]
        if comparator.strip() not in {"", "="} or any(part.strip() for part in rest):
            return whole, "a range, and no value"
        return number.strip(), ""
    if kind in {"NM", "ST", "CE", "CWE", "ID", "IS", "CNE", "TX"}:
        return parts[0].strip(), ""
    return whole, f"values of type {kind[:3] or 'none'} are not read"


def _identifiers(segment: Any, number: int) -> tuple[str, ...]:
    """Return the first component of each repetition of a field."""
    repetitions = text(segment, number).split(_repeats(segment))
    found = (_components(each, segment)[0].strip() for each in repetitions)
    return tuple(dict.fromkeys(filter(None, found)))


def _first(segment: Any, number: int) -> str:
    first = text(segment, number).split(_repeats(segment))[0]
    return _components(first, segment)[0].strip()


def _components(field_: str, segment: Any) -> list[str]:
    return field_.split(segment.separators[3])


def _repeats(segment: Any) -> str:
    """Return what divides repetitions: MSH-2 says it (HL7 v2.5.1, 2.5.4)."""
    return str(segment.separators[2])


def text(segment: Any, number: int) -> str:
    """Return a field as it is written; "" where the segment ends before it."""
    try:
        return str(segment(number))
    except (IndexError, KeyError):
        return ""
