"""Was it right, by group, and can the probability be relied on? Against what is known by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from hipnode.answers import groups
from hipnode.answers.groups import Known, reliability, right
from hipnode.domain import Header
from hipnode.domain.opinions import Feedback, Opinion, OpinionSource

GIVEN = Feedback(
    study_instance_uid="1", side="R", task="hip_fracture", opinion=Opinion.AGREE, said="present",
    truth="present", model="cnn", model_version="1.0.0", model_digest="d",
    source=OpinionSource.CSV, given_by="ris", given_utc=datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip
HEADER = Header(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1", sop_instance_uid="1.1", study_instance_uid="1"
)


def hip(p: float, broken: bool, *, raised: bool | None = None, station: str = "DX1") -> Known:
    said = "present" if (p >= 0.5 if raised is None else raised) else "absent"
    given = replace(GIVEN, said=said, truth="present" if broken else "absent")
    return Known(given, p, replace(HEADER, station_name=station, patient_sex="F"))


def drawn(generator: np.random.Generator, number: int, power: float = 1.0) -> list[Known]:
    """Return hips that are broken as often as was foretold; else, with another power, not so."""
    foretold = generator.random(number)
    return [hip(float(p), bool(generator.random() < p**power)) for p in foretold]


def test_each_group_has_its_own_figures() -> None:
    hips = [hip(0.9, True)] * 12 + [hip(0.9, False)] * 3 + [hip(0.1, False)] * 20
    hips += [hip(0.1, True, station="ER")] * 4 + [hip(0.8, True, station="ER")] * 6
    found, left_out = right(hips)
    assert left_out == 0
    by = {each.group: each for each in found}
    assert set(by) == {
        ("all", ""), ("model", "cnn 1.0.0"), ("sex", "F"), ("station", "DX1"), ("station", "ER"),
    }  # fmt: skip
    one, other = by["station", "DX1"], by["station", "ER"]
    assert (one.sensitivity.count, one.sensitivity.of) == (12, 12)
    assert (one.ppv.count, one.ppv.of) == (12, 15)
    assert (one.specificity.count, one.specificity.of) == (20, 23)
    assert (one.npv.count, one.npv.of) == (20, 20)
    assert (other.sensitivity.count, other.sensitivity.of) == (6, 10)
    assert other.specificity.of == 0
    everyone = by["all", ""]
    assert (everyone.known, everyone.sensitivity.of) == (45, 22)
    low = everyone.bins[0]
    assert (low.broken.count, low.broken.of, round(low.mean, 3)) == (4, 24, 0.1)
    assert everyone.bins[4].broken.of == 21


def test_a_probability_that_is_right_is_seldom_said_to_be_off_and_one_that_is_wrong_is() -> None:
    generator = np.random.default_rng(7)
    bins = [b for _ in range(200) for b in reliability(drawn(generator, 300))]
    assert np.mean([b.is_off for b in bins]) < 0.05  # exact intervals are wider than they need be
    wrong = [reliability(drawn(generator, 300, power=3.0)) for _ in range(50)]
    assert np.mean([each[2].is_off for each in wrong]) > 0.95


def test_a_hip_whose_record_is_gone_is_counted_and_in_no_bin() -> None:
    gone = [Known(GIVEN)] * 3
    (all_hips, model), _ = right(gone)
    assert (all_hips.known, model.group) == (3, ("model", "cnn 1.0.0"))
    assert sum(each.broken.of for each in all_hips.bins) == 0
    assert not any(each.is_off for each in all_hips.bins)


def test_who_is_left_out_of_too_many_groups_is_counted() -> None:
    hips = [hip(0.9, True, station=f"S{n}") for n in range(100)] + [hip(0.9, True, station="S7")]
    found, left_out = right(hips)
    assert left_out == 102 - (len(found) - 1)
    assert ("station", "S7") in {each.group for each in found}


def test_ages_fall_into_groups_without_a_gap() -> None:
    names = [groups._age_group(age) for age in (0, 17.9, 18, 49.9, 50, 64.9, 65, 79.9, 80, 110)]
    assert names == [name for name in ("< 18", "18-49", "50-64", "65-79", "≥ 80") for _ in "ab"]
