"""Values in a CSV file: taken as spreadsheets write them, refused where they cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hipnode.domain import Told
from hipnode.errors import InputRefused
from hipnode.services.covariates import table
from hipnode.storage.ledger.covariates import Refused
from tests.unit.test_covariates import NOW

HEAD = "accession,patient_id,name,value,unit,date\n"


def rows(tmp_path: Path, text: str) -> list[tuple[int, Any]]:
    (tmp_path / "file.csv").write_text(text, encoding="utf-8")
    return list(table.rows(tmp_path / "file.csv", "who", NOW))


@pytest.mark.parametrize("divider", [",", ";", "\t"])
def test_a_csv_file_is_taken_as_spreadsheets_write_it(tmp_path: Path, divider: str) -> None:
    text = HEAD + "A-99,P-17,bmi,24.1,kg/m2,2026-11-01\n,,,,,\n"
    ((number, made),) = rows(tmp_path, text.replace(",", divider))
    assert number == 2
    assert isinstance(made, Told)
    assert (made.value, made.corrected) == (24.1, True)


def test_a_row_that_is_cut_short_takes_nothing_back(tmp_path: Path) -> None:
    ((_, made),) = rows(tmp_path, HEAD + "A-99,P-17,bmi\n")
    assert isinstance(made, Refused)
    assert made.reason == "the row has too few cells"
    ((_, back),) = rows(tmp_path, HEAD + "A-99,P-17,bmi,,,2026-11-01\n")
    assert isinstance(back, Told)
    assert (back.value, back.measured) == (None, "2026-11-01")


def test_a_decimal_comma_does_not_change_a_value(tmp_path: Path) -> None:
    text = HEAD + "A-99,P-17,bmi,24,5,kg/m2,2026-11-01\n\nA-99,P-17,bmi,24.5,kg/m2,2026-11-01\n"
    (cut, made), (line, whole) = rows(tmp_path, text)
    assert (cut, made.reason) == (2, "the row has more cells than the header")
    assert (line, whole.value) == (4, 24.5)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HEAD.replace("patient_id,", ""), "no column patient_id"),
        (HEAD.replace("unit", "value"), "two columns 'value'"),
        (HEAD + 'A-99,P-17,bmi,24.1,"kg/m2,2026-11-01\nA-99,P-17,bmi,25,kg/m2,x\n', "line 2"),
    ],
)
def test_a_csv_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InputRefused, match=why):
        rows(tmp_path, text)
