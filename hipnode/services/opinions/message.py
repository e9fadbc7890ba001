"""An HL7 v2 message with a final report, read; and its acknowledgment.

References
----------
HL7 v2.5.1, 7.3.1 (ORU^R01), 7.4.1 (OBR), 7.4.2 (OBX), 2.9.2 (original acknowledgment), 2.15.8
(MSA), 2.15.5 (ERR), table 0085 (result status), 0123 (OBR status), 0211 (character sets), 0357.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import hl7

from hipnode.errors import InputRefused
from hipnode.services.covariates.message import Order, named, orders

_FINAL: Final = frozenset({"F", "C"})
"""OBR-25 and OBX-11: final, and corrected; all else is not what the physician has signed."""
_TEXT: Final = frozenset({"TX", "FT", "ST", ""})
_CHARACTER_SETS: Final = {
    "ASCII": "ascii", "UNICODE UTF-8": "utf-8", "UTF-8": "utf-8",
    **{f"8859/{n}": f"iso8859-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
}  # fmt: skip
"""MSH-18 (table 0211)."""
_BREAK: Final = re.compile(r"\\\.(?:br|sp\d*)\\|~")
_MOST: Final = 200


class MessageRefused(InputRefused):
    """The message cannot be taken: ``code`` says so in MSA-1, ``condition`` in ERR-3 (0357)."""

    def __init__(self, code: str, condition: str, where: str, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.condition = condition
        self.where = where
        self.why = why


@dataclass(frozen=True, slots=True)
class FinalReport:
    """A final report: of which examination, by whom, in which words."""

    control_id: str
    accessions: tuple[str, ...]
    patient_id: str
    signed_by: str
    text: str


@dataclass(frozen=True, slots=True)
class Heading:
    """What an acknowledgment repeats of a message, as far as that could be read."""

    control_id: str = ""
    application: str = ""
    facility: str = ""
    processing_id: str = "P"


def heading(content: bytes) -> Heading:
    """Return the heading of a message, whatever else is wrong with it."""
    first = content.partition(b"\r")[0].decode("ascii", "replace")
    if not first.startswith("MSH") or len(first) < 4:
        return Heading()
    fields = [_plain(field) for field in first.split(first[3])] + [""] * 12
    return Heading(fields[9], fields[2], fields[3], fields[10] or "P")


def _plain(text: str) -> str:
    return "".join(c for c in text[:_MOST] if c.isprintable() and c not in "\ufffd")


def read(
    content: bytes, character_set: str, codes: Mapping[str, str] = MappingProxyType({})
) -> tuple[list[FinalReport], list[Order]]:
    """Return the final reports of a message, and what it says of covariates.

    Parameters
    ----------
    content
        As it came.
    character_set
        What it is in where it does not say (a code of table 0211).
    codes
        Names of covariates by scheme:value; what they name is no text of a report.

    Raises
    ------
    MessageRefused
        If it is not what it should be.
    """
    try:
        message = _parsed(content, character_set)
        return list(_read(message, codes)), list(orders(message, codes))
    except MessageRefused:
        raise
    except Exception as error:  # the parser raises whatever it meets
        raise MessageRefused("AE", "100", "MSH^1", "no HL7 v2 message") from error


def _read(message: Any, codes: Mapping[str, str]) -> Iterator[FinalReport]:
    kind = _field(message["MSH"][0], 9).split("^")[:2]
    if kind != ["ORU", "R01"]:
        raise MessageRefused("AR", "200", "MSH^1^9", "unsupported message type")
    if not _field(message["MSH"][0], 10):
        raise MessageRefused("AR", "101", "MSH^1^10", "no message control ID")
    segments = [(str(segment(0)), segment) for segment in message]
    if not any(name == "OBR" for name, _ in segments):
        raise MessageRefused("AE", "100", "OBR^1", "no OBR segment")
    patient = None
    for number, (name, segment) in enumerate(segments):
        if name == "PID":  # a message may speak of several patients, one after the other
            patient = segment
        if name == "OBR":
            following = _of_this_order(segments[number + 1 :])
            following = [each for each in following if not _is_value(each, codes)]
            if report := _report(message, patient, segment, following):
                yield report


def _parsed(content: bytes, character_set: str) -> Any:
    try:
        first = content.decode("latin-1").partition("\r")[0]
        named = first.split(first[3])[17] if first.count(first[3]) >= 17 else ""
        known = (named.partition("~")[0] or character_set).upper()
        if known not in _CHARACTER_SETS:
            raise MessageRefused("AR", "103", "MSH^1^18", "unsupported character set")
        return hl7.parse(content.decode(_CHARACTER_SETS[known]).replace("\r\n", "\r").strip("\r"))
    except UnicodeDecodeError as error:
        raise MessageRefused("AE", "102", "MSH^1^18", "not in its character set") from error


def _of_this_order(segments: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    end = next((n for n, (name, _) in enumerate(segments) if name in {"OBR", "ORC", "PID"}), None)
    return segments[:end]


def _is_value(one: tuple[str, Any], codes: Mapping[str, str]) -> bool:
    return one[0] == "OBX" and bool(named(one[1], codes))


def _report(
    message: Any, patient: Any, order: Any, following: list[tuple[str, Any]]
) -> FinalReport | None:
    if _field(order, 25) not in _FINAL:
        return None
    lines = []
    for name, segment in following:
        status = _field(segment, 11)
        if name == "OBX" and _field(segment, 2) in _TEXT and (not status or status in _FINAL):
            lines += _BREAK.split(_field(segment, 5))
    study = next((s for name, s in following if name == "IPC"), None)
    numbers = (
        _component(study, 1) if study is not None else "",
        _component(order, 18),
        _component(order, 3),
        _component(order, 2),
    )
    signer = _field(order, 32).split("^")
    return FinalReport(
        control_id=_field(message["MSH"][0], 10)[:_MOST],
        accessions=tuple(dict.fromkeys(filter(None, numbers))),
        patient_id=_component(patient, 3) if patient is not None else "",
        signed_by=" ".join(filter(None, (part.split("&")[0] for part in signer[:1]))),
        text="\n".join(message.unescape(line) for line in lines),
    )


def _field(segment: Any, number: int) -> str:
    try:
        return str(segment(number))
    except (IndexError, KeyError):
        return ""


def _component(segment: Any, number: int) -> str:
    """Return the first component of the first repetition of a field."""
    return _field(segment, number).split("~")[0].split("^")[0].strip()


def acknowledgment(
    of: Heading, node: str, now: datetime, refused: MessageRefused | None = None
) -> bytes:
    """Return the answer to a message: AA, or why it was not taken.

    Parameters
    ----------
    of
        The message.
    node
        Who answers.
    now
        When.
    refused
        What is wrong with it.
    """
    moment = now.strftime("%Y%m%d%H%M%S%z")
    code = refused.code if refused else "AA"
    to = f"{of.application}|{of.facility}"
    kind = f"ACK^R01^ACK|{now:%Y%m%d%H%M%S%f}|{of.processing_id}|2.5.1"
    segments = [
        f"MSH|^~\\&|{node}||{to}|{moment}||{kind}||||||UNICODE UTF-8",
        f"MSA|{code}|{of.control_id}",
    ]
    if refused:
        segments.append(f"ERR||{refused.where}|{refused.condition}^{refused.why}^HL70357|E")
    return "".join(f"{segment}\r" for segment in segments).encode()
