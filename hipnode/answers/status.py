"""The node's state as plain values, and what is wrong with it: for JSON, page, metrics and alerts.

One shape for all of them. Values in, values out: `hipnode.services.life.look` gathers them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Any, Final

from hipnode.domain import JobKind, JobState
from hipnode.domain.selftest import SelfTest, SelfTestState
from hipnode.domain.services import ALWAYS, SERVICES, Service
from hipnode.pulse import SILENT_S

if TYPE_CHECKING:
    from hipnode.settings import Settings
    from hipnode.storage import DestinationState, Overview, ServiceState, Vitals

AWAY: Final = timedelta(minutes=15)
"""A destination that is away for less is no fault: results wait, and nothing is lost."""
OLD: Final = timedelta(minutes=10)
"""An image or a report that waits for longer is a fault."""
UNVERIFIED: Final = timedelta(hours=26)
STARTS: Final = timedelta(minutes=3)
"""A service that is not ready after this long does not get there, however often it starts anew."""
EXPIRES: Final = timedelta(days=21)
"""How long before its end a certificate is a fault."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that the node shows to its peers."""

    name: str  # the settings' table that names it
    expires_utc: datetime | None  # None: it cannot be read
    why: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found when somebody looked."""

    at_utc: datetime
    version: str
    overview: Overview
    vitals: Vitals
    services: list[ServiceState]
    free_bytes: int
    certificates: list[Certificate]
    further: tuple[str, ...] = ()  # faults that others have found, in words
    self_test: SelfTest | None = None  # the newest that has ended


def document(seen: Seen, settings: Settings) -> dict[str, Any]:
    """Return the state of the node; the keys are stable."""
    jobs: dict[str, dict[str, int]] = {}
    for (kind, state), count in seen.overview.jobs.items():
        jobs.setdefault(kind.value, {})[state.value] = count
    low_bytes = settings.retention.disk_low_bytes
    vitals = seen.vitals
    return {
        "at_utc": _iso(seen.at_utc),
        "node": settings.node.name,
        "ae_title": settings.node.ae_title,
        "version": seen.version,
        "settings": settings.digest(),
        "faults": [{"key": key, "what": what} for key, what in faults(seen, settings)],
        "services": [_service(state) for state in seen.services],
        "instances": seen.overview.instances,
        "last_image_utc": _iso(vitals.last_image_utc),
        "jobs": jobs,
        "oldest_queued_s": {
            kind.value: round((seen.at_utc - moment).total_seconds(), 1)
            for kind, moment in seen.overview.oldest_queued_utc.items()
        },
        "not_assessed": dict(vitals.not_assessed),
        "covariates": dict(vitals.covariates),
        "destinations": _destinations(seen, settings),
        "disk_free_bytes": seen.free_bytes,
        "disk_low_bytes": low_bytes,
        "images_refused": seen.free_bytes < low_bytes,
        "audit": {
            "unsealed": vitals.unsealed,
            "unsealed_since_utc": _iso(vitals.unsealed_since_utc),
            "sealed_utc": _iso(vitals.sealed_utc),
            "verified_utc": _iso(vitals.verified_utc),
            "verified": vitals.verified,
        },
        "self_test": {
            "ended_utc": _iso(seen.self_test.ended_utc),
            "passed": seen.self_test.state is SelfTestState.PASSED,
        }
        if seen.self_test
        else None,
        "certificates": [
            {"name": c.name, "expires_utc": _iso(c.expires_utc), "why": c.why}
            for c in seen.certificates
        ],
    }


def _service(state: ServiceState) -> dict[str, Any]:
    beat = state.beat
    return {
        "name": beat.name,
        "host": beat.host,
        "pid": beat.pid,
        "version": beat.version,
        "settings": beat.settings,
        "models": list(beat.models),
        "state": _state(state),
        "doing": beat.doing,
        "hangs": beat.hangs,
        "started_utc": _iso(state.started_utc),
        "beat_utc": _iso(state.beat_utc),
        "silent_s": round(state.silent_s, 1),
        "skew_s": state.skew_s,
    }


def _state(state: ServiceState) -> str:
    if state.silent_s > SILENT_S:
        return "silent"
    if state.beat.hangs:
        return "hangs"
    return "ready" if state.beat.ready else "starting"


def _destinations(seen: Seen, settings: Settings) -> list[dict[str, Any]]:
    """Return every destination of the settings, and those that only the database knows."""
    known = {place.name: place for place in seen.overview.destinations}
    configured = {place.name: place for place in settings.destinations}
    return [
        {
            "name": name,
            "configured": name in configured,
            "where": _where(settings, name),
            **_delivered(known.get(name)),
        }
        for name in [*configured, *(name for name in known if name not in configured)]
    ]


def _where(settings: Settings, name: str) -> str:
    for place in settings.destinations:
        if place.name == name:
            return place.where
    return ""


def _delivered(state: DestinationState | None) -> dict[str, Any]:
    """Return what the database knows of a destination: nothing before its first delivery."""
    return {
        "waiting": state.waiting if state else 0,
        "oldest_waiting_utc": _iso(state.oldest_waiting_utc) if state else None,
        "last_delivery_utc": _iso(state.last_delivery_utc) if state else None,
        "away_since_utc": _iso(state.away_since_utc) if state else None,
        "next_attempt_utc": _iso(state.paused_until_utc) if state else None,
        "rejects": state.rejects if state else False,
        "error": state.error if state else "",
        "uncommitted": state.uncommitted if state else 0,
        "committed": state.committed if state else 0,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def unwell(services: list[ServiceState], host: str, name: str | None = None) -> list[str]:
    """Return in words which services of a host are not well, or that none runs there.

    Parameters
    ----------
    services
        All that the database knows.
    host
        The host's name.
    name
        One kind of service; None for all that run there.
    """
    those = [s for s in services if s.beat.host == host and name in (None, s.beat.name)]
    if not those:
        return [f"no {name or 'service'} is running on {host}"]
    dead = [s for s in those if s.silent_s > SILENT_S]
    return [f"the {s.beat.name} is dead: {_last_heard(s)}" for s in dead] + [
        text for s in those for _, text in _of_service(s) if s.beat.hangs
    ]


# --- what is wrong --------------------------------------------------------------------------------


def faults(seen: Seen, settings: Settings) -> list[tuple[str, str]]:
    """Return what a person must see to: of each fault a key that does not change, and one line.

    Nothing of a patient is in either: they leave the node by alerts.
    """
    return [
        *_of_services(seen, settings),
        *_of_disk(seen, settings),
        *_of_work(seen),
        *_of_destinations(seen, settings),
        *_of_audit(seen, settings),
        *_of_certificates(seen),
        *((f"further:{what.partition(':')[0]}", what) for what in seen.further),
    ]


def expected(settings: Settings) -> tuple[Service, ...]:
    """Return which services there should be: the desk where its port is set."""
    return SERVICES if settings.desk.port else ALWAYS


def _of_services(seen: Seen, settings: Settings) -> Iterator[tuple[str, str]]:
    for name in (service.name for service in expected(settings)):
        those = [state for state in seen.services if state.beat.name == name]
        alive = [state for state in those if state.silent_s <= SILENT_S]
        if not those:
            yield f"service:{name}", f"no {name} is running"
        elif not alive:
            last = max(those, key=lambda state: state.beat_utc)
            yield f"service:{name}", f"no {name} is alive: {_last_heard(last)}"
        else:
            for state in those:
                if state not in alive:
                    key = f"service:{name}:{state.beat.host}"
                    yield key, f"a {name} is dead: {_last_heard(state)}"
    for state in seen.services:
        yield from _of_service(state, settings.health.clock_off_s)


def _last_heard(state: ServiceState) -> str:
    beat = state.beat
    since = f"{state.beat_utc:%Y-%m-%d %H:%M:%S} UTC"
    return f"that on {beat.host} (pid {beat.pid}) was last heard of at {since}"


def _of_service(state: ServiceState, clock_off_s: float = inf) -> Iterator[tuple[str, str]]:
    beat = state.beat
    who = f"{beat.name} on {beat.host} (pid {beat.pid})"
    if state.silent_s > SILENT_S:
        return
    if not beat.ready and state.beat_utc - state.started_utc > STARTS:
        yield f"starts:{beat.name}", f"{who} has been starting since {_short(state.started_utc)}"
    if beat.hangs:
        yield f"hangs:{beat.name}:{beat.host}", f"{who}: {beat.hangs}"
    if abs(state.skew_s) > clock_off_s:
        way = "ahead of" if state.skew_s > 0 else "behind"
        off = f"{abs(state.skew_s):.0f} s {way} the database's"
        yield f"clock:{beat.host}", f"the clock of {beat.host} is {off}"
    for model_set in beat.models:
        if why := model_set.get("error"):
            key = f"models:{model_set['set']}"
            yield key, f"the shadow model set {model_set['set']} is not used: {why}"


def _of_disk(seen: Seen, settings: Settings) -> Iterator[tuple[str, str]]:
    low_bytes = settings.retention.disk_low_bytes
    if seen.free_bytes < low_bytes:
        free, mark = (f"{size / 1024**3:.1f} GiB" for size in (seen.free_bytes, low_bytes))
        yield "disk", f"images are refused (0xA700): {free} of disk free, less than {mark}"


def _of_work(seen: Seen) -> Iterator[tuple[str, str]]:
    for kind in JobKind:
        count = seen.overview.jobs.get((kind, JobState.QUARANTINED), 0)
        if count:
            many = "jobs were" if count > 1 else "job was"
            yield (
                f"quarantine:{kind}",
                f"{count} {kind} {many} given up: hipnode audit list --event job_quarantined",
            )
    for kind, what in ((JobKind.READ, "image"), (JobKind.REPORT, "report")):
        oldest = seen.overview.oldest_queued_utc.get(kind)
        if oldest is not None and seen.at_utc - oldest > OLD:
            yield f"waits:{kind}", f"the oldest {what} has waited since {_short(oldest)}"


def _of_destinations(seen: Seen, settings: Settings) -> Iterator[tuple[str, str]]:
    for place in seen.overview.destinations:
        who = f"destination {place.name}"
        if _where(settings, place.name) == "":
            if place.waiting:
                text = f"{who}: {place.waiting} objects wait, and the settings do not name it"
                yield f"destination:{place.name}", text
        elif place.rejects:
            yield f"destination:{place.name}", f"{who}: {place.error}"
        elif place.away_since_utc and seen.at_utc - place.away_since_utc > AWAY:
            since = f"away since {_short(place.away_since_utc)}, {place.waiting} objects wait"
            yield f"destination:{place.name}", f"{who}: {since} ({place.error})"


def _of_audit(seen: Seen, settings: Settings) -> Iterator[tuple[str, str]]:
    vitals = seen.vitals
    since = vitals.unsealed_since_utc
    if since is not None and (seen.at_utc - since).total_seconds() > settings.audit.max_unsealed_s:
        oldest = f"the oldest since {_short(since)}"
        yield "audit:unsealed", f"{vitals.unsealed} audit records are not sealed, {oldest}"
    if vitals.verified_utc is None:
        return
    if not vitals.verified:
        yield "audit:broken", "the audit log did not verify: hipnode audit verify"
    elif seen.at_utc - vitals.verified_utc > UNVERIFIED:
        when = _short(vitals.verified_utc)
        yield "audit:unverified", f"the audit log was last verified at {when}"


def _of_certificates(seen: Seen) -> Iterator[tuple[str, str]]:
    for certificate in seen.certificates:
        key = f"certificate:{certificate.name}"
        if certificate.expires_utc is None:
            yield key, f"{certificate.name}: {certificate.why}"
        elif certificate.expires_utc <= seen.at_utc:
            ended = f"expired on {certificate.expires_utc:%Y-%m-%d}: peers refuse us"
            yield f"expired:{certificate.name}", f"{certificate.name}: {ended}"
        elif certificate.expires_utc - seen.at_utc < EXPIRES:
            days = (certificate.expires_utc - seen.at_utc).days
            when = f"{certificate.expires_utc:%Y-%m-%d}, in {days} days"
            yield key, f"{certificate.name}: expires on {when}"


def _short(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
