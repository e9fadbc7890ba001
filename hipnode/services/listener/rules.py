"""What happens to a received object: the first matching rule decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from hipnode.domain import Header
from hipnode.settings import RuleSettings

Action = Literal["read", "keep", "discard"]

RADIOGRAPHS: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography Image
        "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray Image, for presentation
        "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray Image, for processing
    }
)
SECONDARY_CAPTURES: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture Image
        "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte
        "1.2.840.10008.5.1.4.1.1.7.3",  # Multi-frame Grayscale Word
    }
)
CAPTURED: Final = frozenset({"CR", "DX", "RG", "BMD"})
"""Modalities (PS3.3 C.7.3.1.1.1) whose Secondary Captures are read: film, and hip scans."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, how urgently, and which rule said so (for the audit log)."""

    action: Action
    priority: int
    rule: str


def decide(header: Header, calling_ae: str, rules: Sequence[RuleSettings], *, own: bool) -> Verdict:
    """Return what becomes of an object.

    The first of the settings' rules that matches decides. Without a match, radiographs are read
    (CR and DX, and Secondary Captures whose Modality is radiographic or bone densitometry),
    everything else is acknowledged and discarded. This node's own objects, coming back from a PACS
    that routes everything, are never read, whatever the rules say.

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
    captured = header.sop_class_uid in SECONDARY_CAPTURES
    if header.sop_class_uid in RADIOGRAPHS or (captured and header.modality in CAPTURED):
        return Verdict("read", 0, "radiograph")
    return Verdict("discard", 0, "not_a_radiograph")
