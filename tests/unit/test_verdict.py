"""The verdict on a hip: the table in docs/models.md, walked through in full."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hipnode.domain import AbstentionReason, Attention, Caveat, Decision, Verdict, View
from hipnode.reading.pair import judge_single, judge_together
from hipnode.reading.verdict import (
    Extent,
    Facts,
    Judgement,
    Metal,
    SideIs,
    beside,
    every_case,
    judge,
)
from tests.peers import ROOT

CASES = list(every_case())
SUSPECTED = {Verdict.DEFINITE, Verdict.DOUBTFUL}
_COLUMNS = ("adult", "metal", "view", "clear", "usual", "extent", "side", "fracture", "equivocal")
_WORDS = {"yes": True, "no": False, "present": "present", "doubtful": "doubtful"}


def _table() -> list[tuple[dict[str, str], str, str]]:
    """Return the rows of the table in docs/models.md: what must hold, the verdict, the reason."""
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    section = text.split("## The verdict on a hip", 1)[1].split("\n## ", 1)[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if re.match(r"\| *\d", line)
    ]
    return [
        ({c: v for c, v in zip(_COLUMNS, row[1:10], strict=True) if v != "any"}, row[10], row[11])
        for row in rows
    ]


def _value(facts: Facts, column: str) -> str:
    value = getattr(facts, column)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "no number" if value is None else str(value)


def test_the_table_in_the_docs_is_what_is_done_in_every_case() -> None:
    table = _table()
    assert len(table) >= 8
    used = set()
    for facts in CASES:
        for number, (conditions, verdict, reason) in enumerate(table):
            if all(_value(facts, c) in v.split(" or ") for c, v in conditions.items()):
                used.add(number)
                made = judge(facts)
                assert (made.verdict, made.reason or "-") == (verdict, reason), facts
                break
        else:
            pytest.fail(f"the table has no row for {facts}")
    assert used == set(range(len(table))), "a row that no case reaches"


def test_being_unusual_never_silences_a_suspicion() -> None:
    for facts in CASES:
        silent = not facts.adult or facts.metal is Metal.SURE
        silent |= facts.view is View.OTHER and not facts.clear
        if facts.fracture in {Decision.PRESENT, Decision.DOUBTFUL} and not silent:
            assert judge(facts).verdict in SUSPECTED | {Verdict.EQUIVOCAL}


def test_none_seen_needs_a_usual_whole_hip_without_metal_on_a_validated_view() -> None:
    for facts in CASES:
        if judge(facts).verdict is Verdict.NONE_SEEN:
            assert facts.usual
            assert facts.clear
            assert facts.metal is Metal.NONE
            assert facts.extent is Extent.WHOLE
            assert facts.view is not View.OTHER
            assert facts.fracture is Decision.ABSENT
            assert not facts.equivocal


def test_definite_needs_no_caveat_and_a_known_side() -> None:
    for facts in CASES:
        made = judge(facts)
        if made.verdict is Verdict.DEFINITE:
            assert facts.side is SideIs.KNOWN
            assert made.caveats == ()


def test_equivocal_is_a_hip_of_which_nothing_but_the_fracture_is_open() -> None:
    for facts in CASES:
        made, without = judge(facts), judge(replace(facts, equivocal=False))
        if made.verdict is Verdict.EQUIVOCAL:
            assert without.verdict in {Verdict.DOUBTFUL, Verdict.NONE_SEEN}
            assert without.caveats == ()
        elif made != without:  # whose hip it is does not make it less open
            assert (made.verdict, without.verdict) == (Verdict.DOUBTFUL, Verdict.NONE_SEEN)
            assert facts.side is not SideIs.KNOWN


def test_nothing_is_silent_without_a_reason() -> None:
    for facts in CASES:
        made = judge(facts)
        quiet = made.verdict in {Verdict.LOOK_NOW, Verdict.NOT_ASSESSED}
        assert quiet is (made.reason is not None)


def test_beside_a_hip_that_was_not_judged_no_alarm_is_definite() -> None:
    judged = {judge(facts) for facts in CASES}
    for one, other in product(judged, judged):
        made = beside(one, other)
        if other.verdict in {Verdict.LOOK_NOW, Verdict.NOT_ASSESSED} and one.verdict in SUSPECTED:
            assert made.verdict is Verdict.DOUBTFUL
            assert Caveat.OTHER_HIP in made.caveats
        else:
            assert made == one


def test_the_most_urgent_wins() -> None:
    assert Attention.most_urgent([]) is Attention.ROUTINE
    assert Attention.most_urgent(Attention) is Attention.NOW
    assert Attention.most_urgent([Attention.ROUTINE, Attention.SOON]) is Attention.SOON


P = st.floats(0, 1, allow_nan=False)


@given(P, P)
def test_two_hips_judged_together(right: float, left: float) -> None:
    both = judge_together(right, left)
    assert both == judge_together(right, left)
    assert 0 <= both.right <= both.either <= 1
    assert both.either <= both.right + both.left + 1e-9
    mirrored = judge_together(left, right)
    assert (mirrored.right, mirrored.left) == pytest.approx((both.left, both.right))
    if right > left:
        assert both.right >= both.left


@given(P)
def test_a_hip_shown_alone_needs_more_evidence(p: float) -> None:
    assert judge_single(p) <= p + 1e-6
    assert judge_single(0.9) == pytest.approx(0.5)


@given(P)
def test_beside_a_whole_hip_the_other_keeps_its_probability(p: float) -> None:
    assert judge_together(p, 0.0).right == pytest.approx(p, abs=1e-4)


def test_what_raises_both_is_explained_by_one_unless_both_are_beyond_doubt() -> None:
    together = judge_together(0.97, 0.85)
    assert together.right > 0.8
    assert together.left < 0.25
    assert together.tells_apart
    assert not judge_together(0.95, 0.95).tells_apart
    sure = judge_together(0.99999, 0.99999)
    assert min(sure.right, sure.left) > 0.95
    assert Judgement(Verdict.NOT_ASSESSED, AbstentionReason.IMPLANT).caveats == ()
