"""What must hold of a node at the end of a test, whatever was done to it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.archive import Orthanc
from tests.crew import Crew
from tests.node import Node
from tests.peers import eventually

_KINDS = ("read", "report", "deliver")


def settled(node: Node, timeout_s: float = 300) -> dict[str, Any]:
    """Wait until no job is open; return what ``hipnode status --json --account`` says."""

    def document() -> dict[str, Any]:
        if node.is_busy():
            return {}
        found = node.status("--account")
        states = [found["jobs"].get(kind, {}) for kind in _KINDS]
        still_open = sum(state.get("queued", 0) + state.get("claimed", 0) for state in states)
        return found if found["jobs"] and not still_open else {}

    return eventually(document, timeout_s=timeout_s, poll_s=0.5, what="no job is open")


def all_committed(crew: Crew, timeout_s: float = 300) -> dict[str, int]:
    """Wait until the archive has answered for everything; return the account."""

    def account() -> dict[str, int]:
        crew.tend()
        if crew.node.is_busy():
            return {}
        found: dict[str, int] = crew.node.status("--account")["account"]
        return found if found["committed"] == found["received"] else {}

    return eventually(account, timeout_s=timeout_s, poll_s=1, what="all is committed to")


def events(node: Node) -> Counter[str]:
    """Count the audit log's events."""
    return Counter(record["event"] for record in node.audit())


def assert_the_count_adds_up(account: dict[str, int]) -> None:
    """Every image that was received is somewhere, and nothing waits."""
    parts = {name: count for name, count in account.items() if name != "received"}
    assert account["waiting"] == 0
    assert sum(parts.values()) == account["received"], account


def assert_the_archive_holds_every_result_once(node: Node, orthanc: Orthanc) -> list[str]:
    """Compare the archive with the audit log; return the UIDs of the objects."""
    delivered = [
        record["sop_instance_uid"]
        for record in node.audit()
        if record["event"] == "object_delivered"
    ]
    assert sorted(set(delivered)) == sorted(delivered), "an object was delivered twice"
    assert orthanc.sop_instance_uids() == sorted(delivered)
    return delivered


def assert_the_audit_log_is_unbroken(node: Node) -> None:
    """Have every row, every seal and the chain recomputed."""
    assert node.ask("audit", "verify").stdout.startswith("unbroken\n")


def claims_of_reads(node: Node) -> Counter[int]:
    """Count how often each reading was begun: no image is read without a claim."""
    return Counter(
        record["job_id"]
        for record in node.audit()
        if record["event"] == "job_claimed" and record["detail"]["kind"] == "read"
    )
