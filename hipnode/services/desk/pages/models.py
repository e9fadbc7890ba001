"""The models: what reports and who chose it, the cards, and those in shadow beside it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from hipnode.domain import AuditEvent
from hipnode.domain.choices import ChoiceState, Who
from hipnode.errors import BundleRefused, InputRefused, SettingsInvalid
from hipnode.nets.bundle.contents import CARD, METADATA
from hipnode.nets.bundle.contents import verify as verified
from hipnode.nets.bundle.setfile import pins
from hipnode.nets.bundle.spec import read_spec
from hipnode.services import drifting
from hipnode.services.desk.remembered import Remembered
from hipnode.services.desk.roles import CONFIRMING, PROPOSING
from hipnode.services.desk.visit import Answer, NotAllowed, Visit
from hipnode.services.modelsets import ModelSets, check, proposal
from hipnode.storage import Asked, AuditEntry, AuditFilter, Store
from hipnode.storage.desk.choices import NONE_OPEN

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
    at, (readings, compared) = _BESIDE.of(visit.store, visit.now)
    values = {
        **_choice(visit),
        "sets": sets,
        "services": services,
        "loaded": loaded.entries,
        "at": at,
        "compared": compared,
        "readings": readings,
    }
    return Answer("models.html", values)


# --- which reports ----------------------------------------------------------------------------


def _choice(visit: Visit) -> dict[str, Any]:
    """Return what reports where no rule matches, and what may be done about it."""
    choices, names = visit.store.desk.choices, visit.settings.worker.model_set
    try:
        known = ModelSets(visit.settings.worker, choices.confirmed)
    except SettingsInvalid as error:
        return {"broken": str(error), "choice": None}
    roles = visit.who.roles
    opened = choices.open()
    mine = Who(visit.who.subject, visit.who.name)
    return {
        "broken": "",
        "choice": known,
        "reports": known.references[known.default],
        "file": names,
        "candidates": [
            (digest, name) for digest, name in known.candidates.items() if digest != known.default
        ],
        "proposal": opened,
        "history": choices.newest(),
        "may_propose": bool(roles & PROPOSING) and opened is None,
        "may_confirm": bool(roles & CONFIRMING)
        and opened is not None
        and not mine.is_same(opened.proposed_by),
        "may_decline": bool(roles & PROPOSING) and opened is not None,
    }


def propose(visit: Visit) -> Answer:
    """Propose that another set report, or that what the file says count again."""
    chosen = proposal(
        visit.settings,
        visit.form.get("set", ""),
        Who(visit.who.subject, visit.who.name),
        visit.form.get("reason", ""),
    )
    visit.store.desk.choices.propose(chosen, visit.record(AuditEvent.MODELS_PROPOSED))
    return Answer(to="/models")


def decide(visit: Visit) -> Answer:
    """Confirm a proposal (another person than who made it), or decline it."""
    number, wanted = visit.form.get("number", ""), visit.form.get("decision", "")
    choices = visit.store.desk.choices
    opened = choices.proposed()
    if number != str(opened.id):
        raise InputRefused(NONE_OPEN)
    who, reason = Who(visit.who.subject, visit.who.name), visit.form.get("reason", "")
    if wanted == "decline":
        record = visit.record(AuditEvent.MODELS_DECLINED)
        choices.decide(opened.id, ChoiceState.DECLINED, who, reason, record)
        return Answer(to="/models")
    if not visit.who.roles & CONFIRMING:
        raise NotAllowed("An administrator confirms.")
    check(visit.settings, opened)
    record = visit.record(AuditEvent.MODELS_CONFIRMED)
    choices.decide(opened.id, ChoiceState.CONFIRMED, who, reason, record)
    return Answer(to="/models")


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


def _beside(store: Store, _now: datetime) -> tuple[int, list[dict[str, Any]]]:
    """Return how many readings were gone through, and what follows from them."""
    read = drifting.findings(store, _COMPARED)
    return len(read), _compared(read)


_BESIDE: Final = Remembered(_beside)


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
