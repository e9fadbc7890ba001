"""What happens to a received object: the first matching rule decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hipnode.dicom.kinds import Kind, kind_of
from hipnode.domain import Header
from hipnode.settings import RuleSettings

Action = Literal["read", "keep", "discard"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, how urgently, and which rule said so (for the audit log)."""

    action: Action
    priority: int
    rule: str


def decide(header: Header, calling_ae: str, rules: Sequence[RuleSettings], *, own: bool) -> Verdict:
    """Return what becomes of an object.

    The first of the settings' rules that matches decides. Without a match, what the reading gate
    takes for a radiograph or a densitometer's scan (`hipnode.dicom.kinds`) is read, everything else
    is acknowledged and discarded. This node's own objects, coming back from a PACS that routes
    everything, are never read, whatever the rules say.

    Parameters
    ----------
    header
        The object's header.
    calling_ae
        The sender's AE title.
    rules
        ``settings.rules``.
    own
        Whether this node made the object.
    """
    verdict = _by_rules(header, calling_ae, rules)
    return Verdict("discard", 0, "own_object") if own and verdict.action == "read" else verdict


def _by_rules(header: Header, calling_ae: str, rules: Sequence[RuleSettings]) -> Verdict:
    facts = header.facts(calling_ae)
    for number, rule in enumerate(rules, start=1):
        if rule.match.matches(facts):
            return Verdict(rule.action, rule.priority, f"rule_{number}")
    kind = kind_of(header.sop_class_uid, header.modality)
    if kind is Kind.OTHER:
        return Verdict("discard", 0, "not_a_radiograph")
    return Verdict("read", 0, kind)
