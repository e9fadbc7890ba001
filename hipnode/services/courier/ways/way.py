"""What a way to a destination is: opened when there is something to send, reused, closed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

SR_CLASSES: Final = {
    "comprehensive-3d": "1.2.840.10008.5.1.4.1.1.88.34",
    "comprehensive": "1.2.840.10008.5.1.4.1.1.88.33",
}


class Answer(Enum):
    """What a destination's answer means for a delivery."""

    TAKEN = "taken"
    CLASS_REFUSED = "class_refused"  # not in this SOP Class
    BUSY = "busy"  # everything for it waits, and no attempt counts
    REFUSED = "refused"  # this object: tried again, then quarantined


@dataclass(frozen=True, slots=True)
class Reply:
    """What a destination answered; ``status`` in its own words, for the audit log."""

    answer: Answer
    status: str


class MessageWay:
    """What the ways of messages have in common: no DICOM object, and nothing that is held open."""

    @property
    def is_open(self) -> bool:
        return False

    def open(self) -> None:
        """Nothing is held open."""

    def accepts(self, sop_class_uid: str) -> bool:
        """Tell whether it is no DICOM object."""
        return not sop_class_uid


class Way(Protocol):
    """A way to one destination. What is sent twice is known by its identifier as the same."""

    @property
    def is_open(self) -> bool:
        """Whether something is held open that should be closed when idle."""

    def open(self) -> None:
        """Get ready to send.

        Raises
        ------
        DestinationUnreachable
            If the destination does not answer, or wants nothing of ours.
        """

    def accepts(self, sop_class_uid: str) -> bool:
        """Tell whether the open way takes objects of a SOP Class ("" is no DICOM object)."""

    def send(self, path: Path) -> Reply:
        """Send what is in a file, and return what was answered.

        Raises
        ------
        DestinationUnreachable
            If no answer comes.
        """

    def close(self) -> None:
        """Let go of what is held open."""
