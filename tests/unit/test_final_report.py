"""What the words of a final report say of each hip: plainly, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hipnode.answers.final_report import read

R, L = "present right", "present left"
NONE = {"R": "absent", "L": "absent"}
SAID = (
    ("No acute fracture.", NONE),
    ("No fracture or dislocation of either hip.", NONE),
    ("There is no fracture seen. Right hip prosthesis without loosening.", NONE),
    ("Fractured right pubic ramus. No hip fracture.", NONE),
    ("Keine Fraktur. Coxarthrose beidseits.", NONE),
    ("Pas de fracture.", NONE),
    ("No fracture, right hip.", {"R": "absent"}),
    ("Fracture of the right femoral neck.", {"R": "present"}),
    ("No dislocation, displaced intertrochanteric fracture right femur", {"R": "present"}),
    ("Mediale Schenkelhalsfraktur links.", {"L": "present"}),
    ("Pertrochantäre Femurfraktur rechts.", {"R": "present"}),
    ("Fracture du col du fémur gauche.", {"L": "present"}),
    ("Left intertrochanteric fracture, no fracture on the right", {"R": "absent", "L": "present"}),
    ("Right hip: no fracture; left hip: subcapital fracture", {"R": "absent", "L": "present"}),
    ("FINDINGS: No fracture.\nIMPRESSION: right hip fracture", {"R": "present", "L": "absent"}),
    ("Bilateral fractures of the femoral neck", {"R": "present", "L": "present"}),
)
UNCLEAR = (
    "Possible fracture of the left femoral neck.",
    "Fracture of the right hip is not excluded",
    "Old healed fracture left hip",
    "V.a. Schenkelhalsfraktur rechts",
    "Z.n. Schenkelhalsfraktur rechts",
    "Fraktur des rechten Schenkelhalses nicht sicher auszuschließen.",
    "Suspicion de fracture du col du fémur droit",
    "No displaced fracture of the right hip",
    "Keine weitere Fraktur der rechten Hüfte",
    "Follow-up of right hip fracture, nail in place",
    "Fracture of the right hip? Recommend CT.",
    "Right femoral neck fracture. Right hip fracture cannot be confirmed.",
)
NOT_A_HIP = (
    "Fracture of the left pubic ramus.",
    "Compression fracture of L1.",
    "Fracture.",
    "Osteoarthritis of both hips.",
    "",
)


@pytest.mark.parametrize(("text", "said"), SAID)
def test_what_is_said_plainly_is_read(text: str, said: dict[str, str]) -> None:
    assert read(text) == said
    assert read(text.upper()) == said


@pytest.mark.parametrize("text", UNCLEAR)
def test_what_is_a_doubt_or_a_history_is_no_truth(text: str) -> None:
    assert "R" not in read(text) or "left" in text
    assert "present" not in read(text).values()


@pytest.mark.parametrize("text", NOT_A_HIP)
def test_other_bones_and_silence_say_nothing(text: str) -> None:
    assert read(text) == {}


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert set(read(text)) <= {"R", "L"}
