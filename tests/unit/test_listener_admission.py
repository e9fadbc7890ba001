"""Who may associate: each of PS3.8's reasons, and nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hipnode.errors import SettingsInvalid
from hipnode.services.listener.admission import Admission, Rejection, Request
from hipnode.settings import ListenerSettings


def admission(**changes: object) -> Admission:
    settings = ListenerSettings.model_validate(
        {
            "callers": [
                {"ae_title": "PACS", "addresses": ["10.1.2.3", "10.1.4.0/24", "fd00::/8"]},
                {"ae_title": "PACS", "addresses": ["192.0.2.9"]},
                {"ae_title": "ROAMING"},
            ],
            "max_associations": 2,
            **changes,
        }
    )
    return Admission(settings, "HIPNODE")


@pytest.mark.parametrize(
    ("calling", "address", "accepted"),
    [
        ("PACS", "10.1.2.3", True),
        ("PACS", "10.1.4.200", True),
        ("PACS", "::ffff:10.1.4.200", True),  # an IPv4 peer on a dual-stack socket
        ("PACS", "fd00::1%eth0", True),
        ("PACS", "192.0.2.9", True),  # the second entry of the same AE title
        ("PACS", "10.1.2.4", False),
        ("ROAMING", "203.0.113.7", True),
        ("pacs", "10.1.2.3", False),  # AE titles are case-sensitive
        ("", "10.1.2.3", False),
    ],
)
def test_callers(calling: str, address: str, accepted: bool) -> None:
    refusal = admission().decide(Request(calling, "HIPNODE", address), 0)
    assert (refusal is None) is accepted
    if refusal:
        assert refusal.rejection.value == (1, 1, 3)


def test_reasons_are_those_of_the_standard() -> None:
    rules, peer = admission(), Request("PACS", "HIPNODE", "10.1.2.3")

    def reason(request: Request, active: int = 0, stopping: bool = False) -> object:
        refusal = rules.decide(request, active, stopping=stopping)
        return refusal and refusal.rejection

    assert reason(peer, active=1) is None
    assert reason(peer, active=2) is Rejection.LOCAL_LIMIT_EXCEEDED
    assert reason(peer, stopping=True) is Rejection.TEMPORARY_CONGESTION
    full = admission(max_associations=10, max_associations_share=0.3)
    assert full.decide(peer, 9, of_caller=2, of_address=6) is None
    for many in ({"of_caller": 3}, {"of_address": 7}):
        refused = full.decide(peer, 9, **many)
        assert refused is not None
        assert refused.rejection is Rejection.LOCAL_LIMIT_EXCEEDED
    other = Request("PACS", "OTHER", "10.1.2.3")
    assert reason(other, active=9) is Rejection.CALLED_AE_TITLE_NOT_RECOGNISED
    odd = Request("PACS", "HIPNODE", "10.1.2.3", "1.2.3")
    assert reason(odd) is Rejection.APPLICATION_CONTEXT_NOT_SUPPORTED


def test_without_callers_nobody_is_accepted() -> None:
    closed = admission(callers=[])
    assert closed.decide(Request("PACS", "HIPNODE", "127.0.0.1"), 0)
    assert not closed.knows_address("127.0.0.1")
    opened = admission(callers=[], accept_any_caller=True, accept_any_called_ae=True)
    assert opened.decide(Request("X", "Y", "127.0.0.1"), 0) is None


def test_an_address_that_is_none_stops_the_node() -> None:
    with pytest.raises(SettingsInvalid, match=r"pacs\.example"):
        admission(callers=[{"ae_title": "PACS", "addresses": ["pacs.example"]}])


@given(
    calling=st.text(max_size=20),
    called=st.text(max_size=20),
    address=st.ip_addresses().map(str),
    context=st.text(max_size=70),
    active=st.integers(0, 100),
)
def test_total(calling: str, called: str, address: str, context: str, active: int) -> None:
    refusal = admission().decide(Request(calling, called, address, context), active)
    if refusal is None:
        assert calling in {"PACS", "ROAMING"}
        assert called == "HIPNODE"
        assert active < 2
