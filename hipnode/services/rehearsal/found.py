"""What came of trying one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Found:
    """What was tried, and what came of it."""

    state: Literal["ok", "advice", "FAULT"]
    what: str
    says: str

    @property
    def is_fault(self) -> bool:
        """Whether somebody has to mend it before the node can do its work."""
        return self.state == "FAULT"
