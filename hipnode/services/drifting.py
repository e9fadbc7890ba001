"""Has something shifted? What the desk shows and what the housekeeper raises the alarm by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hipnode.answers import drift, shift
from hipnode.domain import AuditEvent, Header
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
    read = _read(store, since, None, READINGS)
    usual = _read(store, since, until, _A_WINDOW)
    newest = _read(store, now - timedelta(days=shift.RECENT_DAYS), None, _A_WINDOW)
    uids = [entry.record.sop_instance_uid for entry in (*usual, *newest)]
    headers = store.ledger.headers(uids)
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


def _read(
    store: Store, since: datetime, until: datetime | None, limit: int
) -> tuple[AuditEntry, ...]:
    tests = store.self_tests.images()
    return tuple(
        entry
        for event in (AuditEvent.IMAGE_READ, AuditEvent.IMAGE_ABSTAINED)
        for entry in store.desk.records.page(
            Asked(AuditFilter(since_utc=since, until_utc=until, event=event)), limit=limit
        ).entries
        if entry.record.sop_instance_uid not in tests
    )
