"""What a service answers over HTTP: probes, and figures without anything from a header."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from hipnode.domain import AuditEvent, AuditRecord, Outcome
from hipnode.domain.services import ALWAYS
from hipnode.services.life.web import Site
from hipnode.settings import Settings
from hipnode.storage import Store
from tests.db.conftest import Bench, OpenStore
from tests.postgres import Postgres

PACS = {"name": "pacs", "host": "10.0.0.1", "port": 104, "ae_title": "PACS"}


def samples(bench: Bench, service: str = "housekeeper") -> dict[tuple[str, ...], float]:
    """Return each figure by its name and the values of its labels."""
    status, kind, body = Site(service, bench.settings, bench.store).answer("/metrics")
    assert status == 200, body
    assert kind.startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_figures_are_those_of_the_node(open_store: OpenStore) -> None:
    bench = open_store(destinations=[PACS])
    bench.receive("1.1", "1")
    bench.receive("2.1", "2")
    bench.read()
    bench.store.audit.seal()
    found = samples(bench)
    assert found["hipnode_jobs", "read", "queued"] == 1
    assert found["hipnode_not_assessed", "not_frontal"] == 1
    assert found["hipnode_destination_up", "pacs"] == 1
    assert found["hipnode_destination_last_delivery_timestamp_seconds", "pacs"] == 0
    assert found["hipnode_images",] == 2
    assert found["hipnode_events_total", "instance_stored", "ok"] == 2
    assert found["hipnode_audit_unsealed",] == 0


def test_only_the_housekeeper_counts_the_node(bench: Bench) -> None:
    assert all("jobs" not in name for name, *_ in samples(bench, "worker"))


def test_no_label_comes_from_a_header(bench: Bench) -> None:
    """Neither a patient's data nor a stranger's names leave here, nor make ever more series."""
    before = len(samples(bench))
    evil = "EVIL"
    for number in range(20):
        bench.receive(f"9.{number}", f"9{number}", patient_id=f"{evil}{number}", accession=evil)
        bench.store.audit.append(
            AuditRecord(
                AuditEvent.ASSOCIATION_REFUSED,
                Outcome.REFUSED,
                actor=f"{evil}{number}",
                ae_title=f"{evil}{number}",
                detail={"reason": f"{evil}{number}"},
            )
        )
    bench.store.recovery.quarantine(bench.take(), f"{evil} in a reason")
    bench.store.audit.seal()
    found = samples(bench)
    assert not [key for key in found if any(evil in part for part in key)]
    assert len(found) < before + 12  # kinds, states, events


def test_probes_tell_starting_ready_and_hanging(open_store: OpenStore) -> None:
    bench = open_store(retention={"disk_low_bytes": 0})
    for service in (one.name for one in ALWAYS):
        site = Site(service, bench.settings, bench.store)
        bench.store.pulse.ready = False
        assert site.answer("/healthz")[0] == 200
        assert site.answer("/readyz")[0] == 503
        bench.store.pulse.ready = True
        assert site.answer("/readyz")[0] == 200
        bench.store.pulse.went_round(-1, loop="accept")
        for path in ("/healthz", "/readyz"):
            status, _, body = site.answer(path)
            assert status == 503
            assert b"accept hangs" in body
        bench.store.pulse.forget(loop="accept")
        assert site.answer("/")[0] == 404


def test_a_listener_below_the_disks_mark_is_not_ready(open_store: OpenStore) -> None:
    bench = open_store(retention={"disk_low_bytes": 10**18})
    bench.store.pulse.ready = True
    assert Site("listener", bench.settings, bench.store).answer("/readyz")[0] == 503
    assert Site("worker", bench.settings, bench.store).answer("/readyz")[0] == 200


def test_a_database_that_is_away_is_no_reason_to_start_anew(
    postgres_url: str, postgres: Postgres, tmp_path: Path
) -> None:
    settings = Settings.model_validate(
        {"node": {"data_dir": tmp_path}, "database": {"url": postgres_url}}
    )
    store = Store.open(settings)
    try:
        store.pulse.ready = True
        site = Site("housekeeper", settings, store)
        postgres.stop()
        assert site.answer("/healthz")[0] == 200
        assert site.answer("/readyz")[0] == 503
        assert site.answer("/metrics")[0] == 503
    finally:
        store.close()
