"""Values from a CSV file: a row each, by accession number and patient ID."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from hipnode.domain import CovariateSource, Told
from hipnode.errors import InputRefused
from hipnode.services.covariates.values import Said, told
from hipnode.storage.ledger.covariates import Refused

_COLUMNS: Final = ("accession", "patient_id", "name", "value", "unit", "date")


def rows(
    lines: Sequence[str], name: str, given_by: str, now: datetime
) -> Iterator[tuple[int, Told | Refused]]:
    """Yield each row's number and its value, or why there is none.

    Parameters
    ----------
    lines
        Columns ``accession``, ``patient_id``, ``name``, ``value``, ``unit``, ``date``, divided by
        commas, semicolons or tabs. An empty value takes back what was told for that date, an empty
        date too all that was told. A file is a person's word: it outranks what comes by itself.
    name
        Of the file, for the audit log.
    given_by
        Who has it taken in.
    now
        When.

    Raises
    ------
    InputRefused
        If a column is missing.
    """
    try:
        first = lines[0] if lines else ""
        divider = max(",;\t", key=first.count)
        heads = [head.strip().strip('"').lower() for head in first.strip().split(divider)]
        if missing := [column for column in _COLUMNS if column not in heads]:
            raise InputRefused(f"The file has no column {', '.join(missing)}.")
        reader = csv.DictReader(lines[1:], fieldnames=heads, delimiter=divider)
        for number, given in enumerate(reader, 2):
            row = {k: (v or "").strip() for k, v in given.items() if isinstance(v, str) and k}
            values = [row.get(column, "") for column in _COLUMNS]
            if not any(values):
                continue
            accession, patient, covariate, value, unit, day = values
            said = Said(accession, (patient,), covariate, value, unit, day, corrected=True)
            made = told(said, CovariateSource.CSV, name, given_by, now)
            short = any(given.get(column) is None for column in _COLUMNS)
            if short and isinstance(made, Told):  # an empty value would take something back
                made = Refused(made, "the row has too few cells")
            yield number, made
    except csv.Error as error:
        raise InputRefused(f"The file is no CSV: {error}.") from error
