"""Values from a CSV file: a row each, by accession number and patient ID."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from hipnode import tables
from hipnode.domain import CovariateSource, Told
from hipnode.services.covariates.values import Said, told
from hipnode.storage.ledger.covariates import Refused

_COLUMNS: Final = ("accession", "patient_id", "name", "value", "unit", "date")


def rows(file: Path, given_by: str, now: datetime) -> Iterator[tuple[int, Told | Refused]]:
    """Yield each row's line and its value, or why there is none.

    Parameters
    ----------
    file
        Columns ``accession``, ``patient_id``, ``name``, ``value``, ``unit``, ``date``, as
        `hipnode.tables` reads them. An empty value takes back what was told for that date, an empty
        date too all that was told. A file is a person's word: it outranks what comes by itself.
    given_by
        Who has it taken in.
    now
        When.

    Raises
    ------
    InputRefused
        If it cannot be read, or a column is missing.
    """
    table = tables.read(file, str.lower)
    table.need(*_COLUMNS)
    for row in table.rows:
        values = [row.cells.get(column, "") for column in _COLUMNS]
        if not any(values) and not row.is_too_long:
            continue
        accession, patient, covariate, value, unit, day = values
        said = Said(accession, (patient,), covariate, value, unit, day, corrected=True)
        made = told(said, CovariateSource.CSV, file.name, given_by, now)
        if row.is_too_long:
            one = made.told if isinstance(made, Refused) else made
            made = Refused(one, "the row has more cells than the header")
        elif isinstance(made, Told) and any(column not in row.cells for column in _COLUMNS):
            made = Refused(made, "the row has too few cells")  # "" would take something back
        yield row.line, made
