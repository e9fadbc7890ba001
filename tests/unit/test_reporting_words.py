"""The language: what is said, how sure, what was not assessed, and never more than that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hipnode import DISCLAIMER, codes
from hipnode.domain import TASKS, Caveat, Decision, Language, ResultKind, Side, Task
from hipnode.reporting import build, plain_text, read_back
from hipnode.reporting.languages import ENGLISH, LANGUAGES
from hipnode.reporting.ranking import Flag, attention_of, statements
from hipnode.reporting.strips import said_of
from hipnode.reporting.words import ascii_text, finding_sentence, headline
from tests import approve, cases
from tests.factory import POINT, finding, hip, reading


@pytest.mark.parametrize("name", cases.CASES)
def test_each_case_says_what_a_radiologist_would_write(name: str) -> None:
    text = " ".join(plain_text(cases.CASES[name].request(name)).split())
    for sentence in cases.CASES[name].says:
        assert sentence in text
    assert text.count(DISCLAIMER) == 2
    scope = "No fracture was looked for" if name == "dxa" else "Not assessed: pelvic ring"
    assert (scope in text) == cases.CASES[name].measured
    assert "Muster" not in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", cases.CASES)
def test_the_first_line_alone_is_enough(name: str, language: Language) -> None:
    """It tells how soon to look, then of each hip what is there, how sure, or why it is unknown."""
    phrases = LANGUAGES[language]
    asked = replace(cases.CASES[name].request(name), language=language)
    line = headline(asked.sources, phrases)
    when, rest = line.split(". ", 1)
    assert when == phrases.when[attention_of(asked.sources)]
    sides = {h.roi.side for s in asked.sources for h in s.hips}
    sides |= {s.missing for s in asked.sources if s.missing}
    for side in sides:
        letters = phrases.hips[side].split(",")[0].split()
        assert any(word.isupper() and word in rest for word in letters) or side is Side.UNKNOWN
    said = [t for task in phrases.tasks.values() for t in task.said.values()]
    known = (*said, phrases.not_judged, phrases.not_assessed)
    assert any(word in rest for word in known)
    assert not any(character in line for character in "%0123456789") or name in _COUNTED
    assert line.count(phrases.tasks[Task.HIP_FRACTURE].said[Decision.PRESENT]) <= 1


_COUNTED = ("several-images", "lateral-too")
"""Cases whose first line counts images; no other has a digit in it."""


@pytest.mark.parametrize("name", cases.CASES)
def test_the_worst_stands_first_across_sides_and_images(name: str) -> None:
    sources = cases.CASES[name].request(name).sources
    found = statements(sources)
    assert [s.rank for s in found] == sorted(s.rank for s in found)
    if found:
        first = headline(sources, ENGLISH).split(". ")[1]
        assert ENGLISH.hips[found[0].side].split(" ")[0] in first


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_caveat_task_and_outcome_has_words(language: Language) -> None:
    phrases = LANGUAGES[language]
    assert set(codes.REASONS) <= set(phrases.reasons)
    assert set(phrases.caveats) == {caveat.value for caveat in Caveat}
    assert set(phrases.tasks) == set(TASKS) == set(Task)
    assert set(phrases.flags) == {flag.value for flag in Flag}
    for task, words in phrases.tasks.items():
        assert language == "en" or set(TASKS[task].classes) == set(words.classes)
        said = set(Decision)
        if task is not Task.HIP_FRACTURE:  # a bundle of it may have no band
            said -= {Decision.EQUIVOCAL}
        assert set(words.said) == set(words.advice) == said
        assert len(set(words.said.values())) == len(said)
    assert set(phrases.nhfd_classes) == set(codes.NHFD)


@pytest.mark.parametrize("p", [0.02, 0.45, 0.97])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_words_of_certainty_exclude_each_other(p: float, language: Language) -> None:
    """Never "suspected, definite"; and no number of which another would be another word."""
    task = LANGUAGES[language].tasks[Task.HIP_FRACTURE]
    sentence = finding_sentence(finding(p), LANGUAGES[language])
    said = [d for d in Decision if task.said[d] in sentence]
    assert said == [POINT.decide(p)]
    assert "%" not in sentence


def test_no_text_for_people_has_a_probability() -> None:
    request = replace(cases.CASES["positive-both"].request("x"), language="en")
    assert "%" not in plain_text(request)
    for built in build(request):
        if built.kind is ResultKind.SR:
            assert [round(m.percent) for m in read_back(built.to_bytes())] == [100, 91]


@pytest.mark.parametrize(
    ("p", "large", "small"),
    [
        (0.88, "L: HIGH FRACTURE RISK LIKELY", "Clinical correlation advised"),
        (0.45, "L: HIGH FRACTURE RISK POSSIBLE", "Neither confirmed nor excluded"),
        (0.02, "L: no high fracture risk seen", "not excluded"),
    ],
)
def test_a_picture_names_the_risk_that_is_meant(p: float, large: str, small: str) -> None:
    """Never "no fracture risk"; and low, moderate and high are no kinds of a finding."""
    sorted_as = {"low": (1 - p) / 3, "moderate": 2 * (1 - p) / 3, "high": p}
    (said,) = said_of(
        hip(Side.LEFT, p, task=Task.FRACTURE_RISK, probabilities=sorted_as, label="high"), ENGLISH
    )
    assert (said.what, said.sure) == (large, small)
    assert said.as_large == (p < 0.1)


def test_one_image_is_reported_in_about_ten_lines() -> None:
    for name in ("positive-right", "negative", "doubtful", "implant", "child"):
        assert len(plain_text(cases.CASES[name].request(name)).splitlines()) <= 12


def test_the_type_is_named_only_where_a_fracture_is_likely() -> None:
    assert "Type: intracapsular." in finding_sentence(finding(0.97), ENGLISH)
    assert "intracapsular" not in finding_sentence(finding(0.5), ENGLISH)
    assert "intracapsular" not in finding_sentence(finding(0.01), ENGLISH)
    two = {"no_fracture": 0.03, "fracture": 0.97}
    one_class = finding(0.97, probabilities=two, label="fracture", positive=("fracture",))
    assert "Type" not in finding_sentence(one_class, ENGLISH)


def test_a_kind_of_fracture_that_the_model_was_never_shown_is_named() -> None:
    unaware = reading([hip(Side.RIGHT, 0.02)])
    labels = {"no_fracture": 0.9, "intracapsular": 0.05, "subtrochanteric": 0.05}
    aware = reading(
        [hip(Side.RIGHT, 0.1, probabilities=labels, label="no_fracture",
             positive=("intracapsular", "subtrochanteric"))]
    )  # fmt: skip
    for read, said in ((unaware, True), (aware, False)):
        text = " ".join(plain_text(cases.request(cases.source("1", read))).split())
        assert ("never shown a fracture of this kind: subtrochanteric" in text) == said


def test_a_shadow_finding_is_said_nowhere() -> None:
    request = cases.CASES["several-tasks"].request("several-tasks")
    text = plain_text(request)
    assert "RISK" not in text.upper().replace("AT RISK", "")
    assert "LEFT hip: LOW BONE DENSITY" not in text


def test_a_hip_with_shadow_findings_alone_is_not_there() -> None:
    only = reading([hip(Side.RIGHT, 0.99, shadow=True), hip(Side.LEFT, 0.01)])
    text = plain_text(cases.request(cases.source("1", only)))
    assert "RIGHT" not in text
    assert "LEFT hip: no fracture seen" in text


def test_images_that_say_the_same_say_it_once() -> None:
    read = [reading([hip(Side.RIGHT, 0.02)], image=n) for n in "12"]
    text = plain_text(cases.request(*(cases.source("1", r, n) for r, n in zip(read, "12"))))  # noqa: B905
    assert text.count("no fracture seen.") == 1
    assert "RIGHT hip (images 1, 2): no fracture seen." in text


def test_what_had_to_be_assumed_is_said() -> None:
    noted = reading([hip(Side.RIGHT, 0.02)], notes=("side taken from the image half",))
    text = " ".join(plain_text(cases.request(cases.source("1", noted))).split())
    assert "Image 1 (series 1, image 1): read. Note: side taken from the image half." in text


def test_an_error_message_cannot_break_the_report() -> None:
    source = cases.source("1", "Bad\x00 pixels\n\\ in «Müller»" + "x" * 500)
    for line in plain_text(cases.request(source)).splitlines():
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 130
    assert ascii_text("a\n b\t c") == "a b c"


def test_a_scan_is_sorted_by_risk_and_every_class_is_told_in_the_sr() -> None:
    request = cases.CASES["dxa"].request("dxa")
    assert "occult" not in plain_text(request)
    (sr,) = (b for b in build(request) if b.kind is ResultKind.SR)
    (measured,) = read_back(sr.to_bytes())
    assert {name.split()[1] for name in measured.classes_percent} == {"low", "moderate", "high"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_case_reads_as_approved(language: Language) -> None:
    """If this is meant: ``python -m tests.approve``, and have the sentences reviewed."""
    approved = (approve.FOLDER / f"report-{language}.txt").read_text(encoding="utf-8")
    assert approve.page(language) == approved
