"""Whatever comes to the door of final reports is one, or a value, or refused with a reason."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hipnode.domain import CovariateSource, Told
from hipnode.services.covariates.values import told
from hipnode.services.opinions.message import MessageRefused, heading, read

WHOLE = (
    "MSH|^~\\&|RIS|GENERAL|HIPNODE|GENERAL|20261128||ORU^R01|17|P|2.5.1\r"
    "PID|||P-1\rOBR|1||A-1||||||||||||||||||||||F\rOBX|1|TX|1||No fracture.||||||F\r"
    "OBX|2|NM|D^^L||24.1|ng/mL|||||F|||20261101\r"
)
CODES = {"L:D": "vitamin_d_ng_ml"}
NOW = datetime(2026, 11, 28, tzinfo=UTC)
PARTS = st.sampled_from(
    ["MSH|^~\\&|", "ORU^R01", "OBR|", "OBX|", "PID|", "IPC|", "|", "^", "~", "\\", "\\X0D\\", "&",
     "\r", "\n", "1", "F", "D^^L", "NM", "ng/mL", "20261101", "A-1", "\x00", "\x1b[2J",
     "é", "|||||||||"]
)  # fmt: skip


def taken(content: bytes) -> None:
    heading(content)
    said = ("", "")
    try:
        reports, orders = read(content, "UTF-8", CODES)
        assert all(isinstance(report.text, str) for report in reports)
        for order in orders:
            for one, _ in order.said:
                made = told(one, CovariateSource.ORU, "17", "LAB", NOW)
                assert isinstance(made, Told) or made.reason
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
