"""The language: what is said, how sure, what was not assessed, and never more than that."""

from __future__ import annotations

import pytest

from hipnode import DISCLAIMER
from hipnode.domain import AbstentionReason, Decision, OperatingPoint, Side, Task
from hipnode.reporting import plain_text
from hipnode.reporting.drawing import said_of
from hipnode.reporting.terms import TERMS, reason_of
from hipnode.reporting.words import ascii_text, finding_sentence, percent
from tests import cases
from tests.factory import POINT, finding, hip, reading


@pytest.mark.parametrize("name", cases.CASES)
def test_each_case_says_what_a_radiologist_would_write(name: str) -> None:
    text = " ".join(plain_text(cases.CASES[name].request(name)).split())
    for sentence in cases.CASES[name].says:
        assert sentence in text
    assert text.count(DISCLAIMER) == 2
    scope = "No fracture was looked for" if name == "dxa" else "Not assessed: pelvic ring"
    assert scope in text
    assert "Muster" not in text


@pytest.mark.parametrize(
    ("p", "large", "small"),
    [
        (0.88, "L: HIGH FRACTURE RISK 88 %", "suspected, definite"),
        (0.45, "L: HIGH FRACTURE RISK? 45 %", "doubtful - expert review advised"),
        (0.02, "L: no high fracture risk", "none detected (AI 2 %) - not excluded"),
    ],
)
def test_a_picture_names_the_risk_that_is_meant(p: float, large: str, small: str) -> None:
    """Never "no fracture risk"; and low, moderate and high are no kinds of a finding."""
    sorted_as = {"low": (1 - p) / 3, "moderate": 2 * (1 - p) / 3, "high": p}
    ((_, what, sure),) = said_of(
        hip(Side.LEFT, p, task=Task.FRACTURE_RISK, probabilities=sorted_as, label="high")
    )
    assert (what, sure) == (large, small)


def test_one_image_is_reported_in_about_ten_lines() -> None:
    for name in ("positive-right", "negative", "doubtful", "implant", "child"):
        assert len(plain_text(cases.CASES[name].request(name)).splitlines()) <= 11


@pytest.mark.parametrize(
    ("p", "thresholds", "text"),
    [
        (0.966, (), "97 %"),
        (0.0, (), "<1 %"),
        (0.004, (), "<1 %"),
        (0.006, (), "1 %"),
        (0.996, (), ">99 %"),
        (1.0, (), ">99 %"),
        (0.846, (0.12, 0.85), "84.6 %"),
        (0.8499, (0.12, 0.85), "84.99 %"),
        (0.85, (0.12, 0.85), "85 %"),
        (0.1199, (0.12, 0.85), "11.99 %"),
        (0.002, (0.003, 0.9), "0.2 %"),
        (0.9965, (0.5, 0.997), "99.65 %"),
        (0.0, (0.003, 0.9), "<0.01 %"),
    ],
)
def test_a_probability_is_never_rounded_across_a_threshold(
    p: float, thresholds: tuple[float, ...], text: str
) -> None:
    assert percent(p, thresholds) == text


@pytest.mark.parametrize("p", [0.0, 0.05, 0.1199, 0.12, 0.5, 0.8499, 0.85, 0.97, 1.0])
def test_the_words_match_the_decision(p: float) -> None:
    words = {
        Decision.PRESENT: ("SUSPECTED FRACTURE, definite", "Expert review advised."),
        Decision.DOUBTFUL: ("POSSIBLE FRACTURE, doubtful", "Neither confirmed nor excluded"),
        Decision.ABSENT: ("no fracture detected", "An occult fracture is not excluded."),
    }
    sentence = finding_sentence(finding(p), Side.LEFT)
    assert sentence.startswith("LEFT hip: ")
    for decision, parts in words.items():
        for part in parts:
            assert (part in sentence) == (decision is POINT.decide(p))


def test_the_type_is_named_only_where_a_fracture_is_definite() -> None:
    assert "intracapsular" in finding_sentence(finding(0.97), Side.LEFT)
    assert "intracapsular" not in finding_sentence(finding(0.5), Side.LEFT)
    assert "intracapsular" not in finding_sentence(finding(0.01), Side.LEFT)
    two = {"no_fracture": 0.03, "fracture": 0.97}
    one_class = finding(0.97, probabilities=two, label="fracture")
    assert "Most likely" not in finding_sentence(one_class, Side.LEFT)


def test_a_shadow_finding_is_said_nowhere() -> None:
    request = cases.CASES["several-tasks"].request("several-tasks")
    text = plain_text(request)
    assert "RISK" not in text.upper().replace("AT RISK", "")
    assert text.count("LOW BONE DENSITY") == 1


def test_a_hip_with_shadow_findings_alone_is_not_there() -> None:
    only = reading([hip(Side.RIGHT, 0.99, shadow=True), hip(Side.LEFT, 0.01)])
    text = plain_text(cases.request(cases.source("1", only)))
    assert "RIGHT" not in text
    assert "No fracture detected LEFT." in text


def test_every_reason_and_task_has_words() -> None:
    for reason in AbstentionReason:
        assert len(reason_of(reason).meaning) > 10
    assert set(TERMS) == set(Task)


def test_images_that_say_the_same_say_it_once() -> None:
    read = [reading([hip(Side.RIGHT, 0.02)], image=n) for n in "12"]
    text = plain_text(cases.request(*(cases.source("1", r, n) for r, n in zip(read, "12"))))  # noqa: B905
    assert text.count("no fracture detected (AI") == 1
    assert "RIGHT hip (images 1, 2): no fracture detected" in text


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


def test_operating_points_without_a_doubtful_zone_read_well() -> None:
    point = OperatingPoint("single", 0.5, 0.5)
    sentence = finding_sentence(
        finding(0.5, operating_point=point, decision=point.decide(0.5)), Side.RIGHT
    )
    assert "AI probability 50 %; definite from 50 %" in sentence


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.9, "RIGHT hip: HIGH FRACTURE RISK, definite from"),
        (0.5, "RIGHT hip: high fracture risk neither confirmed nor excluded"),
        (0.05, "RIGHT hip: no high fracture risk detected"),
    ],
)
def test_a_scan_is_sorted_by_risk_and_every_class_is_told(p: float, said: str) -> None:
    probabilities = {"low": (1 - p) / 4, "moderate": (1 - p) * 3 / 4, "high": p}
    point = OperatingPoint("risk", 0.2, 0.8)
    risk = finding(
        p,
        task=Task.FRACTURE_RISK,
        probabilities=probabilities,
        label="high",
        operating_point=point,
        decision=point.decide(p),
    )
    sentence = finding_sentence(risk, Side.RIGHT)
    assert sentence.startswith(said)
    assert f"high {percent(p)})" in sentence
    assert "moderate" in sentence
    assert "occult" not in sentence
