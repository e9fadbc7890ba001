"""Images that were not assessed are counted, and read again when a person asks for it."""

from __future__ import annotations

from datetime import timedelta

from hipnode.domain import JobKind, JobState
from tests.db.conftest import MODELS, START, Bench

REASON = "not_frontal"  # the bench's readings


def test_an_image_is_read_again_and_a_new_version_of_its_report_follows(bench: Bench) -> None:
    bench.receive()
    bench.read()
    first = bench.report()
    bench.deliver()
    assert bench.store.recovery.reread("undecodable", actor="anna") == 0
    assert bench.store.recovery.reread(REASON, actor="anna") == 1
    assert bench.store.recovery.reread(REASON, actor="anna") == 0, "it is queued already"
    (held,) = bench.store.lookups.jobs(kind=JobKind.READ)
    assert bench.store.readings.one(held.instance_id or 0, MODELS) is None, (
        "it stands on the audit log"
    )
    job = bench.read()
    assert bench.store.readings.one(job.instance_id or 0, MODELS) is not None
    second = bench.report()
    assert (first.version, second.version) == (1, 2)
    assert [r.version for r in bench.store.lookups.predecessors(second)] == [1]
    (entry,) = _requeued(bench)
    assert entry.actor == "anna"
    assert entry.detail["abstained"] == REASON


def _requeued(bench: Bench) -> list:  # type: ignore[type-arg]
    from hipnode.storage import AuditFilter

    found = bench.store.audit.query(AuditFilter(event="job_requeued"), actor="test", limit=None)
    return [e.record for e in found]


def test_only_images_received_since_then_are_read_again(bench: Bench) -> None:
    bench.receive("1.2.3.1", "1.2.3")
    bench.clock.forward(3600)
    bench.receive("1.2.4.1", "1.2.4")
    bench.read()
    bench.read()
    assert bench.store.recovery.reread(REASON, START + timedelta(hours=2)) == 0
    assert bench.store.recovery.reread(REASON, START + timedelta(minutes=30)) == 1
    (queued,) = bench.store.lookups.jobs(kind=JobKind.READ, state=JobState.QUEUED)
    assert queued.study_instance_uid == "1.2.4"
    assert bench.store.recovery.reread(REASON) == 1


def test_a_reading_in_shadow_is_read_again_without_a_report(bench: Bench) -> None:
    bench.receive(models=(), shadows=(MODELS,))
    bench.read()
    assert bench.store.recovery.reread(REASON) == 1
    bench.read()
    assert bench.store.lookups.jobs(kind=JobKind.REPORT) == []
