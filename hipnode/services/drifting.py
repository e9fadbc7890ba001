"""What was read and said of patients, and has it shifted? Self-tests are left out.

The desk shows it, and the housekeeper raises the alarm by it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from hipnode.answers import drift, shift
from hipnode.domain import AuditEvent, Header
from hipnode.domain.opinions import Feedback
from hipnode.storage import Asked, AuditEntry, AuditFilter, Store

DAYS: Final = 90
REFERENCE: Final = 30
"""So many of those days, the first, say what is usual."""
READINGS: Final = 5000
"""So many of the newest readings are counted."""
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

    @property
    def alarms(self) -> list[str]:
        """What has shifted, in words."""
        rates = [f"{name} ({found.side})" for name, found in self.drifts.items()
                 if found is not None and found.alarm is not None]  # fmt: skip
        looks = [
            name for name, found in self.shifts.items() if found is not None and found.is_alarm
        ]
        return rates + looks


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
    return Watched(read, len(read) >= READINGS, drifts, found, usual, newest, headers)


def findings(store: Store, limit: int) -> tuple[AuditEntry, ...]:
    """Return the newest readings that found hips, self-tests left out."""
    return _of(store, AuditFilter(event=AuditEvent.IMAGE_READ), limit, store.self_tests.images())


def opinions(store: Store, since: datetime) -> list[Feedback]:
    """Return what was said since then of patients: of each hip and question the newest."""
    tests = store.self_tests.studies()
    said = store.desk.opinions.since(since)
    return [each for each in said if each.study_instance_uid not in tests]


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
