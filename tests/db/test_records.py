"""What no index helps with: words, who acted, an object, values; and counts that are kept."""

from __future__ import annotations

import pytest

from hipnode.domain import AuditEvent, AuditRecord, JobKind, JobState
from hipnode.storage import Asked, AuditFilter
from hipnode.storage.desk import records
from hipnode.storage.ledger import questions
from tests.db.conftest import Bench


def write(bench: Bench, reason: str, actor: str = "Ada", sop: str = "") -> None:
    bench.clock.forward(1)
    record = AuditRecord(
        AuditEvent.ASSOCIATION_REFUSED,
        actor=actor,
        sop_instance_uid=sop,
        detail={"reason": reason, "cause": "x"},
    )
    bench.store.audit.append(record)


def found(bench: Bench, **asked: str) -> list[str]:
    page = bench.store.desk.records.page(Asked(**asked))  # type: ignore[arg-type]
    return [entry.record.detail["reason"] for entry in page.entries]


def test_words_and_people_are_found_in_any_case_and_mean_what_they_say(bench: Bench) -> None:
    for reason in ("Größe", "100%", "a_b", "axb", 'say "no"'):
        write(bench, reason)
    write(bench, "other", actor="bob")
    assert found(bench, words="größe") == ["Größe"]
    assert found(bench, words="100%") == ["100%"]
    assert found(bench, words="%") == ["100%"]
    assert found(bench, words="A_B") == ["a_b"]
    assert found(bench, words='"no"') == ['say "no"']
    assert found(bench, actor="BOB") == ["other"]
    assert found(bench, actor="bo") == []
    assert found(bench, actor="ada", words="axb") == ["axb"]


def test_it_is_said_how_far_back_was_looked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "SEARCHED", 4)
    for number in range(10):
        write(bench, "old" if number < 3 else "new")
    page = bench.store.desk.records.page(Asked(words="old"))
    assert page.entries == ()
    assert page.searched_to is not None
    seen = 0
    while page.next is not None:
        page = bench.store.desk.records.page(Asked(words="old"), page.next)
        seen += len(page.entries)
    assert seen == 3
    assert page.searched_to is None


def test_an_object_is_found_in_its_study_however_old(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.receive("1.1", "1")
    bench.read()
    monkeypatch.setattr(records, "SEARCHED", 8)
    for _ in range(9):
        write(bench, "later")
    page = bench.store.desk.records.page(Asked(object_uid="1.1"))
    assert {entry.record.event for entry in page.entries} == {
        AuditEvent.INSTANCE_STORED, AuditEvent.IMAGE_ABSTAINED,
    }  # fmt: skip
    assert page.searched_to is None
    assert bench.store.desk.records.page(Asked(object_uid="9.9")).searched_to is not None


def test_values_of_the_detail_are_counted(bench: Bench) -> None:
    for reason in ("a", "b", "a", "c", "a", "b"):
        write(bench, reason)
    bench.store.audit.append(AuditRecord(AuditEvent.ECHO_ANSWERED))
    asked = Asked(AuditFilter(event=AuditEvent.ASSOCIATION_REFUSED))
    counted = bench.store.desk.records.counted(asked, "reason")
    assert counted == [("a", 3), ("b", 2), ("c", 1)]
    assert bench.store.desk.records.counted(Asked(), "reason")[-1] in {("", 1), ("c", 1)}


def test_what_waits_is_counted_anew_where_what_is_finished_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.receive("1.1", "1")
    bench.read()
    monkeypatch.setattr(questions, "_LONG_S", -1.0)
    before = bench.store.lookups.overview()
    assert before.jobs[JobKind.READ, JobState.DONE] == 1
    assert before.instances == 1
    bench.receive("2.1", "2")
    after = bench.store.lookups.overview()
    assert after.jobs[JobKind.READ, JobState.QUEUED] == 1
    assert after.instances == 1, "as it was counted a moment ago"
    monkeypatch.setattr(questions, "_LONG_S", 1e9)
    bench.store.lookups._known = None
    assert bench.store.lookups.overview().instances == 2
