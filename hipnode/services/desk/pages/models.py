"""The models: which are loaded where, their cards, and those in shadow beside those that report."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any, Final

from hipnode.domain import AuditEvent
from hipnode.errors import BundleRefused
from hipnode.nets.bundle.contents import CARD, METADATA
from hipnode.nets.bundle.contents import verify as verified
from hipnode.nets.bundle.setfile import pins
from hipnode.nets.bundle.spec import read_spec
from hipnode.services.desk.visit import Answer, Visit
from hipnode.storage import Asked, AuditEntry, AuditFilter

_COMPARED: Final = 1000
"""So many of the newest readings are compared."""


def models(visit: Visit) -> Answer:
    """Show the model sets of the settings, and where they are loaded."""
    worker = visit.settings.worker
    shadow = {rule.set: rule.shadow for rule in worker.model_sets}
    references = dict.fromkeys([worker.model_set, *shadow])
    sets = [
        {"reference": ref, "shadow": shadow.get(ref, False), **_cards(ref)} for ref in references
    ]
    services = [state for state in visit.store.services.all() if state.beat.models]
    loaded = visit.store.desk.records.page(
        Asked(AuditFilter(event=AuditEvent.MODEL_SET_LOADED)), limit=20
    )
    asked = Asked(AuditFilter(event=AuditEvent.IMAGE_READ))
    tests = visit.store.self_tests.images()
    read = tuple(
        entry
        for entry in visit.store.desk.records.page(asked, limit=_COMPARED).entries
        if entry.record.sop_instance_uid not in tests
    )
    values = {
        "sets": sets,
        "services": services,
        "loaded": loaded.entries,
        "compared": _compared(read),
        "readings": len(read),
    }
    return Answer("models.html", values)


@lru_cache(maxsize=32)
def _cards(reference: str) -> dict[str, Any]:
    """Return the bundles of a set with their cards; read once, as the services do."""
    try:
        found = []
        for role, (folder, pinned) in sorted(pins(reference).items()):
            files, digest = verified(folder)
            spec = read_spec(files[METADATA], digest)
            found.append(
                {
                    "role": str(role),
                    "name": spec.name,
                    "version": spec.version,
                    "digest": digest,
                    "pinned": digest == pinned,
                    "card": files[CARD].decode("utf-8", "replace"),
                }
            )
    except BundleRefused as error:
        return {"bundles": [], "error": str(error)}
    return {"bundles": found, "error": ""}


def _compared(read: tuple[AuditEntry, ...]) -> list[dict[str, Any]]:
    """Return how often a model in shadow and the one that reports decided so and so, on a hip."""
    reported: dict[tuple[str, str, str], str] = {}
    shadows: list[tuple[tuple[str, str, str], str, str]] = []
    for entry in read:
        for hip in entry.record.detail.get("hips", []):
            for finding in hip.get("findings", []):
                key = entry.record.sop_instance_uid, str(hip.get("side")), str(finding.get("task"))
                decision = str(finding.get("decision"))
                if finding.get("shadow"):
                    shadows.append((key, f"{finding.get('model')}", decision))
                else:
                    reported.setdefault(key, decision)
    counted: Counter[tuple[str, str, str, str]] = Counter()
    for key, model, decision in shadows:
        if key in reported:
            counted[key[2], model, reported[key], decision] += 1
    return [
        {"task": task, "model": model, "reported": mine, "shadow": other, "count": count}
        for (task, model, mine, other), count in sorted(counted.items())
    ]
