"""What an option's value is checked for, beyond what its type says: ``callback`` of an option."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import typer


def number(value: float | None) -> float | None:
    """Refuse NaN, which is neither below nor above a bound."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is no number")
    return value


def device_of(*names: str) -> Callable[[str], str]:
    """Return the check of an option ``--device``: it is one of these names, or a GPU."""

    def check(device: str) -> str:
        if device not in names and not re.fullmatch(r"cuda(:\d{1,3})?", device):
            raise typer.BadParameter(f"{device!r} is none of {', '.join(names)}, cuda")
        return device

    return check
