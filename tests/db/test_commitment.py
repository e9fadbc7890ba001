"""Storage commitment in the ledger: delivered and committed are two states."""

from __future__ import annotations

import pytest

from hipnode.domain import JobKind, JobState
from hipnode.storage.ledger.promises import Transaction
from tests.db.conftest import Bench, OpenStore

TIMEOUT_S = 600.0


@pytest.fixture
def delivered(open_store: OpenStore) -> Bench:
    """One study whose two objects the PACS has taken, and is to commit to."""
    bench = open_store(queue={"max_attempts": 2, "lease_s": 60}, retention={"images_days": 0})
    bench.receive()
    bench.read()
    bench.report(objects=2)
    for _ in range(2):
        deliver(bench)
    return bench


def deliver(bench: Bench) -> None:
    job = bench.take(JobKind.DELIVER, destination="pacs")
    bench.store.ledger.finish_delivery(
        job, status=0, sop_class_uid="1.2.840.1", peer="PACS", commit=True
    )


def ask(bench: Bench) -> Transaction:
    transaction = bench.store.commitments.ask("pacs", TIMEOUT_S)
    assert transaction is not None, "nothing to ask for"
    return transaction


def uids(transaction: Transaction) -> list[str]:
    return [uid for _, uid in transaction.objects]


def quarantined(bench: Bench) -> list[str]:
    return [job.error for job in bench.store.lookups.jobs(state=JobState.QUARANTINED)]


def counts(bench: Bench) -> tuple[int, int]:
    (place,) = bench.store.lookups.overview().destinations
    return place.uncommitted, place.committed


def test_delivered_becomes_committed_and_only_then_images_may_go(delivered: Bench) -> None:
    delivered.clock.forward(10)
    assert delivered.store.lookups.account().delivered == 1
    assert counts(delivered) == (2, 0)
    assert delivered.store.retire().images == 0
    transaction = ask(delivered)
    assert uids(transaction) == ["2.25.1", "2.25.2"]
    assert delivered.store.commitments.ask("pacs", TIMEOUT_S) is None, "asked for once"
    settle = delivered.store.commitments.settle
    assert settle(transaction.uid, ["2.25.1"], {}, "PACS") == 1
    assert delivered.store.lookups.account().delivered == 1, "not all of it yet"
    assert delivered.store.retire().images == 0
    assert settle(transaction.uid, ["2.25.1", "2.25.2"], {}, "PACS") == 1, "the other one"
    account = delivered.store.lookups.account()
    assert (account.delivered, account.committed) == (0, 1)
    assert counts(delivered) == (0, 2)
    assert delivered.store.retire().images == 1
    assert delivered.events().count("object_committed") == 2


def test_an_answer_to_no_question_of_ours_changes_nothing(delivered: Bench) -> None:
    transaction = ask(delivered)
    settle = delivered.store.commitments.settle
    assert settle("1.2.3", uids(transaction), {}, "PACS") == 0
    assert settle("", uids(transaction), {}, "PACS") == 0
    assert settle(transaction.uid, ["9.9.9"], {"8.8.8": "?"}, "PACS") == 0
    assert counts(delivered) == (2, 0)


def test_what_the_destination_will_not_keep_is_delivered_again_then_given_up(
    delivered: Bench,
) -> None:
    reason = "no such object instance (0x0112)"
    transaction = ask(delivered)
    delivered.store.commitments.settle(transaction.uid, ["2.25.1"], {"2.25.2": reason}, "PACS")
    assert delivered.store.lookups.account().waiting == 1
    deliver(delivered)  # once more
    transaction = ask(delivered)
    assert uids(transaction) == ["2.25.2"]
    delivered.store.commitments.settle(transaction.uid, [], {"2.25.2": reason}, "PACS")
    (error,) = quarantined(delivered)
    assert reason in error
    assert delivered.store.lookups.account().quarantined == 1
    assert delivered.store.retire().results == 0
    assert delivered.events().count("commitment_failed") == 2
    assert "job_quarantined" in delivered.events()
    # A person has mended the PACS: it goes out again, with all attempts before it.
    assert delivered.store.recovery.requeue() == 1
    deliver(delivered)
    transaction = ask(delivered)
    delivered.store.commitments.settle(transaction.uid, ["2.25.2"], {}, "PACS")
    assert delivered.store.lookups.account().committed == 1


def test_silence_is_asked_again_then_given_up(delivered: Bench) -> None:
    first = ask(delivered)
    delivered.clock.forward(TIMEOUT_S + 1)
    second = ask(delivered)
    assert second.uid != first.uid
    assert second.objects == first.objects
    assert delivered.store.commitments.settle(first.uid, uids(first), {}, "PACS") == 0, "too late"
    delivered.clock.forward(TIMEOUT_S + 1)
    assert delivered.store.commitments.ask("pacs", TIMEOUT_S) is None
    assert ["no answer" in error for error in quarantined(delivered)] == [True, True]


def test_a_destination_that_is_away_costs_no_attempt(delivered: Bench) -> None:
    for failures in range(1, 5):
        transaction = ask(delivered)
        delivered.store.commitments.postpone(transaction, "no connection", failures)
        assert delivered.store.commitments.ask("pacs", TIMEOUT_S) is None, "not at once"
        delivered.clock.forward(1000)
    transaction = ask(delivered)
    delivered.store.commitments.settle(transaction.uid, uids(transaction), {}, "PACS")
    assert counts(delivered) == (0, 2)


def test_a_destination_that_does_not_offer_it_ends_in_quarantine(delivered: Bench) -> None:
    delivered.store.commitments.refused(ask(delivered), "not offered")
    delivered.clock.forward(1000)
    delivered.store.commitments.refused(ask(delivered), "not offered")
    assert ["not offered" in error for error in quarantined(delivered)] == [True, True]


def test_commitments_that_are_no_longer_asked_for_hold_nothing_back(delivered: Bench) -> None:
    delivered.clock.forward(10)
    assert delivered.store.commitments.waive(["pacs"]) == 0
    assert delivered.store.commitments.waive([]) == 2
    assert delivered.store.commitments.waive([]) == 0
    assert delivered.store.commitments.ask("pacs", TIMEOUT_S) is None
    assert delivered.store.retire().images == 1
    assert delivered.events().count("commitment_waived") == 2
