"""What bounds of an option let through."""

from __future__ import annotations

import math

import typer


def number(value: float | None) -> float | None:
    """Refuse NaN, which is neither below nor above a bound; an option's ``callback``."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is no number")
    return value
