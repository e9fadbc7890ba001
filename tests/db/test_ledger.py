"""What the ledger promises, on both engines."""

from __future__ import annotations

import pytest

from hipnode.domain import JobKind, JobState, Reading
from hipnode.errors import HeaderUnusable, IllegalTransition, LeaseLost
from hipnode.storage import IngestOutcome
from tests.db.conftest import MODELS, Bench, abstained

QUEUED, CLAIMED, DONE = JobState.QUEUED, JobState.CLAIMED, JobState.DONE


def states(bench: Bench, kind: JobKind) -> list[JobState]:
    return [job.state for job in bench.store.lookups.jobs(kind=kind)]


def reported(bench: Bench, study: str, *, objects: int = 1, priority: int = 0) -> None:
    bench.receive(f"{study}.1", study, priority=priority)
    bench.read()
    bench.report(objects=objects)


# --- taking in --------------------------------------------------------------------------------


def test_an_image_is_stored_once_however_often_it_is_sent(bench: Bench) -> None:
    assert bench.receive() is IngestOutcome.STORED
    assert bench.receive() is IngestOutcome.DUPLICATE
    bench.read()
    assert bench.receive() is IngestOutcome.DUPLICATE
    assert len(bench.store.lookups.instances("1.2.3")) == 1
    assert states(bench, JobKind.READ) == [DONE]
    assert bench.events().count("instance_duplicated") == 2


def test_other_content_under_a_known_uid_is_kept_flagged_and_read(bench: Bench) -> None:
    bench.receive(content="a")
    bench.read()
    assert bench.receive(content="b") is IngestOutcome.CHANGED
    bench.read()
    (instance, reading), *others = bench.store.readings.of_study("1.2.3", MODELS)
    assert not others, "one SOP Instance UID appears once in a report"
    assert instance.digest.startswith("62")  # "b": the newest content counts
    assert isinstance(reading, Reading)
    assert "instance_changed" in bench.events()


def test_an_image_discarded_by_rule_leaves_an_audit_row_and_no_job(bench: Bench) -> None:
    assert bench.receive(action="discard") is IngestOutcome.DISCARDED
    assert bench.events(patient_id="P-17") == ["instance_discarded"]
    assert bench.store.lookups.jobs() == []
    assert bench.receive(action="read") is IngestOutcome.STORED, "a new rule may read it"


def test_an_image_kept_unread_is_read_once_a_rule_says_so(bench: Bench) -> None:
    bench.receive(action="keep")
    assert bench.store.lookups.jobs() == []
    assert bench.receive(action="read") is IngestOutcome.DUPLICATE
    assert states(bench, JobKind.READ) == [QUEUED]
    bench.read()
    bench.report()


def test_the_same_image_is_read_again_with_new_models(bench: Bench) -> None:
    bench.receive(models=("old",))
    bench.read()
    bench.receive(models=("new",))
    job = bench.read()
    assert job.model_set == "new"
    assert {j.model_set for j in bench.store.lookups.jobs(kind=JobKind.REPORT)} == {"old", "new"}


def test_text_from_outside_never_stops_an_image(bench: Bench) -> None:
    bench.receive(patient_id="x\0y" * 5000, accession="'; DROP TABLE job; --")
    assert bench.events(accession_number="'; DROP TABLE job; --")[0] == "instance_stored"


def test_a_uid_that_is_none_is_the_senders_fault(bench: Bench) -> None:
    with pytest.raises(HeaderUnusable):
        bench.receive(uid="1." * 5000)


# --- leases and tokens ------------------------------------------------------------------------


def test_a_job_is_claimed_once(bench: Bench) -> None:
    bench.receive()
    assert bench.claim(JobKind.READ) is not None
    assert bench.claim(JobKind.READ) is None


def test_who_lost_the_lease_writes_nothing(bench: Bench) -> None:
    bench.receive()
    old = bench.take()
    bench.clock.forward(61)
    assert bench.store.recovery.expire_leases() == 1
    new = bench.take()
    ledger = bench.store.ledger
    for late in (
        lambda: ledger.renew(old),
        lambda: ledger.finish_read(old, abstained("1.2.3.1")),
        lambda: bench.store.recovery.retry(old, "late"),
        lambda: bench.store.recovery.quarantine(old, "late"),
        lambda: bench.store.recovery.hand_back(old),
    ):
        with pytest.raises(LeaseLost):
            late()
    assert bench.store.readings.of_study("1.2.3", MODELS) == []
    bench.read(new)
    with pytest.raises(LeaseLost):
        ledger.finish_read(new, abstained("1.2.3.1"))
    assert len(bench.store.readings.of_study("1.2.3", MODELS)) == 1


