"""The outcome in the list of a PACS: of a study, of an image, and not at all where unwanted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hipnode import DISCLAIMER
from hipnode.domain import AbstentionReason, Language, ResultKind, Side
from hipnode.reporting import BuiltObject, ReportRequest, build
from hipnode.reporting.envelope import DOCUMENTS
from hipnode.reporting.languages import LANGUAGES
from hipnode.reporting.ranking import Flag, flag_of
from tests import cases
from tests.cases import request, source
from tests.factory import hip, reading

R, L = Side.RIGHT, Side.LEFT
FLAGS = {
    "positive-right": Flag.POSITIVE,
    "positive-left": Flag.POSITIVE,
    "negative": Flag.NONE_SEEN,
    "lateral-too": Flag.NONE_SEEN,
    "doubtful": Flag.DOUBT,
    "not-told-apart": Flag.DOUBT,
    "unusual": Flag.LOOK_NOW,
    "cut-off": Flag.LOOK_NOW,
    "missing-hip": Flag.LOOK_NOW,
    "judged-on-one": Flag.LOOK_NOW,
    "no-hip": Flag.LOOK_NOW,
    "implant": Flag.POSITIVE,
    "implants": Flag.NOT_ASSESSED,
    "child": Flag.NOT_ASSESSED,
    "not-frontal": Flag.NOT_ASSESSED,
    "unusable": Flag.NOT_ASSESSED,
    "failed": Flag.FAILED,
    "several-images": Flag.POSITIVE,
    "dxa": Flag.POSITIVE,
}


def built(of: ReportRequest, kind: ResultKind) -> list[BuiltObject]:
    """Return the objects of one kind."""
    return [b for b in build(replace(of, objects=frozenset({kind}))) if b.kind is kind]


@pytest.mark.parametrize(("name", "flag"), FLAGS.items())
def test_the_list_shows_the_worst_of_a_study(name: str, flag: Flag) -> None:
    of = cases.CASES[name].request(name)
    assert flag_of(of.sources) is flag
    word = LANGUAGES["en"].flags[flag.value]
    text, pdf = (built(of, kind)[0].dataset for kind in (ResultKind.TEXT, ResultKind.PDF))
    assert text.SeriesDescription.startswith(f"AI {word} text")
    assert pdf.SeriesDescription.startswith(f"AI {word} PDF")
    assert pdf.DocumentTitle.startswith(f"AI {word} - ")
    assert text.ContentSequence[1].TextValue.startswith(f"AI {word} - ")


@pytest.mark.parametrize("reason", ["unreadable", "failure"])
def test_a_study_with_an_image_that_was_not_read_never_looks_as_if_all_were(reason: str) -> None:
    gap = "Damaged." if reason == "failure" else reading(AbstentionReason.UNREADABLE, image="2")
    of = request(source("1", reading([hip(R, 0.01), hip(L, 0.01)])), source("1", gap, "2"))
    assert flag_of(of.sources) is not Flag.NONE_SEEN


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("flag", Flag)
def test_the_disclaimer_fits_beside_every_outcome(flag: Flag, language: Language) -> None:
    by_flag = {f: n for n, f in FLAGS.items()}
    of = replace(
        cases.CASES[by_flag[flag]].request("x"), language=language, version=12, predecessors=()
    )
    for kind in (ResultKind.TEXT, ResultKind.CAPTURE, ResultKind.GSPS, ResultKind.PDF):
        for made in built(of, kind):
            description = made.dataset.SeriesDescription
            assert len(description) <= 64
            assert description.endswith(DISCLAIMER)
            if kind in DOCUMENTS:
                assert LANGUAGES[language].flags[flag.value] in description


def test_a_site_can_turn_it_off() -> None:
    of = replace(cases.CASES["positive-right"].request("x"), flagged=False)
    (sr,) = built(of, ResultKind.SR)
    assert sr.dataset.SeriesDescription == f"AI SR - {DISCLAIMER}"
    (pdf,) = built(of, ResultKind.PDF)
    assert "POSITIVE" not in pdf.dataset.DocumentTitle
    on = built(replace(of, flagged=True), ResultKind.SR)[0]
    assert on.sop_instance_uid != sr.sop_instance_uid, "other content, another UID"


def test_captures_are_listed_by_the_outcome_of_their_own_image() -> None:
    """A series has one description: images of another outcome are in another series."""
    of = cases.CASES["several-images"].request("x")
    captures = [b.dataset for b in built(of, ResultKind.CAPTURE)]
    assert [c.SeriesDescription.split(" map")[0] for c in captures] == [
        "AI POSITIVE", "AI DOUBT", "AI NOT ASSESSED",
    ]  # fmt: skip
    assert len({c.SeriesInstanceUID for c in captures}) == 3
    alike = request(
        *(source("1", reading([hip(R, 0.97)], image=n), n) for n in "12"),
    )
    one, other = (b.dataset for b in built(alike, ResultKind.CAPTURE))
    assert one.SeriesInstanceUID == other.SeriesInstanceUID
