"""The node's test of its own way: a phantom goes to the PACS, and its report must come back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from hipnode.domain.images import Side

FRACTURES: Final = ("intracapsular", "trochanteric", "subtrochanteric")
WHOLE: Final = "no_fracture"
IMPLANT: Final = "implant"


@dataclass(frozen=True, slots=True)
class Matter:
    """What a day's phantom shows: ``label`` on ``side``; without a side, two whole hips."""

    label: str
    side: Side | None = None

    @property
    def word(self) -> str:
        """The matter as text; `matter` reads it."""
        return self.label if self.side is None else f"{self.label} {self.side.value}"


MATTERS: Final = (
    Matter(WHOLE),
    *(Matter(label, side) for label in FRACTURES for side in (Side.RIGHT, Side.LEFT)),
    Matter(IMPLANT, Side.RIGHT),
)


def matter_of(day: date) -> Matter:
    """Return what the phantom of a day shows.

    Eight days make a round: no fracture, each kind of fracture on each side, an implant (on the
    other side in the next round). So each weekday has had all of them after eight weeks.
    """
    turn, at = divmod(day.toordinal(), len(MATTERS))
    found = MATTERS[at]
    return Matter(IMPLANT, Side.LEFT) if found.label == IMPLANT and turn % 2 else found


def matter(word: str) -> Matter:
    """Return what a word stands for."""
    label, _, side = word.partition(" ")
    return Matter(label, Side(side) if side else None)


class SelfTestState(StrEnum):
    """Where a self-test stands."""

    ASKED = "asked"  # to be made and sent
    SENT = "sent"  # the PACS has it; the rest is awaited
    PASSED = "passed"
    MISSED = "missed"


OPEN: Final = (SelfTestState.ASKED, SelfTestState.SENT)


@dataclass(frozen=True, slots=True)
class SelfTest:
    """One self-test: what was sent, and when it came past each step.

    Attributes
    ----------
    day, number
        Together they decide the image; 0 is the one that is made by the clock.
    study_uid, series_uid, sop_uid
        Of the image: made by this node, by chance, before anything is sent.
    pixels
        SHA-256 of the image as the node itself decodes it; "" before it is made.
    digests
        BLAKE3 of the files that came back under ``sop_uid`` with that image in them.
    said
        What was read, in words; ``is_right``: whether that is what the image shows.
    why
        Why it was missed, or what it waits for.
    """

    id: int
    day: date
    number: int
    matter: str
    state: SelfTestState
    asked_by: str
    asked_utc: datetime
    study_uid: str
    series_uid: str
    sop_uid: str
    pixels: str = ""
    digests: tuple[str, ...] = ()
    sent_utc: datetime | None = None
    came_utc: datetime | None = None
    read_utc: datetime | None = None
    said: str = ""
    is_right: bool = False
    delivered_utc: datetime | None = None
    seen_utc: datetime | None = None
    ended_utc: datetime | None = None
    why: str = ""
    withdrawn_utc: datetime | None = None
    not_withdrawn: str = ""  # why

    @property
    def accession_number(self) -> str:
        """Its accession number: short enough for the VR SH."""
        return f"HST-{self.day:%y%m%d}-{self.number:02d}"[:16]