def test_a_renewed_lease_does_not_expire(bench: Bench) -> None:
    bench.receive()
    job = bench.take()
    bench.clock.forward(50)
    job = bench.store.ledger.renew(job)
    bench.clock.forward(50)
    assert bench.store.recovery.expire_leases() == 0
    bench.read(job)


def test_a_job_that_kills_its_workers_ends_in_quarantine(bench: Bench) -> None:
    bench.receive()
    for _ in range(bench.settings.queue.max_attempts):
        bench.take(JobKind.READ)
        bench.clock.forward(61)
        bench.store.recovery.expire_leases()
    (job,) = bench.store.lookups.jobs(kind=JobKind.READ)
    assert job.state is JobState.QUARANTINED
    assert "lease" in job.error


def test_a_job_handed_back_has_lost_no_attempt(bench: Bench) -> None:
    bench.receive()
    bench.store.recovery.hand_back(bench.take())
    again = bench.take()
    assert (again.attempts, again.token) == (0, 2)


# --- again, and giving up ---------------------------------------------------------------------


def test_retries_wait_longer_each_time_and_end_in_quarantine(bench: Bench) -> None:
    bench.receive()
    waits = []
    for _ in range(2):
        job = bench.take(JobKind.READ)
        assert bench.store.recovery.retry(job, "busy") is QUEUED
        assert bench.claim(JobKind.READ) is None, "not before its time"
        waits.append((bench.store.lookups.job(job.id).due_utc - bench.clock.now).total_seconds())
        bench.clock.forward(waits[-1])
    assert 2.5 <= waits[0] <= 5 <= waits[1] <= 10  # first 5 s, doubling, jittered by half
    assert bench.store.recovery.retry(bench.take(), "busy") is JobState.QUARANTINED
    assert [found for _, found in bench.store.readings.of_study("1.2.3", MODELS)] == ["busy"]


def test_a_quarantined_job_is_requeued_by_a_person(bench: Bench) -> None:
    bench.receive()
    bench.store.recovery.quarantine(bench.take(), "cannot be decoded")
    bench.report()
    assert bench.store.recovery.requeue(kind=JobKind.READ, actor="anna") == 1
    bench.read()
    second = bench.report()
    assert second.version == 2, "what was reported as failed is reported anew"
    assert bench.store.recovery.requeue(kind=JobKind.READ) == 0
    assert "job_requeued" in bench.events()


def test_states_move_only_along_the_table(bench: Bench) -> None:
    bench.receive()
    (queued,) = bench.store.lookups.jobs(kind=JobKind.READ)
    with pytest.raises(IllegalTransition):
        bench.store.ledger.finish_read(queued, abstained("1.2.3.1"))


# --- who goes first ---------------------------------------------------------------------------


def test_urgent_images_go_first_and_waiting_counts(bench: Bench) -> None:
    bench.receive("1.1", "1", priority=0)
    bench.clock.forward(60)
    bench.receive("2.1", "2", priority=5)
    assert bench.take(JobKind.READ).study_instance_uid == "2"
    bench.receive("3.1", "3", priority=0)
    assert bench.take(JobKind.READ).study_instance_uid == "1", "then in the order they came"
    bench.clock.forward(1801)  # ageing_s: one step of priority
    bench.receive("4.1", "4", priority=1)
    assert bench.take(JobKind.READ).study_instance_uid == "3", "nothing starves"
    assert bench.take(JobKind.READ).study_instance_uid == "4"


def test_an_urgent_job_that_is_not_due_holds_nobody_up(bench: Bench) -> None:
    bench.receive("1.1", "1", priority=10)
    bench.store.recovery.retry(bench.take(), "later")
    bench.receive("2.1", "2", priority=-10)
    assert bench.take(JobKind.READ).study_instance_uid == "2"


# --- when a study is reported -----------------------------------------------------------------


