"""The node's state for Prometheus. No label comes from a header: so no patient's, and few values.

Each service gives its own figures; the housekeeper's are those of the node as a whole, so that they
are counted once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from hipnode import __version__
from hipnode.answers import status
from hipnode.pulse import Pulse
from hipnode.services.life import look
from hipnode.settings import Settings
from hipnode.storage import Store

Families = Iterator[GaugeMetricFamily | CounterMetricFamily]


class _Figures(Collector):
    """Asks when it is asked."""

    def __init__(self, ask: Callable[[], Families]) -> None:
        self._ask = ask

    def collect(self) -> Families:
        return self._ask()


def exposition(name: str, settings: Settings, store: Store) -> bytes:
    """Return the figures of a service in Prometheus' text format.

    Raises
    ------
    StorageUnavailable
        If the database cannot be asked (the housekeeper alone asks it).
    """
    registry = CollectorRegistry()
    registry.register(_Figures(lambda: _of_service(name, store.pulse)))
    if name == "housekeeper":
        seen = look.seen(settings, store)
        document = status.document(seen, settings)
        registry.register(_Figures(lambda: _of_node(document)))
        registry.register(_Figures(lambda: _of_events(seen.vitals.events)))
    return generate_latest(registry)


def _of_service(name: str, pulse: Pulse) -> Families:
    yield _gauge("build_info", "The release that runs.", [({"version": __version__}, 1)])
    own = {"service": name}
    yield _gauge("service_ready", "1 once the service does its work.", [(own, int(pulse.ready))])
    yield _gauge("threads_hung", "Threads that do not go on.", [(own, len(pulse.hangs()))])


def _of_node(document: dict[str, Any]) -> Families:
    yield from _services(document["services"])
    yield from _work(document)
    yield from _destinations(document["destinations"])
    yield from _rest(document)


def _services(services: list[dict[str, Any]]) -> Families:
    yield _gauge(
        "service_beat_timestamp_seconds",
        "When a service was last heard of.",
        [({"service": s["name"], "host": s["host"]}, _stamp(s["beat_utc"])) for s in services],
    )
    yield _gauge(
        "clock_off_seconds",
        "How far a service's clock is ahead of the database's.",
        [({"service": s["name"], "host": s["host"]}, s["skew_s"]) for s in services],
    )
    yield _gauge(
        "model_info",
        "The models that are loaded.",
        [
            ({"set": loaded["set"], "role": role, "model": model, "digest": loaded["digest"]}, 1)
            for service in services
            for loaded in service["models"]
            for role, model in loaded.get("models", {}).items()
        ],
    )


def _work(document: dict[str, Any]) -> Families:
    yield _gauge(
        "jobs",
        "Jobs by kind and state.",
        [
            ({"kind": kind, "state": state}, count)
            for kind, counts in document["jobs"].items()
            for state, count in counts.items()
        ],
    )
    yield _gauge(
        "oldest_queued_seconds",
        "How long the oldest job of a kind has waited.",
        [({"kind": kind}, age_s) for kind, age_s in document["oldest_queued_s"].items()],
    )
    yield _gauge(
        "not_assessed",
        "Images of the last 7 days that were not assessed.",
        [({"reason": reason}, count) for reason, count in document["not_assessed"].items()],
    )


def _destinations(places: list[dict[str, Any]]) -> Families:
    def of(name: str, help_: str, value: Callable[[dict[str, Any]], float]) -> GaugeMetricFamily:
        return _gauge(name, help_, [({"destination": p["name"]}, value(p)) for p in places])

    yield of("destination_up", "0 while it is away.", lambda p: p["away_since_utc"] is None)
    yield of("destination_rejects", "1 while it rejects us.", lambda p: p["rejects"])
    yield of("destination_waiting", "Objects that wait for it.", lambda p: p["waiting"])
    yield of("destination_uncommitted", "Taken, not committed to.", lambda p: p["uncommitted"])
    yield of(
        "destination_last_delivery_timestamp_seconds",
        "When it last took an object; 0: never.",
        lambda p: _stamp(p["last_delivery_utc"]),
    )


def _rest(document: dict[str, Any]) -> Families:
    audit = document["audit"]
    since = audit["unsealed_since_utc"]
    test = document["self_test"] or {"ended_utc": None, "passed": False}
    for name, help_, value in (
        ("self_test_passed", "1 if the newest self-test passed.", test["passed"]),
        (
            "self_test_timestamp_seconds",
            "When the newest self-test ended; 0: never.",
            _stamp(test["ended_utc"]),
        ),
        ("faults", "What `hipnode status --check` names, in number.", len(document["faults"])),
        ("images", "Images received.", document["instances"]),
        (
            "last_image_timestamp_seconds",
            "When the last image came; 0: never.",
            _stamp(document["last_image_utc"]),
        ),
        ("disk_free_bytes", "Free on the disk of data_dir.", document["disk_free_bytes"]),
        ("disk_low_bytes", "Below it, images are refused.", document["disk_low_bytes"]),
        ("audit_unsealed", "Records that no seal covers yet.", audit["unsealed"]),
        (
            "audit_oldest_unsealed_seconds",
            "How old the oldest of them is; 0: there is none.",
            _stamp(document["at_utc"]) - _stamp(since) if since else 0.0,
        ),
        (
            "audit_verified_timestamp_seconds",
            "When the audit log was last verified; 0: never.",
            _stamp(audit["verified_utc"]),
        ),
        (
            "audit_broken",
            "1 if it did not verify then.",
            audit["verified_utc"] is not None and not audit["verified"],
        ),
    ):
        yield _gauge(name, help_, [({}, value)])
    yield _gauge(
        "certificate_expires_timestamp_seconds",
        "When a certificate ends; 0: it cannot be read.",
        [({"name": c["name"]}, _stamp(c["expires_utc"])) for c in document["certificates"]],
    )


def _of_events(events: Any) -> Families:
    family = CounterMetricFamily(
        "hipnode_events", "Sealed records of the audit log.", labels=["event", "outcome"]
    )
    for (event, outcome), count in sorted(events.items()):
        family.add_metric([event, outcome], count)
    yield family


def _gauge(name: str, help_: str, values: list[tuple[dict[str, str], float]]) -> GaugeMetricFamily:
    labels = list(values[0][0]) if values else []
    family = GaugeMetricFamily(f"hipnode_{name}", help_, labels=labels)
    for given, value in values:
        family.add_metric(list(given.values()), float(value))
    return family


def _stamp(moment: str | None) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0
