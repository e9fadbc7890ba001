"""The node's self-tests: how far each came, and the button that starts one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from hipnode.domain.selftest import MATTERS, SelfTest, SelfTestState, matter_of
from hipnode.errors import InputRefused
from hipnode.services.desk.roles import RUNNING
from hipnode.services.desk.visit import Answer, Visit

_SHOWN: Final = 60
_DAYS: Final = 30
_AT_ONCE: Final = 3
"""So many may be open: each costs the PACS an image."""
_STEPS: Final = ("came_utc", "read_utc", "delivered_utc", "seen_utc", "withdrawn_utc")


def self_tests(visit: Visit) -> Answer:
    """Show what became of the newest. Nothing of a patient is in it."""
    found = visit.store.self_tests.newest(_SHOWN)
    chosen = visit.settings.self_test
    values = {
        "on": bool(chosen.send_to),
        "chosen": chosen,
        "rows": [row(test) for test in found],
        "days": days(visit, found),
        "tomorrow": matter_of(visit.now.date() + timedelta(days=1)).word,
        "matters": len(MATTERS),
        "may": bool(visit.who.roles & RUNNING),
        "own": visit.store.self_tests.images([test.sop_uid for test in found]),
    }
    return Answer("selftests.html", values)


def row(test: SelfTest) -> dict[str, Any]:
    """Return a self-test, and how long after it was sent each step was reached."""
    steps = []
    for name in _STEPS:
        moment = getattr(test, name)
        began = test.sent_utc
        steps.append((moment - began).total_seconds() if moment and began else None)
    return {"test": test, "steps": steps}


def days(visit: Visit, found: Sequence[SelfTest]) -> list[tuple[str, str]]:
    """Return of each of the last days whether its self-test passed: ok, wrong, or look."""
    words = {SelfTestState.PASSED: "ok", SelfTestState.MISSED: "wrong"}
    by_day = {test.day: words.get(test.state, "look") for test in reversed(found)}
    last = [(visit.now - timedelta(days=n)).date() for n in range(_DAYS)][::-1]
    return [(day.isoformat(), by_day.get(day, "look")) for day in last]


def ask(visit: Visit) -> Answer:
    """Start one now; the courier runs it. That somebody did is on the audit log."""
    if not visit.settings.self_test.send_to:
        raise InputRefused("The settings name no destination for a self-test.")
    if len(visit.store.self_tests.open()) >= _AT_ONCE:
        raise InputRefused("Enough of them are on their way.")
    day = visit.now.date()
    visit.store.self_tests.ask(day, matter_of(day).word, actor=visit.who.name)
    return Answer(to="/self-test")
