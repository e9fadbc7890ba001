"""What is known beside the image: what somebody writes, what is kept of it, what is used."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import hl7
import pytest

from hipnode.domain import COVARIATES, CovariateSource, Header, Told
from hipnode.errors import InputRefused
from hipnode.reading import clinical
from hipnode.services.covariates import fhir, message
from hipnode.services.covariates.values import Said, consistent, moment, told
from hipnode.storage.ledger.covariates import Refused

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
HEADER = Header("1.2.840.10008.5.1.4.1.1.1.1", "1.2", "1.3", patient_id="P-17",
                accession_number="A-99", study_date="2026-11-20")  # fmt: skip
CODES = {"LN:1989-3": "vitamin_d_ng_ml", "L:CA": "calcium_mg_dl", "L:FX": "hip_fracture_history"}


def said(value: str, unit: str = "ng/mL", name: str = "vitamin_d_ng_ml", **other: Any) -> Any:
    known = {"accession_number": "A-99", "patient_ids": ("P-17",), "measured": "20261101"} | other
    one = Said(name=name, value=value, unit=unit, **known)
    return told(one, CovariateSource.ORU, "42", "LAB", NOW)


@pytest.mark.parametrize(
    ("value", "unit", "name", "expected"),
    [
        ("24.1", "ng/mL", "vitamin_d_ng_ml", 24.1),
        ("24.1", "NG/ML", "vitamin_d_ng_ml", 24.1),
        ("24.1", "µg/L", "vitamin_d_ng_ml", 24.1),
        ("24.1", "μg/l", "vitamin_d_ng_ml", 24.1),
        ("60", "nmol/L", "vitamin_d_ng_ml", 24.04),
        ("2.4", "mmol/L", "calcium_mg_dl", 9.62),
        ("9.6", "mg/dl", "calcium_mg_dl", 9.6),
        ("4.8", "mEq/L", "calcium_mg_dl", 9.62),
        ("163", "cm", "height_m", 1.63),
        ("0.62", "m2", "alm_bmi", 0.62),
        ("Y", "", "hip_fracture_history", 1.0),
        ("nein", "", "hip_fracture_history", 0.0),
    ],
)
def test_a_value_is_kept_in_the_unit_of_its_network(
    value: str, unit: str, name: str, expected: float
) -> None:
    assert said(value, unit, name).value == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": "24,1"}, "plain number"),
        ({"value": "<4"}, "plain number"),
        ({"value": "1e3"}, "plain number"),
        ({"value": "NaN"}, "plain number"),
        ({"value": "\u0662\u0664"}, "plain number"),
        ({"value": "DOE^JANE"}, "plain number"),
        ({"unit": ""}, "no unit"),
        ({"unit": "IU/mL"}, "unit that is not known"),
        ({"value": "2.4", "unit": "mg/dL", "name": "calcium_mg_dl"}, "out of range"),
        ({"value": "9.6", "unit": "mmol/L", "name": "calcium_mg_dl"}, "out of range"),
        ({"value": "maybe", "unit": "", "name": "hip_fracture_history"}, "neither yes nor no"),
        ({"name": "age", "unit": "a"}, "no such covariate"),
        ({"name": "shoe_size"}, "no such covariate"),
        ({"accession_number": " "}, "no accession"),
        ({"patient_ids": ("",)}, "no patient"),
        ({"measured": ""}, "no date"),
        ({"measured": "20261301"}, "no date that can be read"),
        ({"measured": "01.11.2026"}, "no date that can be read"),
        ({"measured": "20271101"}, "future"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_reason(
    changes: dict[str, Any], reason: str
) -> None:
    made = said(**({"value": "24.1"} | changes))
    assert isinstance(made, Refused)
    assert reason in made.reason


def test_text_that_is_no_value_does_not_reach_the_log() -> None:
    made = said("DOE JANE", "born 1940")
    assert isinstance(made, Refused)
    assert made.told.given == "(text) (text)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20261101", "2026-11-01"),
        ("202611010815", "2026-11-01T08:15"),
        ("20261101081530.123+0200", "2026-11-01T08:15"),
        ("2026-11-01T23:30:00Z", "2026-11-01T23:30"),
        ("2026-11-01", "2026-11-01"),
        ("2026110108", "2026-11-01T08:00"),
        ("2026-11-01T08:15:30.5+01:00", "2026-11-01T08:15"),
        ("20261101+0100", "2026-11-01"),
        ("202611", ""),
        ("2026-11-011", ""),  # which day of which was meant?
        ("2026-11-01:", ""),
        ("0001-01-01", ""),
        ("20260230", ""),
    ],
)
def test_a_moment_is_what_is_written(text: str, expected: str) -> None:
    assert moment(text) == expected


# --- which of them counts -------------------------------------------------------------------------


def row(
    number: int, value: float | None, measured: str, name: str = "vitamin_d_ng_ml", **other: Any
) -> Told:
    known = {"patient_ids": ("99", "P-17"), "source": CovariateSource.ORU} | other
    return Told("A-99", name=name, value=value, measured=measured, id=number, **known)


def counts(*rows: Told, header: Header = HEADER, days: float = 365) -> tuple[float | None, str]:
    """Return the value that is used, or None and why none is."""
    known = clinical.known(header, (rows[0].name,), rows, days)
    value = known.values[0] if known.values else None
    assert (value is None) == bool(known.missing)
    return value, "; ".join(each.reason for each in known.unused)


YES = {"name": "hip_fracture_history"}


@pytest.mark.parametrize(
    ("rows", "value", "why"),
    [
        ([row(1, 20, "2026-11-01")], 20, ""),
        ([row(1, 20, "2026-11-01"), row(2, 22, "2026-11-10T08:00")], 22, ""),
        ([row(1, 22, "2026-11-10"), row(2, 20, "2026-11-01")], 22, ""),
        ([row(1, 20, "2026-11-01"), row(2, 21, "2026-11-01", corrected=True)], 21, ""),
        # the laboratory's engine sends the first one once more, after its correction
        ([row(1, 21, "2026-11-01", corrected=True), row(2, 20, "2026-11-01")], 21, ""),
        # a correction puts its own moment right, and no later one of the same day
        (
            [
                row(1, 20, "2026-11-01T08:00"),
                row(2, 22, "2026-11-01T16:00"),
                row(3, 21, "2026-11-01T08:00", corrected=True),
            ],
            22,
            "",
        ),
        ([row(1, 22, "2026-11-01T16:00"), row(2, 20, "2026-11-01T08:00")], 22, ""),
        ([row(1, 22, "2026-11-01T16:00"), row(2, 21, "2026-11-01", corrected=True)], 21, ""),
        ([row(1, 20, "2026-11-01"), row(2, None, "2026-11-01", corrected=True)], None, "back"),
        (
            [row(1, None, "2026-11-01", corrected=True), row(2, 20, "2026-11-01T08:00")],
            None,
            "back",
        ),
        ([row(1, 20, "2026-11-01"), row(2, None, "", corrected=True)], None, "back"),
        ([row(1, None, "", corrected=True), row(2, 20, "2026-11-01")], 20, ""),
        ([row(1, 20, "2026-11-21")], None, "after the examination"),
        ([row(1, 20, "2025-01-01")], None, "688 days old"),
        ([row(1, 20, "2025-01-01"), row(2, 21, "2026-11-21")], None, "688 days old"),
        ([row(1, 20, "2026-11-01", patient_ids=("P-18",))], None, "another patient"),
        ([row(1, 1, "1999-01-01", **YES)], 1, ""),
        ([row(1, 0, "1999-01-01", **YES)], None, "days old"),
        ([row(1, 0, "2026-01-01", **YES), row(2, 1, "2026-05-01", **YES)], 1, ""),
        ([row(1, 1, "2026-01-01", **YES), row(2, 0, "2026-05-01", **YES)], None, "as no later"),
        ([row(1, 1, "2026-01-01", **YES), row(2, 0, "2026-01-01", corrected=True, **YES)], 0, ""),
    ],
)
def test_the_newest_value_before_the_examination_counts(
    rows: list[Told], value: float | None, why: str
) -> None:
    found, reason = counts(*rows)
    assert found == value
    assert why in reason
    assert bool(why) == bool(reason)


def test_an_image_without_a_patient_or_a_day_gets_nothing() -> None:
    one = row(1, 20, "2026-11-01")
    assert counts(one, header=replace(HEADER, study_date=""))[0] is None
    nobody = replace(one, patient_ids=("",))
    assert counts(nobody, header=replace(HEADER, patient_id=""))[0] is None


def test_the_header_comes_first_and_is_not_believed_beyond_what_can_be() -> None:
    told_bmi = row(1, 31.0, "2026-11-01", name="bmi")
    slim = replace(HEADER, size_m=1.6, weight_kg=64.0)
    assert counts(told_bmi, header=slim)[0] == pytest.approx(25.0)
    heavy = replace(HEADER, size_m=0.3, weight_kg=64.0)
    value, reason = counts(told_bmi, header=heavy)
    assert value == 31.0
    assert "in the header is out of range" in reason


# --- whence they come -----------------------------------------------------------------------------

HL7 = (
    "MSH|^~\\&|LAB|H|hipnode||2026||ORU^R01|42|P|2.5.1\r"
    "PID|1||99^^^CITY~P-17^^^H||DOE^JANE\r"
    "OBR|1|PL1|LAB7|LABS|||20261102|||||||||||A-99|||||||F\r"
)


def orders(segments: str, head: str = HL7) -> list[message.Order]:
    return list(message.orders(hl7.parse(head + segments), CODES))


def obx(value: str, code: str = "1989-3^D^LN", kind: str = "NM", **other: str) -> str:
    unit, status, when = (other.get(n, d) for n, d in (("unit", "ng/mL"), ("s", "F"), ("t", "")))
    return f"OBX|1|{kind}|{code}||{value}|{unit}|||||{status}|||{when}\r"


@pytest.mark.parametrize(
    ("segment", "value", "why", "measured"),
    [
        (obx("24.1", t="20261101"), "24.1", "", "20261101"),
        (obx("24.1"), "24.1", "", "20261102"),  # without OBX-14, the order's own
        (obx("24.1", code="VD^D^99LAB^1989-3^D^LN"), "24.1", "", "20261102"),
        (obx("^24.1", kind="SN"), "24.1", "", "20261102"),
        (obx("<^4", kind="SN"), "<^4", "a range", "20261102"),
        (obx("4^-^8", kind="SN"), "4^-^8", "a range", "20261102"),
        (obx("24.1~25"), "24.1~25", "several values", "20261102"),
        (obx("24.1", s="P"), "24.1", "not final", "20261102"),
        (obx("24.1", s=""), "24.1", "", "20261102"),  # the order is final
        (obx("", s="D"), "", "", "20261102"),
        (obx("24.1", s="W"), "", "", "20261102"),
        (obx(""), "", "no value", "20261102"),
        (obx("x", kind="ED"), "x", "are not read", "20261102"),
        (obx("Y^Yes^HL70136", code="FX^x^L", kind="CWE", unit=""), "Y", "", "20261102"),
    ],
)
def test_an_obx_of_a_named_code_is_a_value(
    segment: str, value: str, why: str, measured: str
) -> None:
    ((one, reason),) = orders(segment)[0].said
    assert (one.value, one.measured) == (value, measured)
    assert one.patient_ids == ("99", "P-17")
    assert orders(segment)[0].accessions == ("A-99", "LAB7", "PL1")
    assert why in reason
    assert bool(why) == bool(reason)


def test_what_no_setting_names_is_no_value() -> None:
    assert orders(obx("24.1", code="1989-3^D^99OTHER")) == []
    assert orders(obx("24.1", code="")) == []


def test_a_message_of_two_patients_keeps_them_apart() -> None:
    second = "PID|2||P-18^^^H||ROE^R\rOBR|2|PL2|LAB8|LABS||||||||||||||A-98|||||||F\r"
    one, two = orders(obx("20", t="20261101") + second + obx("30"))
    assert [o.said[0][0].patient_ids for o in (one, two)] == [("99", "P-17"), ("P-18",)]
    assert two.accessions[0] == "A-98"
    assert two.said[0][0].measured == ""  # not the first patient's


def test_other_separators_are_those_of_the_message() -> None:
    text = (HL7 + obx("24.1")).replace("^", "$").replace("~", "!").replace("MSH|$!", "MSH|$!")
    (found,) = message.orders(hl7.parse(text), CODES)
    assert found.said[0][0].patient_ids == ("99", "P-17")


def test_a_unit_is_unescaped() -> None:
    ((one, _),) = orders(obx("9.6", code="CA^x^L", unit="10\\S\\3"))[0].said
    assert one.unit == "10^3"


def test_one_message_with_two_values_for_a_moment_is_not_believed() -> None:
    first, second, other = said("20"), said("30"), said("40", measured="20261102")
    made = consistent([first, second, other])
    assert [isinstance(each, Refused) for each in made] == [True, True, False]
    assert consistent([first, first]) == [first, first]


OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "1989-3"}]},
    "subject": {"reference": "Patient/p"},
    "basedOn": [{"reference": "urn:uuid:1"}],
    "effectiveDateTime": "2026-11-01T08:15:00+01:00",
    "valueQuantity": {"value": 24.1, "unit": "ng/mL", "code": "ng/mL"},
}
OTHERS: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p", "identifier": [{"value": "P-17"}]},
    {"resourceType": "ServiceRequest", "identifier": [{"value": "A-99"}]},
]


def of_fhir(**changes: Any) -> Any:
    entries = [{"resource": OBSERVATION | changes}, {"resource": OTHERS[0]}]
    entries.append({"fullUrl": "urn:uuid:1", "resource": OTHERS[1]})
    bundle = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries})
    (order,) = fhir.orders(bundle, CODES)
    return order


def test_an_observation_of_a_bundle_names_patient_and_examination() -> None:
    order = of_fhir()
    ((one, why),) = order.said
    assert (order.accessions, one.patient_ids, why) == (("A-99",), ("P-17",), "")
    assert told(replace(one, accession_number="A-99"), CovariateSource.FHIR, "f", "x", NOW) == Told(
        "A-99", ("P-17",), "vitamin_d_ng_ml", 24.1, "2026-11-01T08:15", CovariateSource.FHIR,
        "24.1 ng/mL", "f", "x",
    )  # fmt: skip


def test_of_an_examinations_numbers_the_accession_number_comes_first() -> None:
    """Before its images are here, nothing else tells it from the order's number."""
    numbers = [
        {"value": each, "type": {"coding": [{"code": code}]}}
        for each, code in (("ORDER-7", "PLAC"), ("A-98", "ACSN"))
    ]
    order = of_fhir(
        basedOn=[{"identifier": {"value": "B-1"}}, *({"identifier": n} for n in numbers)]
    )
    assert order.accessions == ("A-98", "B-1", "ORDER-7")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": "preliminary"}, "not final"),
        ({"valueQuantity": {"value": 4, "comparator": "<", "code": "ng/mL"}}, "a range"),
        ({"valueQuantity": {"value": True, "code": "ng/mL"}}, "plain number"),
        ({"valueQuantity": {"value": 10**400, "code": "ng/mL"}}, "plain number"),
        ({"valueQuantity": None}, "no value"),
    ],
)
def test_an_observation_that_is_no_value_says_why(changes: dict[str, Any], why: str) -> None:
    ((_, reason),) = of_fhir(**changes).said
    assert why in reason


def test_an_observation_entered_in_error_is_taken_back() -> None:
    ((one, why),) = of_fhir(status="entered-in-error").said
    assert (one.value, one.corrected, why) == ("", True, "")


def test_ndjson_is_taken_and_what_is_no_fhir_is_refused() -> None:
    by_itself: dict[str, Any] = OBSERVATION | {
        "subject": {"identifier": {"value": "P-17"}},
        "basedOn": [{"identifier": {"value": "A-99"}}],
    }
    two = f"{json.dumps(by_itself)}\n{json.dumps(by_itself)}\n"
    assert len(list(fhir.orders(two, CODES))) == 2
    for wrong in ("{", "[]", '{"resourceType": 3}', "[" * 100_000, "5\n6"):
        with pytest.raises(InputRefused):
            list(fhir.orders(wrong, CODES))


def test_every_covariate_of_a_shipped_recipe_is_known() -> None:
    recipes = files("hipnode.training.recipe") / "recipes"
    asked: set[str] = set()
    for path in recipes.iterdir():
        if path.name.endswith(".toml"):
            asked |= set(tomllib.loads(path.read_text(encoding="utf-8")).get("covariates", ()))
    assert len(asked) >= 7
    assert asked <= COVARIATES.keys()
