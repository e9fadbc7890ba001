"""The desk in the language and the time zone of those who look at it."""

from __future__ import annotations

import re

from hipnode.answers.advice import every
from hipnode.services.desk.render import GERMAN
from hipnode.services.desk.routes import ROUTES
from tests.db.conftest import Bench
from tests.db.test_desk import OPERATOR, Look, guest  # noqa: F401 - a fixture
from tests.peers import ROOT

_TEXT = re.compile(r'_\("((?:[^"\\]|\\.)*)"')
_TEMPLATES = sorted((ROOT / "hipnode" / "services" / "desk" / "templates").glob("*.html"))


def test_everything_has_german_words() -> None:
    texts = {match for path in _TEMPLATES for match in _TEXT.findall(path.read_text("utf-8"))}
    texts |= {route.title for route in ROUTES if route.title} | set(every())
    assert texts - set(GERMAN) == set()
    for text, said in GERMAN.items():
        assert set(re.findall(r"{\w*}", text)) == set(re.findall(r"{\w*}", said)), text


def test_the_page_is_in_the_language_that_is_asked_for(bench: Bench, guest: Look) -> None:  # noqa: F811
    somebody = guest(OPERATOR)
    assert '<html lang="en">' in somebody.get("/").text
    german = somebody.get("/", **{"accept-language": "de-AT,de;q=0.9"}).text
    assert '<html lang="de">' in german
    assert "Auf einen Blick" in german
    somebody.get("/language/de")
    assert "Auf einen Blick" in somebody.get("/").text
    assert "Auf einen Blick" in guest(OPERATOR, language="de").get("/").text
    assert somebody.get("/language/xx").status_code == 404


def test_moments_are_in_the_sites_time_zone(bench: Bench, guest: Look) -> None:  # noqa: F811
    text = guest(OPERATOR, timezone="Europe/Vienna").get("/").text
    assert 'title="2026-11-21 08:00:00 UTC">2026-11-21 09:00:00</time>' in text
