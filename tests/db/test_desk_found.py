"""Studies by outcome, and figures that are kept: the short way finds what the long one would."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hipnode.answers.outcome import StudyOutcome
from hipnode.domain import Abstention, AbstentionReason, HipReading, JobKind, Side
from hipnode.domain.people import Role
from hipnode.services.desk.pages import studies as pages
from hipnode.services.desk.remembered import FRESH
from tests import factory
from tests.db.conftest import MODELS, Bench
from tests.desk import Guest

SHADOW = "5" * 64


def look(side: Side) -> HipReading:
    """Return a hip that nobody could judge."""
    roi = factory.hip(side, 0.5).roi
    return HipReading(roi, abstention=Abstention(AbstentionReason.POSSIBLE_METAL, "0.5"))


SAID: dict[str, Any] = {
    "positive": [factory.hip(Side.RIGHT, 0.97), factory.hip(Side.LEFT, 0.02)],
    "negative": [factory.hip(Side.RIGHT, 0.02), factory.hip(Side.LEFT, 0.02)],
    "implant": [factory.hip(Side.RIGHT, None), factory.hip(Side.LEFT, None)],
    "metal": [look(Side.RIGHT), factory.hip(Side.LEFT, 0.02)],
    "lateral": AbstentionReason.NOT_FRONTAL,
    "no-hip": AbstentionReason.HIP_NOT_FOUND,
}


def told(bench: Bench, name: str, said: Any, **more: Any) -> None:
    """Have a study received, and read by the first set that wants to."""
    uid = factory.uid(name, "1")
    bench.receive(uid, factory.uid(name), accession=name, content=name, **more)
    held = bench.take(JobKind.READ)
    made = factory.reading(said, name, model_set_digest=held.model_set)
    bench.store.ledger.finish_read(held, made)


@pytest.fixture
def many(bench: Bench) -> Bench:
    """A node with studies of every kind, an hour apart."""
    for name, said in SAID.items():
        told(bench, name, said)
        bench.clock.forward(3600)
    bench.report()
    told(bench, "delivered", SAID["negative"])
    bench.report()
    bench.deliver()
    # one that only the set in shadow has read by now, and has raised
    uid = factory.uid("shadowed", "1")
    bench.receive(
        uid, factory.uid("shadowed"), accession="shadowed", content="s", shadows=(SHADOW,)
    )
    first, second = bench.take(JobKind.READ), bench.take(JobKind.READ)
    held = first if first.model_set == SHADOW else second
    made = factory.reading(SAID["positive"], "shadowed", model_set_digest=SHADOW)
    bench.store.ledger.finish_read(held, made)
    bench.clock.forward(3600)
    bench.receive("9.1", "9", accession="given-up", content="g")
    bench.store.recovery.quarantine(bench.take(JobKind.READ), "damaged")
    bench.clock.forward(3600)
    bench.receive("8.1", "8", accession="nothing-yet", content="n")
    assert MODELS != SHADOW
    return bench


def rows_of(auditor: Guest, query: str) -> list[tuple[str, str, str]]:
    """Return accession number, outcome and state of each study of a page."""
    text = auditor.get(f"/studies?{query}").text
    row = r">([\w-]+)</a></th><td>[^<]*</td><td>([^<]*)</td>.*?<td>(.*?)</td></tr>"
    return re.findall(row, text, re.S)


def test_what_a_filter_finds_is_what_the_list_shows(many: Bench) -> None:
    auditor = Guest(many.store, many.settings, Role.AUDITOR)
    everything = rows_of(auditor, "")
    assert len(everything) == len(SAID) + 4
    seen = {outcome for _, outcome, _ in everything}
    assert seen == {"positive", "negative", "look", "not assessed", "waiting"}
    assert ("shadowed", "waiting") in {row[:2] for row in everything}
    for word in StudyOutcome:
        wanted = [row for row in everything if row[1] == word]
        assert rows_of(auditor, f"outcome={word.replace(' ', '+')}") == wanted
    given_up = [row[0] for row in everything if "given up" in row[2]]
    assert [row[0] for row in rows_of(auditor, "outcome=given+up")] == given_up == ["given-up"]
    open_ones = [row[0] for row in everything if "undelivered" in row[2]]
    assert [row[0] for row in rows_of(auditor, "outcome=undelivered")] == open_ones
    assert len(open_ones) == 1


def test_a_filter_goes_on_where_it_stopped(many: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few are looked through for a page, and however few a page has."""
    auditor = Guest(many.store, many.settings, Role.AUDITOR)
    whole = [row[0] for row in rows_of(auditor, "outcome=not+assessed")]
    assert len(whole) == 2
    for searched, page in ((1, 50), (3, 1), (500, 1), (500, 2)):
        monkeypatch.setattr(pages, "_SEARCHED", searched)
        monkeypatch.setattr(pages, "_PAGE", page)
        found, path = [], "/studies?outcome=not+assessed"
        while path:
            text = auditor.get(path).text
            found += re.findall(r">([\w-]+)</a></th>", text)
            onward = re.search(r'href="(/studies\?[^"]*before=[^"]*)"', text)
            path = onward[1].replace("&amp;", "&") if onward else ""
        assert found == whole, (searched, page)


def test_the_models_figures_are_kept_and_say_since_when(bench: Bench) -> None:
    def beside() -> tuple[str, ...]:
        text = Guest(bench.store, bench.settings, Role.SCIENTIST).get("/models").text
        found = re.search(
            r'Counted at <time datetime="([^"]+)".*?newest (\d+) readings', text, re.S
        )
        assert found
        return found.groups()

    told(bench, "1", SAID["negative"])
    before = beside()
    assert before[1] == "1"
    told(bench, "2", SAID["negative"])
    bench.clock.forward(FRESH.total_seconds() - 1)
    assert beside() == before
    bench.clock.forward(2)
    after = beside()
    assert after[1] == "2"
    assert after[0] > before[0]
