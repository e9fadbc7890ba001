"""Whatever comes to the door of final reports is a report, or is refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hipnode.services.opinions.message import MessageRefused, heading, read

WHOLE = (
    "MSH|^~\\&|RIS|GENERAL|HIPNODE|GENERAL|20261128||ORU^R01|17|P|2.5.1\r"
    "PID|||P-1\rOBR|1||A-1||||||||||||||||||||||F\rOBX|1|TX|1||No fracture.||||||F\r"
)
PARTS = st.sampled_from(
    ["MSH|^~\\&|", "ORU^R01", "OBR|", "OBX|", "PID|", "IPC|", "|", "^", "~", "\\", "\\X0D\\", "&",
     "\r", "\n", "1", "F", "A-1", "\x00", "\x1b[2J", "é", "|||||||||"]
)  # fmt: skip


def taken(content: bytes) -> None:
    heading(content)
    said = ("", "")
    try:
        assert all(isinstance(report.text, str) for report in read(content, "UTF-8"))
    except MessageRefused as refused:
        said = (refused.code, refused.why)
    assert said[0] in {"", "AE", "AR"}
    assert bool(said[0]) == bool(said[1])


@given(st.binary(max_size=400))
def test_bytes(content: bytes) -> None:
    taken(content)


@given(st.lists(PARTS, max_size=60).map("".join))
def test_pieces_of_a_message(text: str) -> None:
    taken(text.encode())


@pytest.mark.parametrize("end", range(len(WHOLE)))
def test_a_message_that_ends_anywhere(end: int) -> None:
    taken(WHOLE[:end].encode())


@given(st.integers(0, len(WHOLE) - 1), PARTS)
def test_a_piece_too_much(place: int, part: str) -> None:
    taken((WHOLE[:place] + part + WHOLE[place:]).encode())
