"""At a glance: is anything wrong, and who must see to it?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from importlib.metadata import distributions
from typing import Any, Final

from hipnode.domain import AuditEvent
from hipnode.domain.selftest import OPEN, SelfTest, SelfTestState
from hipnode.services.desk.pages import selftests
from hipnode.services.desk.visit import Answer, Visit
from hipnode.services.life.look import look

_DAYS: Final = 30
_TESTS: Final = 5
"""So many self-tests are shown, the newest."""
_EVERY_S: Final = 15


def glance(visit: Visit) -> Answer:
    """Show the state of the node: nothing of a patient is in it."""
    state = look(visit.settings, visit.store)
    keys = [fault["key"] for fault in state["faults"]]
    kinds = [key.partition(":")[0] for key in keys]
    images: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for counted in visit.store.desk.records.days(visit.now, _DAYS):
        day = counted.day.isoformat()
        if counted.event is AuditEvent.INSTANCE_STORED:
            images[day] += counted.number
        elif counted.event in {AuditEvent.INSTANCE_REFUSED, AuditEvent.ASSOCIATION_REFUSED}:
            refused[day] += counted.number
    tests = visit.store.self_tests.newest(2 * _DAYS)
    own = visit.store.self_tests.images([test.sop_uid for test in tests])
    images -= Counter(
        test.came_utc.date().isoformat() for test in tests if test.came_utc and test.sop_uid in own
    )
    days = [(visit.now - timedelta(days=n)).date().isoformat() for n in range(_DAYS)][::-1]
    today = days[-1]
    earlier = [images[day] for day in days if images[day] and day != today]
    live = "live" in visit.query
    values = {
        "state": state,
        "wrong": Counter(kinds),
        "tiles": _tiles(state, {*keys, *kinds}, tests),
        "tested": [selftests.row(test) for test in tests[:_TESTS]],
        "test_days": selftests.days(visit, tests) if visit.settings.self_test.send_to else [],
        "chart": [(day, images[day]) for day in days],
        "refused": [refused[day] for day in days],
        "today": images[today],
        "refused_today": refused[today],
        "usual": round(sum(earlier) / len(earlier)) if earlier else 0,
        "live": live,
    }
    return Answer("glance.html", values, headers={"Refresh": str(_EVERY_S)} if live else {})


def _tiles(state: dict[str, Any], faults: set[str], tests: Sequence[SelfTest]) -> dict[str, str]:
    """Return of each tile whether it is well: ok, look, or wrong. Faults go by kind, or by key."""

    def worst(*wrong: str, look: bool = False) -> str:
        return "wrong" if faults.intersection(wrong) else "look" if look else "ok"

    ended = [test.state for test in tests if test.state not in OPEN]

    places = state["destinations"]
    audit = state["audit"]
    return {
        "intake": worst("disk", look=state["last_image_utc"] is None),
        "queue": worst("quarantine", "waits"),
        "destinations": worst(
            "destination", look=not places or any(p["away_since_utc"] for p in places)
        ),
        "models": worst("models", look=not any(s["models"] for s in state["services"])),
        "disk": worst("disk", look=state["disk_free_bytes"] < 2 * state["disk_low_bytes"]),
        "log": worst(
            "audit", "further:audit log", "further:database", look=audit["verified_utc"] is None
        ),
        "self_test": worst("further:self-test", look=ended[:1] != [SelfTestState.PASSED]),
        "services": worst("service", "starts", "hangs", "clock"),
    }


def about(_visit: Visit) -> Answer:
    """Show what the node is made of."""
    return Answer("about.html", {"packages": _packages()})


@cache
def _packages() -> list[tuple[str, str]]:
    """Return what is installed, by name; it stays so while the process runs."""
    found = {(str(d.metadata["Name"]), str(d.version)) for d in distributions()}
    return sorted(found, key=lambda package: package[0].lower())
