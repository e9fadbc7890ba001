"""Tables that people hand in: what they say, all of it, or the line on which it cannot be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from hipnode.errors import ManifestInvalid
from hipnode.tables import Table, read


def table(tmp_path: Path, content: str | bytes) -> Table:
    file = tmp_path / "table.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(file, str.lower)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_as_spreadsheets_write_it(tmp_path: Path, delimiter: str, end: str, encoding: str) -> None:
    other = "," if delimiter != "," else ";"
    lines = ['File|"Label%one"', ' grün |"2%5"', "", '"a', 'b"|"say ""no"""', "|", "c"]
    text = end.join(lines).replace("|", delimiter).replace("%", other) + end
    found = table(tmp_path, text.encode(encoding))
    assert found.columns == ("file", f"label{other}one")
    assert [(row.line, list(row.cells.values())) for row in found.whole()] == [
        (2, ["grün", f"2{other}5"]),
        (4, [f"a{end}b", 'say "no"']),
        (7, ["c"]),
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('a,b\n1,2\n3,"4\n5,6\n7,8\n', "line 3: unexpected end of data"),
        ('a,b\n1,"2" 3\n', "line 2: "),
        (f"a,b\n1,2\n{'x' * 200_000},2\n", "line 3: field larger"),
        ("a,b, A \n1,2,3\n", "two columns 'a'"),
        ("a,,,b\n1,2,3,4\n", "two columns ''"),
        ("a,b\n1,2\n".encode("utf-16"), "no text in UTF-8 or Windows-1252"),
        (b"a,b\n\x81,2\n", "no text in UTF-8 or Windows-1252"),
    ],
)
def test_what_cannot_be_told_is_refused_with_file_and_line(
    tmp_path: Path, content: str | bytes, why: str
) -> None:
    with pytest.raises(ManifestInvalid, match=rf"table\.csv.*{why}"):
        table(tmp_path, content)


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.csv"):
        with pytest.raises(ManifestInvalid, match="cannot be read"):
            read(path)


@pytest.mark.parametrize(("head", "row"), [("a,b", "1,2,"), ("a,b,,", "1,2,3,"), ("a", ",")])
def test_a_row_with_more_cells_than_the_header_is_told(tmp_path: Path, head: str, row: str) -> None:
    found = table(tmp_path, f"{head}\n1\n{row}1\n")
    assert [each.is_too_long for each in found.rows] == [False, True]
    with pytest.raises(ManifestInvalid, match="line 3 has more cells than the header"):
        found.whole()


def test_columns_at_the_end_without_name_and_cells_take_nothing_away(tmp_path: Path) -> None:
    found = table(tmp_path, ",a,b,,\n0,1,2,,\n,,,,\n")
    assert found.columns == ("", "a", "b")
    assert [row.cells for row in found.whole()] == [{"": "0", "a": "1", "b": "2"}]
    with pytest.raises(ManifestInvalid, match="no column c, d"):
        found.need("a", "c", "d")
