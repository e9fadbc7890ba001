"""Whatever a sender writes, what is printed or exported of it does nothing."""

from __future__ import annotations

import csv
import io
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from hipnode.cli.show import cell, plain, spreadsheet

FOREIGN = st.text(st.characters(codec="utf-8"), max_size=40) | st.text(
    st.sampled_from("[]/=+-@|%'\" \t\r\n\x1b\x07\x9b\u202e\u2028abc1"), max_size=20
)
HOSTILE = ("[/x]", "[red]", "[link=http://e]", "\x1b]0;owned\x07", "=1+1", " =1", "\u202egnp", "\n")


def printed(text: str) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=400, color_system="truecolor")
    table = Table("text", box=None, show_header=False)
    table.add_row(cell(text))
    console.print(table)
    return out.getvalue()


def inert(text: str) -> bool:
    """Return whether no character of a text steers a terminal; any kind of blank may stand."""
    return not {unicodedata.category(c) for c in text} & {"Cc", "Cf", "Zl", "Zp"}


@given(FOREIGN)
@example(HOSTILE[0])
@example(HOSTILE[1])
@example(HOSTILE[2])
@example(HOSTILE[3])
def test_what_is_printed_is_what_was_written_and_does_nothing(text: str) -> None:
    shown = printed(text)
    assert plain(text).rstrip() in shown
    assert inert(shown.replace("\n", ""))
    assert shown.count("\n") <= 1


@given(FOREIGN)
@example(HOSTILE[4])
@example(HOSTILE[5])
@example(HOSTILE[7])
@example("\xa0")
def test_a_spreadsheet_runs_nothing_and_no_cell_reaches_into_another(text: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerow([spreadsheet(text), "next"])
    ((found, following),) = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert following == "next"
    assert not found.lstrip(" '\"").startswith(("=", "+", "-", "@")) or found.startswith("'")
    assert found.removeprefix("'") == plain(text) or found == plain(text)
    assert inert(found)


def test_plain_text_stays_as_it_is() -> None:
    for text in ("", "A-99", "Müller^Änne", "日本 太郎"):
        assert plain(text) == text
    assert plain(None) == ""
    assert plain("a\x1b[0m\u202eb") == "a\\x1b[0m\\u202eb"
