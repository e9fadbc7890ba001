"""Tables that people hand in (CSV), read so that nothing in them is lost without a word.

Commas, semicolons or tabs, as the header has them; UTF-8 with or without a mark, or Windows-1252,
as spreadsheets write it.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from hipnode.errors import ManifestInvalid


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is not empty. A column that it ends before is not among its cells."""

    line: int  # of the file, where the row begins
    cells: dict[str, str]  # by column, without space around them
    is_too_long: bool  # it has more cells than the header: which is which, nobody knows


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds; columns are as `read` was told to name them."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def need(self, *columns: str) -> None:
        """Refuse a table without these columns.

        Raises
        ------
        ManifestInvalid
            With those that it lacks.
        """
        if missing := [column for column in columns if column not in self.columns]:
            raise ManifestInvalid(f"{self.path} has no column {', '.join(missing)}")

    def whole(self) -> tuple[Row, ...]:
        """Return the rows; refuse a table in which one is too long.

        Raises
        ------
        ManifestInvalid
            With its line.
        """
        for row in self.rows:
            if row.is_too_long:
                raise ManifestInvalid(
                    f"{self.path}, line {row.line} has more cells than the header"
                )
        return self.rows


def read(path: Path, name: Callable[[str], str] = str) -> Table:
    """Read a table.

    Parameters
    ----------
    path
        The file.
    name
        Makes a column's name of what the header says, without the space around it.

    Raises
    ------
    ManifestInvalid
        If it cannot be read, is no text, has two columns of one name, or a quote that is not
        closed, with the line.
    """
    text = _text(path)
    found = _rows(path, text, _delimiter(text))
    _, head = next(found, (1, []))
    columns = tuple(name(cell) for cell in _without_empty_end(head))
    if twice := [column for column, count in Counter(columns).items() if count > 1]:
        raise ManifestInvalid(f"{path} has two columns {', '.join(map(repr, twice))}")
    width = len(columns)
    rows = (
        Row(
            line,
            dict(zip(columns, cells, strict=False)),
            len(cells) > len(head) or any(cells[width:]),
        )
        for line, cells in found
        if any(cells)
    )
    return Table(path, columns, tuple(rows))


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ManifestInvalid(f"{path} cannot be read: {error.strerror}") from None
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:  # as UTF-16 has
            return text
    raise ManifestInvalid(f"{path} is no text in UTF-8 or Windows-1252")


def _delimiter(text: str) -> str:
    """Return what stands most often in the header, outside quotes."""
    quoted = r'"[^"]*"'
    head = re.match(rf'(?:{quoted}|[^"\r\n])*', text)
    return max(",;\t", key=re.sub(quoted, "", head[0] if head else "").count)


def _rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the line on which it begins."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            yield line, [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise ManifestInvalid(f"{path}, line {line}: {error}") from None


def _without_empty_end(head: list[str]) -> list[str]:
    """Return a header without the columns at its end that have no name."""
    named = [place for place, cell in enumerate(head, 1) if cell]
    return head[: named[-1] if named else 0]
