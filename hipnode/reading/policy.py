"""What a site wants to be read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """What the site wants to be read.

    ``minimum_age_years``: below it nothing is assessed (growth plates look like fractures).
    ``read_implants``: classify hips with metal too, which the models have not learned.
    ``covariate_days``: what was measured longer ago than this at the examination is not used.
    """

    minimum_age_years: float = 18.0
    read_implants: bool = False
    covariate_days: float = 365.0
