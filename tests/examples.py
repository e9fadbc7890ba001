"""How many examples a property is tried with: all of them, or (`make fast`) a few."""

from __future__ import annotations

import os
from typing import Final

PROFILE: Final = os.environ.get("HYPOTHESIS_PROFILE", "ci")
FEW: Final = 10


def examples(count: int) -> int:
    """Return ``count``, or the few that the profile ``fast`` allows."""
    return min(count, FEW) if PROFILE == "fast" else count
