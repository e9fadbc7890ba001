"""Which objects are read, kept or discarded."""

from __future__ import annotations

import pytest
from pynetdicom.presentation import build_context

from hipnode.domain import Header
from hipnode.services.listener.contexts import is_storage, supported
from hipnode.services.listener.rules import decide
from hipnode.settings import RuleSettings

CR, DX, DX_RAW = "1", "1.1", "1.1.1"
SC, CT, SR_3D = "7", "2", "88.34"


def header(sop_class: str, modality: str = "", **facts: str) -> Header:
    return Header(
        f"1.2.840.10008.5.1.4.1.1.{sop_class}", "1.2.3", "1.2", modality=modality, **facts
    )


@pytest.mark.parametrize(
    ("sop_class", "modality", "action"),
    [
        (CR, "CR", "read"),
        (DX, "DX", "read"),
        (DX_RAW, "DX", "read"),
        (SC, "CR", "read"),  # a digitised film
        (SC, "OT", "discard"),
        (CT, "CT", "discard"),
        (SR_3D, "SR", "discard"),
    ],
)
def test_default(sop_class: str, modality: str, action: str) -> None:
    assert decide(header(sop_class, modality), "PACS", (), own=False).action == action


def test_the_first_rule_that_matches_decides() -> None:
    rules = [
        RuleSettings.model_validate(rule)
        for rule in (
            {"match": {"calling_ae": "ED*", "modality": "DX"}, "action": "read", "priority": 5},
            {"match": {"station_name": "dental?"}, "action": "keep"},
            {"match": {"presentation_intent": "FOR PROCESSING"}, "action": "discard"},
        )
    ]
    urgent = decide(header(DX, "DX", station_name="DENTAL1"), "ED_1", rules, own=False)
    assert (urgent.action, urgent.priority, urgent.rule) == ("read", 5, "rule_1")
    assert decide(header(DX, "DX", station_name="DENTAL1"), "X", rules, own=False).action == "keep"
    raw = header(DX_RAW, "DX", presentation_intent="FOR PROCESSING")
    assert decide(raw, "X", rules, own=False).rule == "rule_3"
    assert decide(header(CR, "CR"), "X", rules, own=False).rule == "radiograph"


def test_what_the_node_made_is_never_read_whatever_the_rules_say() -> None:
    rules = [RuleSettings(action="read", priority=10)]
    assert decide(header(SC, "DX"), "PACS", rules, own=True).action == "discard"
    archive = [RuleSettings(action="keep")]
    assert decide(header(SC, "DX"), "PACS", archive, own=True).action == "keep"


@pytest.mark.parametrize(
    ("uid", "storage"),
    [
        ("1.2.840.10008.5.1.4.1.1.1.2", True),  # mammography
        ("1.2.840.10008.5.1.4.1.1.999.1", True),  # younger than our dictionary
        ("1.3.46.670589.11.0.0.12.1", True),  # private
        ("1.2.840.10008.5.1.4.1.2.2.1", False),  # Study Root FIND
        ("1.2.840.10008.5.1.4.1.1.200.5", False),  # a C-MOVE class in the storage arc
        ("1.2.840.10008.1.20.1", False),  # storage commitment
    ],
)
def test_storage_classes(uid: str, storage: bool) -> None:
    assert is_storage(uid) is storage


def test_contexts_follow_the_proposal() -> None:
    dx, find = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.2.2.1"
    htj2k, implicit = "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2"
    proposal = [
        build_context(dx, [htj2k, "1.2.3.4"]),
        build_context(dx, [implicit]),
        build_context(find, [implicit]),
    ]
    found = {context.abstract_syntax: context.transfer_syntax for context in supported(proposal)}
    assert found[dx] == [htj2k, implicit]
    assert set(found) == {dx, "1.2.840.10008.1.1"}
