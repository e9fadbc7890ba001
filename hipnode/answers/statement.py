"""The statement on the audit log: what the desk prints and ``audit verify --report`` writes.

A person signs nothing here: the node does, with the key of the log (C2SP signed-note).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hipnode import __version__
from hipnode.answers.shown import plain
from hipnode.domain import Outcome

if TYPE_CHECKING:
    from hipnode.storage import AuditState, Head


@dataclass(frozen=True, slots=True)
class Verified:
    """One verification of the log: when, by whom, what came of it (``detail`` of its record)."""

    at_utc: datetime
    actor: str
    outcome: Outcome
    detail: Mapping[str, Any]


def audit_statement(
    node: str,
    now: datetime,
    found: Verified | None,
    state: AuditState,
    head: Head | None,
    key: str,
) -> str:
    """Return the statement as text, to be signed.

    Parameters
    ----------
    node
        The node's name.
    now
        When it is made.
    found
        The verification that it is about; None where there has been none.
    state
        The state of the log now.
    head
        The newest head: whoever keeps the statement has it, and can compare.
    key
        The public key that the statement is signed with.
    """
    lines = ["hipnode-statement/audit-log", f"node {plain(node)}"]
    lines.append(f"made {_second(now)} by hipnode {__version__}")
    lines += _verified(found) if found else ["The log has not been verified yet."]
    since = f", since {_second(state.unsealed_since_utc)}" if state.unsealed_since_utc else ""
    lines.append(f"not sealed now: {state.unsealed}{since}")
    if state.fault:
        lines.append(f"WRONG {plain(state.fault)}")
    if head is not None:
        lines.append(head.line())
    return "\n".join([*lines, f"key {key}"]) + "\n"


def _verified(found: Verified) -> list[str]:
    detail = found.detail
    came = "unbroken" if found.outcome is Outcome.OK else "BROKEN"
    lines = [f"verified {_second(found.at_utc)} by {plain(found.actor) or 'nobody named'}: {came}"]
    span = ""
    if detail.get("first_utc") and detail.get("last_utc"):
        first, last = (datetime.fromisoformat(detail[f"{name}_utc"]) for name in ("first", "last"))
        span = f", from {_second(first)} to {_second(last)}"
    lines += [
        f"records {detail.get('rows', '')}{span}",
        f"seals {detail.get('seals', '')} in {detail.get('epochs', '(unknown)')} epochs",
        f"heads compared {detail.get('heads', '')}",
        f"not sealed then: {detail.get('unsealed', '(unknown)')}",
    ]
    lines += [f"ARCHIVED {plain(one)}" for one in detail.get("archives", [])]
    lines += [f"WRONG {plain(fault)}" for fault in detail.get("named", [])]
    if more := detail.get("faults", 0) - len(detail.get("named", [])):
        lines.append(f"WRONG {more} more")
    return lines + [f"ACKNOWLEDGED {plain(fault)}" for fault in detail.get("acknowledged", [])]


def _second(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
