"""Clinical data for the models that want them, as far as an image's header has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hipnode.domain import Header


def _sex(header: Header) -> float | None:
    return {"M": 1.0, "F": 0.0}.get(header.patient_sex.upper())


def _bmi(header: Header) -> float | None:
    if header.size_m is None or header.weight_kg is None:
        return None
    return header.weight_kg / header.size_m**2


KNOWN: Final[dict[str, tuple[str, Callable[[Header], float | None]]]] = {
    "age": ("age", lambda header: header.age_years),
    "sex": ("sex", _sex),
    "bmi": ("body mass index", _bmi),
    "height_m": ("height", lambda header: header.size_m),
}
"""By a model's name for it: what people call it, and how the header tells it (PS3.3 C.7.2.2)."""


def value(header: Header, name: str) -> float | None:
    """Return one covariate in plain units, or None where the header does not tell it."""
    return KNOWN[name][1](header) if name in KNOWN else None


def missing(header: Header, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of these covariates the header does not tell.

    Parameters
    ----------
    header
        Of the image.
    names
        As in a bundle's ``covariates``; a man's sex counts 1, a woman's 0. Nothing is guessed:
        a hip fracture in the past, or a blood level, stands nowhere in a header.

    References
    ----------
    Yamamoto 2020, 2.7 (age, sex, BMI, history of hip fracture).
    """
    return tuple(name for name in names if value(header, name) is None)


def values(header: Header, names: tuple[str, ...]) -> tuple[float, ...]:
    """Return the covariates that the header tells, in the order of their names."""
    return tuple(known for name in names if (known := value(header, name)) is not None)


def in_words(names: tuple[str, ...]) -> str:
    """Return covariates as a person would list them."""
    words = [KNOWN[name][0] if name in KNOWN else name.replace("_", " ") for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
