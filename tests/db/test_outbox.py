"""In which order results go out, and what becomes of what is refused, on both engines."""

from __future__ import annotations

from hipnode.domain import Attention, JobKind
from tests.db.conftest import MODELS, Bench
from tests.db.test_ledger import QUEUED, reported


def test_objects_go_out_one_at_a_time_in_the_order_they_were_made(bench: Bench) -> None:
    reported(bench, "1", objects=2)
    bench.clock.forward(1)
    reported(bench, "2")
    sent = []
    for _ in range(3):
        job = bench.take(JobKind.DELIVER, destination="pacs")
        assert bench.claim(JobKind.DELIVER, destination="pacs") is None, "one under way at a time"
        bench.deliver(job)
        sent.append(bench.store.lookups.result(job.result_id or 0).sop_instance_uid)
    assert sent == ["2.25.1", "2.25.2", "2.25.3"]


def test_a_destination_that_is_away_costs_no_attempt_and_keeps_its_order(bench: Bench) -> None:
    reported(bench, "1")
    reported(bench, "2")
    for _ in range(20):  # hours
        job = bench.take(JobKind.DELIVER, destination="pacs")
        assert bench.store.recovery.retry(job, "connection refused", count_attempt=False) is QUEUED
        assert bench.claim(JobKind.DELIVER, destination="pacs") is None
        bench.clock.forward(bench.settings.queue.backoff_cap_s)
    (place,) = bench.store.lookups.overview().destinations
    assert place.waiting == 2
    assert place.away_since_utc is not None
    first, second = bench.deliver(), bench.deliver()
    assert first.attempts == second.attempts == 0
    assert first.study_instance_uid == "1"
    (place,) = bench.store.lookups.overview().destinations
    assert (place.waiting, place.away_since_utc, place.error) == (0, None, "")
    assert place.last_delivery_utc == bench.clock.now


def test_destinations_do_not_wait_for_each_other(bench: Bench) -> None:
    bench.receive()
    bench.read()
    bench.report(to=("away", "here"))
    bench.store.recovery.retry(
        bench.take(JobKind.DELIVER, destination="away"), "away", count_attempt=False
    )
    assert bench.take(JobKind.DELIVER).destination == "here"


def test_what_a_person_should_look_at_now_is_sent_first(
    bench: Bench,
) -> None:
    reported(bench, "1")
    bench.clock.forward(10)
    bench.receive("2.1", "2")
    bench.read()
    bench.report(attention=Attention.NOW)
    assert [bench.deliver().study_instance_uid for _ in range(2)] == ["2", "1"]


def test_an_urgent_study_overtakes_others_but_no_version_overtakes_its_own(bench: Bench) -> None:
    reported(bench, "1")
    bench.clock.forward(10)
    reported(bench, "2", priority=5)
    bench.receive("1.2", "1", priority=9)  # study 1 becomes the more urgent one
    bench.read()
    bench.report()
    sent = [bench.store.lookups.result(bench.deliver().result_id or 0) for _ in range(3)]
    versions = [(made.study_instance_uid, made.version) for made in sent]
    assert versions == [("2", 1), ("1", 1), ("1", 2)]


def test_a_refused_object_is_given_up_and_the_next_goes_out(bench: Bench) -> None:
    reported(bench, "1")
    reported(bench, "2")
    for _ in range(bench.settings.queue.max_attempts):
        job = bench.take(JobKind.DELIVER, destination="pacs")
        assert job.study_instance_uid == "1", "it waits at the head, so that the order is kept"
        bench.store.recovery.retry(job, "0xA900")
        bench.clock.forward(bench.settings.queue.backoff_cap_s)
    assert bench.deliver().study_instance_uid == "2"
    assert bench.store.recovery.requeue(destination="pacs") == 1
    assert bench.deliver().study_instance_uid == "1"


def test_objects_may_have_destinations_of_their_own(bench: Bench) -> None:
    bench.receive()
    bench.read()
    job = bench.take(JobKind.REPORT)
    results = [
        bench.new_result(),
        bench.new_result(destinations=("research",)),
        bench.new_result(destinations=()),  # a fall-back that nobody is sent by itself
    ]
    bench.store.ledger.finish_report(job, results, ["pacs", "archive"])
    jobs = bench.store.lookups.jobs(kind=JobKind.DELIVER)
    assert [(j.result_id, j.destination) for j in jobs] == [
        (1, "pacs"),
        (1, "archive"),
        (2, "research"),
    ]
    made = bench.store.lookups.results("1.2.3", model_set=MODELS, version=1)
    assert [r.destination for r in made] == ["", "research", ""]


def test_a_result_made_twice_is_one_object_and_one_delivery(bench: Bench) -> None:
    bench.receive("1.2.3.1")
    bench.read()
    bench.report()
    bench.receive("1.2.3.2")
    bench.read()
    bench.made = 0  # the same UID again
    bench.report()
    assert len(bench.store.lookups.results("1.2.3")) == 1
    assert len(bench.store.lookups.jobs(kind=JobKind.DELIVER)) == 1
