"""What is known about a patient beside the image: names, units, ranges; and values that came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final


class CovariateSource(StrEnum):
    """Whence a value came."""

    HEADER = "header"  # the image's own
    CSV = "csv"
    ORU = "oru"  # HL7 v2
    FHIR = "fhir"


@dataclass(frozen=True, slots=True)
class CovariateRow:
    """One covariate.

    Attributes
    ----------
    words
        What people call it.
    unit
        In which networks take it (UCUM); empty for yes (1) and no (0).
    low, high
        What is beyond them is a slip of the pen or of the unit, and not used.
    times
        What a value in another unit is multiplied by, by that unit in lower case.
    told
        Whether it may come from outside; the others stand in the header alone.
    """

    words: str
    unit: str
    low: float
    high: float
    times: Mapping[str, float] = field(default_factory=dict)
    told: bool = True

    @property
    def is_yes_or_no(self) -> bool:
        """Whether it is a fact and no measurement."""
        return not self.unit and self.told


COVARIATES: Final[Mapping[str, CovariateRow]] = {
    "age": CovariateRow("age", "a", 0, 130, told=False),
    "sex": CovariateRow("sex", "", 0, 1, told=False),
    "bmi": CovariateRow("body mass index", "kg/m2", 8, 90, {"kg/m^2": 1, "kg/m²": 1}),
    "height_m": CovariateRow("height", "m", 0.9, 2.5, {"cm": 0.01}),
    "hip_fracture_history": CovariateRow("history of hip fracture", "", 0, 1),
    "vitamin_d_ng_ml": CovariateRow(
        "vitamin D", "ng/mL", 1, 200, {"ug/l": 1, "ng/dl": 0.01, "nmol/l": 1 / 2.496}
    ),
    "calcium_mg_dl": CovariateRow(
        "calcium", "mg/dL", 3, 20, {"mmol/l": 4.008, "mg/l": 0.1, "meq/l": 2.004}
    ),
    "alm_bmi": CovariateRow(
        "appendicular lean mass by BMI", "m2", 0.1, 2.0, {"m^2": 1, "m²": 1, "kg/(kg/m2)": 1}
    ),
}
"""By a model's name for it.

One mmol/L of calcium is 4.008 mg/dL (40.08 g/mol, two charges); one ng/mL of 25-hydroxyvitamin D is
2.496 nmol/L (400.6 g/mol). Appendicular lean mass in kg by kg/m2 leaves m2.
"""


@dataclass(frozen=True, slots=True)
class Covariate:
    """A value that a model was given: in the unit of its row, with its source and its date.

    ``measured`` is a day (``2026-11-21``); empty for what the header says of the day itself.
    """

    name: str
    value: float
    unit: str
    source: CovariateSource
    measured: str = ""
    id: int = 0  # of the row that it came as; 0 for the header's

    @property
    def in_words(self) -> str:
        """The value as people read it: ``vitamin D 24.1 ng/mL of 2026-10-01``."""
        row = COVARIATES[self.name]
        if self.name == "sex":
            shown = "male" if self.value else "female"
        elif row.is_yes_or_no:
            shown = "yes" if self.value else "no"
        else:
            shown = f"{self.value:.4g} {'years' if self.unit == 'a' else self.unit}"
        return f"{row.words} {shown}{f' of {self.measured}' if self.measured else ''}"


@dataclass(frozen=True, slots=True)
class Unused:
    """A value that was known and not used, and why."""

    name: str
    reason: str
    id: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """A value that came from outside, for one examination of one patient.

    Attributes
    ----------
    accession_number, patient_ids
        Of which examination, and whose: all the identifiers that came with it.
    name, value
        The covariate, in the unit of its row; None takes back what was told before.
    measured
        When, as written there (ISO 8601, a day or a moment of it); a day is enough. Empty where all
        of the covariate's values are taken back.
    corrected
        Whether it puts an earlier one right, and so outranks it whenever that comes again.
    given
        The value and unit as they came.
    source, message, given_by
        Whence, in which message or file, by whom.
    """

    accession_number: str
    patient_ids: tuple[str, ...]
    name: str
    value: float | None
    measured: str
    source: CovariateSource
    given: str = ""
    message: str = ""
    given_by: str = ""
    corrected: bool = False
    came_utc: datetime | None = None
    id: int = 0