def test_a_study_is_reported_once_it_is_quiet_and_read(bench: Bench) -> None:
    bench.receive("1.2.3.1", quiet_s=30)
    bench.clock.forward(20)
    bench.receive("1.2.3.2", quiet_s=30)
    bench.read()
    bench.clock.forward(29)
    assert bench.claim(JobKind.REPORT) is None, "still an image to be read"
    bench.read()
    assert bench.claim(JobKind.REPORT) is None, "one second early"
    bench.clock.forward(1)
    job = bench.take(JobKind.REPORT)
    assert job.version == 1
    assert len(bench.store.readings.of_study("1.2.3", MODELS)) == 2


def test_a_long_reading_does_not_add_a_quiet_period(bench: Bench) -> None:
    bench.receive(quiet_s=30)
    bench.clock.forward(50)
    bench.read()
    assert bench.claim(JobKind.REPORT) is not None


def test_a_released_study_is_due_at_once(bench: Bench) -> None:
    bench.receive(quiet_s=30)
    bench.store.ledger.release(["1.2.3", "never heard of"])
    assert bench.claim(JobKind.REPORT) is None, "not before it is read"
    bench.read()
    assert bench.claim(JobKind.REPORT) is not None


def test_an_image_after_the_release_brings_the_quiet_period_back(bench: Bench) -> None:
    bench.receive("1.2.3.1", quiet_s=30)
    bench.store.ledger.release(["1.2.3"])
    bench.receive("1.2.3.2", quiet_s=30)
    bench.read()
    bench.read()
    assert bench.claim(JobKind.REPORT) is None
    bench.store.ledger.release(["1.2.3"])
    assert bench.claim(JobKind.REPORT) is not None


def test_a_late_image_makes_a_new_version_that_knows_its_predecessor(bench: Bench) -> None:
    bench.receive("1.2.3.1")
    bench.read()
    first = bench.report()
    bench.receive("1.2.3.2")
    bench.read()
    second = bench.take(JobKind.REPORT)
    assert (first.version, second.version) == (1, 2)
    assert [r.sop_instance_uid for r in bench.store.lookups.predecessors(second)] == ["2.25.1"]
    assert bench.store.lookups.predecessors(first) == []


def test_a_report_overtaken_while_it_is_made_is_not_tried_again(bench: Bench) -> None:
    bench.receive("1.2.3.1")
    bench.read()
    first = bench.take(JobKind.REPORT)
    bench.receive("1.2.3.2")
    assert bench.store.recovery.retry(first, "failed") is JobState.SUPERSEDED
    bench.read()
    assert bench.report().version == 2
    assert "job_superseded" in bench.events()


def test_a_failed_image_does_not_hold_its_study_up(bench: Bench) -> None:
    bench.receive("1.2.3.1")
    bench.receive("1.2.3.2")
    bench.store.recovery.quarantine(bench.take(JobKind.READ), "damaged")
    bench.read()
    bench.take(JobKind.REPORT)
    found = [what for _, what in bench.store.readings.of_study("1.2.3", MODELS)]
    assert found[0] == "damaged"
    assert isinstance(found[1], Reading)


def test_a_study_that_is_not_reported_says_why(bench: Bench) -> None:
    bench.receive()
    bench.read()
    bench.store.ledger.finish_report(bench.take(JobKind.REPORT), [], reason="negative")
    assert bench.events()[-1] == "report_skipped"
    assert bench.store.lookups.account().recorded == 1


# --- the whole --------------------------------------------------------------------------------


def test_the_audit_log_tells_an_images_whole_way(bench: Bench) -> None:
    reported(bench, "1.2.3")
    bench.deliver()
    assert bench.events(accession_number="A-99") == [
        "instance_stored",
        "job_queued",  # read
        "job_queued",  # report
        "job_claimed",
        "image_abstained",
        "job_claimed",
        "report_made",
        "job_queued",  # deliver
        "job_claimed",
        "object_delivered",
    ]


def test_overview_and_account(bench: Bench) -> None:
    reported(bench, "1")
    bench.deliver()
    bench.receive("2.1", "2")
    bench.receive("3.1", "3", action="keep")
    bench.receive("4.1", "4", action="discard")
    overview = bench.store.lookups.overview()
    assert overview.jobs[JobKind.READ, QUEUED] == 1
    assert overview.jobs[JobKind.READ, DONE] == 1
    assert overview.oldest_queued_utc[JobKind.READ] == bench.clock.now
    account = bench.store.lookups.account()
    assert (account.received, account.delivered, account.waiting) == (4, 1, 1)
    assert (account.kept, account.discarded) == (1, 1)
