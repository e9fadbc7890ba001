"""FHIR: valid by the published definitions, the same report under the same id, and no name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle

from hipnode import DISCLAIMER, codes
from hipnode.domain import ResultKind, Side
from hipnode.reporting import build_messages
from tests import cases
from tests.factory import header, hip, reading


def bundle(name: str, **changes: Any) -> dict[str, Any]:
    request = cases.CASES[name].request(name)
    (made,) = build_messages(replace(request, objects=frozenset({ResultKind.FHIR}), **changes))
    document: dict[str, Any] = json.loads(made.content)
    return document


def resources(document: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = [entry["resource"] for entry in document["entry"]]
    return [r for r in found if r["resourceType"] == kind]


@pytest.mark.parametrize("name", [n for n in cases.CASES if n != "two-patients"])
@pytest.mark.parametrize("language", ["en", "de"])
def test_every_case_is_valid_and_says_what_it_is_not_for(name: str, language: Any) -> None:
    document = bundle(name, language=language)
    Bundle.model_validate(document)
    (report,) = resources(document, "DiagnosticReport")
    observations = resources(document, "Observation")
    assert {r["reference"] for r in report["result"]} == {
        f"Observation/{o['id']}" for o in observations
    }
    assert len({o["id"] for o in observations}) == len(observations)
    assert report["status"] == "preliminary"
    assert report["subject"]["identifier"]["value"]
    if language == "en":
        assert DISCLAIMER in report["conclusion"]
        assert all(DISCLAIMER in o["note"][0]["text"] for o in observations)
    assert "Muster" not in json.dumps(document), "the patient is named by ID alone"


def test_what_was_found_is_coded() -> None:
    document = bundle("positive-right")
    coded = [
        (
            observation["bodySite"]["text"],
            observation["valueCodeableConcept"]["coding"][0]["display"],
            observation["interpretation"][0]["coding"][0]["code"],
        )
        for observation in resources(document, "Observation")
        if "interpretation" in observation
    ]
    assert ("RIGHT hip", "Present", "POS") in coded
    (report,) = resources(document, "DiagnosticReport")
    assert report["conclusion"].startswith("LOOK NOW. RIGHT hip: FRACTURE LIKELY")


def test_the_class_that_hospitals_audit_by_is_coded_where_the_model_tells_it() -> None:
    found = hip(Side.RIGHT, 0.97)
    (told,) = found.findings
    told = replace(told, positive=("trochanteric", "intracapsular"))
    source = cases.source("1", reading([replace(found, findings=(told,))]), ds=header())
    (made,) = build_messages(cases.request(source, objects=frozenset({ResultKind.FHIR})))
    document = json.loads(made.content)
    Bundle.model_validate(document)
    kinds = [o["component"] for o in resources(document, "Observation") if "component" in o]
    assert told.nhfd
    ((kind,),) = kinds
    assert kind["code"]["text"] == "Class of the National Hip Fracture Database"
    assert kind["valueCodeableConcept"]["coding"][0]["code"] == codes.NHFD[told.nhfd].value


def test_what_was_not_assessed_says_why() -> None:
    observations = resources(bundle("implant"), "Observation")
    (absent,) = [o["dataAbsentReason"] for o in observations if "dataAbsentReason" in o]
    assert absent["coding"][0]["code"] == "not-performed"
    assert absent["coding"][1]["display"] == "implant or other metal at the hip"


def test_a_new_version_takes_the_place_of_the_one_before() -> None:
    first, second = (
        build_messages(
            cases.request(
                cases.source("1", reading([hip(Side.RIGHT, p)]), ds=header()),
                objects=frozenset({ResultKind.FHIR}),
                version=version,
            )
        )[0]
        for version, p in ((1, 0.2), (2, 0.97))
    )
    assert first.sop_instance_uid != second.sop_instance_uid, "the outbox sends both"
    places = [
        [entry["request"]["url"] for entry in json.loads(made.content)["entry"]]
        for made in (first, second)
    ]
    assert places[0] == places[1]
