"""What was read and said of patients, and has it shifted? Self-tests are left out.

The desk shows it, and the housekeeper raises the alarm by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from hipnode.answers import audit, drift, shift
from hipnode.answers.groups import Known
from hipnode.domain import AuditEvent, Header, Task
from hipnode.domain.opinions import Feedback
from hipnode.storage import Asked, AuditEntry, AuditFilter, Store

DAYS: Final = 90
REFERENCE: Final = 30
"""So many of those days, the first, say what is usual."""
READINGS: Final = 5000
"""So many of the newest readings are counted."""
KNOWN: Final = 2000
"""So many of the newest hips of which somebody has said what is there are counted by group."""
FAULT: Final = "quality"
"""Under this name the fault is noted that something has shifted."""
_SHIFTED: Final = "shifted against the reference month: "
_AND: Final = ", "
_AT_ONCE: Final = 100
_A_WINDOW: Final = 3000
"""So many of the reference, and of the newest days, are compared value by value."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What was read in the last months, self-tests left out, and what of it has shifted."""

    read: tuple[AuditEntry, ...]  # the newest
    cut: bool
    drifts: dict[str, drift.Drift | None]
    shifts: dict[str, shift.Shift | None]
    usual: tuple[AuditEntry, ...]  # of the reference
    newest: tuple[AuditEntry, ...]  # of the newest days
    headers: dict[str, Header]  # of both, by SOP Instance UID
    shifted: frozenset[str]  # the features that have, those of an alarm that lasts among them

    @property
    def why(self) -> str:
        """What has shifted, in words, as the fault says it; "" where nothing has."""
        rates = [f"{name} ({found.side})" for name, found in self.drifts.items()
                 if found is not None and found.alarm is not None]  # fmt: skip
        names = rates + [name for name in self.shifts if name in self.shifted]
        return _SHIFTED + _AND.join(names) if names else ""


def watched(store: Store, now: datetime) -> Watched:
    """Go through what was read; it takes seconds, so do it now and then."""
    since = now - timedelta(days=DAYS)
    until = since + timedelta(days=REFERENCE)
    tests = store.self_tests.images()
    read = _read(store, AuditFilter(since_utc=since), READINGS, tests)
    usual = _read(store, AuditFilter(since_utc=since, until_utc=until), _A_WINDOW, tests)
    recent = AuditFilter(since_utc=now - timedelta(days=shift.RECENT_DAYS))
    newest = _read(store, recent, _A_WINDOW, tests)
    uids = [entry.record.sop_instance_uid for entry in (*usual, *newest)]
    headers = store.lookups.headers(uids)
    values = [
        value
        for entry in (*usual, *newest)
        for value in shift.seen(entry, headers.get(entry.record.sop_instance_uid))
    ]
    drifts = {
        name: drift.judged(
            [d for d in days if d.day >= until.date()], [d for d in days if d.day < until.date()]
        )
        for name, days in drift.by_day(read).items()
    }
    found = shift.shifts(values, until.date(), now.date())
    before = store.noted_fault(FAULT).removeprefix(_SHIFTED).split(_AND)
    shifted = frozenset(
        name
        for name, each in found.items()
        if each is not None and (each.is_alarm or (name in before and each.lasts))
    )
    return Watched(read, len(read) >= READINGS, drifts, found, usual, newest, headers, shifted)


def findings(store: Store, limit: int) -> tuple[AuditEntry, ...]:
    """Return the newest readings that found hips, self-tests left out."""
    return _of(store, AuditFilter(event=AuditEvent.IMAGE_READ), limit, store.self_tests.images())


def opinions(store: Store, since: datetime) -> list[Feedback]:
    """Return what was said since then of patients: of each hip and question the newest."""
    tests = store.self_tests.studies()
    said = store.desk.opinions.since(since)
    return [each for each in said if each.study_instance_uid not in tests]


def known(store: Store, since: datetime) -> tuple[list[Known], bool]:
    """Return the hips of which somebody has said since then whether they are broken.

    Each with P(fracture) as it was reported, and its image's header; and whether there were more:
    the newest are taken.
    """
    given = [
        each for each in opinions(store, since) if each.truth and each.task == Task.HIP_FRACTURE
    ]
    newest = sorted(given, key=lambda each: (each.given_utc, each.id))[-KNOWN:]
    of: dict[str, list[Feedback]] = {}
    for each in newest:
        of.setdefault(each.study_instance_uid, []).append(each)
    uids = list(of)
    found: list[tuple[Feedback, float | None, str]] = []
    for first in range(0, len(uids), _AT_ONCE):
        some = uids[first : first + _AT_ONCE]
        said = {line.facts.study_instance_uid: line.said for line in store.desk.studies.some(some)}
        for uid in some:
            found += [(each, *_as_reported(each, said.get(uid, ()))) for each in of[uid]]
    headers = store.lookups.headers([uid for _, _, uid in found if uid])
    hips = [Known(each, p, headers.get(uid)) for each, p, uid in found]
    return hips, len(given) > len(newest)


def _as_reported(given: Feedback, said: Iterable[AuditEntry]) -> tuple[float | None, str]:
    """Return P(fracture) of what somebody spoke of, and its image; the newest that was said so."""
    p, image = None, ""
    for entry in said:
        for row in audit.findings(entry):
            mine = (row["side"], row["task"], row["model_digest"], row["decision"])
            wanted = (given.side, given.task, given.model_digest, given.said)
            if mine == wanted and not row["shadow"] and row["p_positive"] is not None:
                p, image = float(row["p_positive"]), entry.record.sop_instance_uid
    return p, image


def _read(
    store: Store, wanted: AuditFilter, limit: int, tests: frozenset[str]
) -> tuple[AuditEntry, ...]:
    events = (AuditEvent.IMAGE_READ, AuditEvent.IMAGE_ABSTAINED)
    found = (_of(store, replace(wanted, event=event), limit, tests) for event in events)
    return tuple(chain.from_iterable(found))


def _of(
    store: Store, wanted: AuditFilter, limit: int, tests: frozenset[str]
) -> tuple[AuditEntry, ...]:
    entries = store.desk.records.page(Asked(wanted), limit=limit).entries
    return tuple(entry for entry in entries if entry.record.sop_instance_uid not in tests)
