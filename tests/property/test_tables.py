"""Whatever a table holds is read as it was written; whatever a file holds is a table or refused."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hipnode.errors import ManifestInvalid
from hipnode.tables import read

CELLS = st.text(st.sampled_from('abR1é.,;\t"\n '), max_size=6)
PIECES = st.sampled_from([b"a", b"b", b",", b";", b"\t", b'"', b"\r", b"\n", b"\x00", b"\xe9",
                          b"\xef\xbb\xbf", b"\xff\xfe"])  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables") / "table.csv"


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8), st.sampled_from(",;\t"))
def test_what_is_written_is_read(
    file: Path, rows: list[tuple[str, str, str]], delimiter: str
) -> None:
    out = StringIO(newline="")
    csv.writer(out, delimiter=delimiter).writerows([("first", "second", "third"), *rows])
    file.write_bytes(out.getvalue().encode())
    told = [[cell.strip() for cell in row] for row in rows]
    table = read(file)
    assert [list(row.cells.values()) for row in table.whole()] == [row for row in told if any(row)]
    lines = [row.line for row in table.rows]
    assert lines == sorted(set(lines))


@given(st.lists(PIECES, max_size=40).map(b"".join))
def test_anything_is_a_table_or_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        table = read(file)
    except ManifestInvalid:
        return
    assert len(set(table.columns)) == len(table.columns)
