"""Clinical data for the models that want them: the header's, and what came for the examination."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from hipnode.domain import COVARIATES, Covariate, CovariateSource, Header, Told, Unused


def _sex(header: Header) -> float | None:
    return {"M": 1.0, "F": 0.0}.get(header.patient_sex.upper())


def _bmi(header: Header) -> float | None:
    if header.size_m is None or header.weight_kg is None:
        return None
    return header.weight_kg / header.size_m**2


HEADER: Final[dict[str, Callable[[Header], float | None]]] = {
    "age": lambda header: header.age_years,
    "sex": _sex,
    "bmi": _bmi,
    "height_m": lambda header: header.size_m,
}
"""How the header tells a covariate (PS3.3 C.7.2.2); a man's sex counts 1, a woman's 0."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a patient, as far as a model asks: used, or not and why."""

    used: tuple[Covariate, ...]
    unused: tuple[Unused, ...]
    missing: tuple[str, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """The values in the order in which they were asked for."""
        return tuple(each.value for each in self.used)


def known(header: Header, names: Sequence[str], told: Sequence[Told], max_age_days: float) -> Known:
    """Return what is known of these covariates, and may be used.

    Parameters
    ----------
    header
        Of the image; what it says itself comes first.
    names
        As in a bundle's ``covariates``.
    told
        What came for the examination from outside, whoever's it is.
    max_age_days
        A measurement that is older at the examination is not used. That a hip was broken once
        never ages.

    References
    ----------
    Yamamoto 2020, 2.7 (age, sex, BMI, history of hip fracture); DXA 2023, Integration of clinical
    data (vitamin D, calcium, height, ALM/BMI).
    """
    used: list[Covariate] = []
    unused: list[Unused] = []
    for name in names:
        found = _of_header(header, name)
        if not isinstance(found, Covariate):
            outside = _of_told(header, name, told, max_age_days)
            unused += [each for each in (found, outside) if isinstance(each, Unused)]
            found = outside
        if isinstance(found, Covariate):
            used.append(found)
    have = {each.name for each in used}
    return Known(tuple(used), tuple(unused), tuple(name for name in names if name not in have))


def _of_header(header: Header, name: str) -> Covariate | Unused | None:
    value = HEADER[name](header) if name in HEADER else None
    if value is None:
        return None
    row = COVARIATES[name]
    if not row.low <= value <= row.high:
        return Unused(name, f"{value:.4g} {row.unit} in the header is out of range")
    return Covariate(name, value, row.unit, CovariateSource.HEADER)


def _of_told(
    header: Header, name: str, told: Sequence[Told], max_age_days: float
) -> Covariate | Unused | None:
    """Return the newest value of the day of the examination or before it, or why there is none."""
    here = [each for each in told if each.name == name]
    if not here:
        return None
    mine = [each for each in here if header.patient_id and header.patient_id in each.patient_ids]
    if not mine:
        return Unused(name, "it came with another patient's number", here[-1].id)
    standing = _standing(mine)
    if not standing:
        return Unused(name, "it was taken back", mine[-1].id)
    if not header.study_date:
        return Unused(name, "the image does not say of which day it is", standing[-1].id)
    before = [each for each in standing if each.measured[:10] <= header.study_date]
    if not before:
        return Unused(name, "it is of after the examination", standing[-1].id)
    newest = max(before, key=lambda each: (each.measured, each.id))
    return _fit(header, newest, before, max_age_days)


def _fit(
    header: Header, newest: Told, before: Sequence[Told], max_age_days: float
) -> Covariate | Unused:
    row, value = COVARIATES[newest.name], newest.value
    if value is None or not row.low <= value <= row.high:
        return Unused(newest.name, "it is out of range", newest.id)
    day = newest.measured[:10]
    if row.is_yes_or_no and not value and any(each.value for each in before):
        return Unused(newest.name, "it was told as yes before, and as no later", newest.id)
    lasts = row.is_yes_or_no and bool(value)
    days = (date.fromisoformat(header.study_date) - date.fromisoformat(day)).days
    if days > max_age_days and not lasts:
        return Unused(newest.name, f"it was {days} days old at the examination", newest.id)
    return Covariate(newest.name, value, row.unit, newest.source, day, newest.id)


def _standing(mine: Sequence[Told]) -> list[Told]:
    """Return what nothing has put right or taken back: what comes again after that stays so."""
    right = [each for each in mine if each.corrected or each.value is None]

    def stands(one: Told) -> bool:
        return not any(
            one.measured.startswith(each.measured)
            and (one.id < each.id or (bool(each.measured) and not one.corrected))
            for each in right
        )

    return [each for each in mine if each.value is not None and stands(each)]


def in_words(names: Sequence[str]) -> str:
    """Return covariates as a person would list them."""
    words = [
        COVARIATES[name].words if name in COVARIATES else name.replace("_", " ") for name in names
    ]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
