"""Which model set reports, where two people have said so: one proposes it, another confirms it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

ROLLED_BACK: Final = "rolled back"


class ChoiceState(StrEnum):
    """Where a proposal stands."""

    PROPOSED = "proposed"
    CONFIRMED = "confirmed"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Who:
    """A person as the desk knows them: ``subject`` is who, ``name`` how they are called."""

    subject: str
    name: str

    def is_same(self, other: Who) -> bool:
        """Tell whether two may be one person: the same account, or the same name."""
        mine = {self.subject.casefold(), self.name.casefold()}
        return bool(mine & {other.subject.casefold(), other.name.casefold()})


@dataclass(frozen=True, slots=True)
class Choice:
    """A proposal that a model set report, and what became of it.

    Attributes
    ----------
    reference, digest
        The set: as the settings name it, and what it was when it was proposed.
    of_file, of_file_digest
        What the settings' file named then as ``worker.model_set``, and its digest. The choice holds
        only as long as the file says the same.
    """

    id: int
    reference: str
    digest: str
    of_file: str
    of_file_digest: str
    state: ChoiceState
    proposed_by: Who
    proposed_utc: datetime
    reason: str
    decided_by: Who | None = None
    decided_utc: datetime | None = None
    decided_reason: str = ""

    @property
    def is_back(self) -> bool:
        """Whether it goes back to what the file says."""
        return self.digest == self.of_file_digest
