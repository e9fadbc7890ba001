"""Which images are a self-test's: those that the node itself made, and no others."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta

import pytest

from hipnode.domain import JobKind, Side
from hipnode.domain.opinions import Feedback, Opinion, OpinionSource
from hipnode.domain.people import Role
from hipnode.domain.selftest import SelfTest, SelfTestState, matter_of
from hipnode.services.housekeeper.service import Housekeeper
from hipnode.services.modelsets import ModelSets
from hipnode.settings import Settings, WorkerSettings
from hipnode.validation import cases
from hipnode.validation.labels import Label
from tests import factory
from tests.db.conftest import Bench, OpenStore
from tests.desk import Guest

PICTURE = "p" * 64
DAY = date(2026, 11, 21)


def begun(bench: Bench, pixels: str = PICTURE) -> SelfTest:
    """Ask for a self-test, and have it made and sent."""
    test = bench.store.self_tests.ask(DAY, matter_of(DAY).word, actor="ada")
    assert test is not None
    now = bench.clock.now
    bench.store.self_tests.note(test, pixels=pixels, state="sent", sent_utc=now)
    return bench.store.self_tests.newest(1)[0]


def back(bench: Bench, test: SelfTest, content: str = "a", pixels: str = PICTURE) -> bool:
    """Have its image come back, recognised (or not) and read."""
    bench.receive(test.sop_uid, test.study_uid, content=content, accession=test.accession_number)
    held = bench.take(JobKind.READ)
    digest = bench.store.lookups.instance(held.instance_id or 0).digest
    known = bench.store.self_tests.made(test.sop_uid)
    assert known is not None
    found = bench.store.self_tests.recognise(known, digest, pixels)
    bench.read(held)
    return found


def test_an_image_is_its_own_once_its_picture_has_come_back(bench: Bench) -> None:
    test = begun(bench)
    assert bench.store.self_tests.images() == frozenset()
    assert back(bench, test)
    assert bench.store.self_tests.images() == {test.sop_uid}
    assert bench.store.self_tests.studies() == {test.study_uid}
    assert bench.store.self_tests.images(["1.2.3"]) == frozenset()


def test_the_same_picture_compressed_anew_is_its_own_too(bench: Bench) -> None:
    test = begun(bench)
    assert back(bench, test)
    assert back(bench, test, content="b")
    assert bench.store.self_tests.images() == {test.sop_uid}


@pytest.mark.parametrize("order", ["before", "after"])
def test_nobody_hides_a_patient_under_its_uid(bench: Bench, order: str) -> None:
    """Another picture under the UID that is to be read anywhere: then nothing is left out."""
    test = begun(bench)
    if order == "after":
        back(bench, test)
    assert not back(bench, test, content="patient", pixels="q" * 64)
    if order == "before":
        back(bench, test)
    assert bench.store.self_tests.images() == frozenset()
    assert bench.store.self_tests.studies() == frozenset()
    assert bench.store.vitals().not_assessed["not_frontal"] == 2


def test_nobody_hides_a_patient_in_its_study(bench: Bench) -> None:
    test = begun(bench)
    back(bench, test)
    bench.receive("1.2.77", test.study_uid, accession=test.accession_number)
    bench.read()
    assert bench.store.self_tests.images() == {test.sop_uid}  # the phantom alone
    assert bench.store.self_tests.studies() == frozenset()
    assert bench.store.vitals().not_assessed["not_frontal"] == 1


def test_headers_decide_nothing(bench: Bench) -> None:
    begun(bench)
    bench.receive("1.2.77", "1.2.7", patient_id="HIPNODE-SELFTEST", accession="HST-261121-01")
    bench.read()
    assert bench.store.self_tests.images() == frozenset()
    assert bench.store.vitals().not_assessed["not_frontal"] == 1


def test_it_is_in_no_figure(bench: Bench) -> None:
    test = begun(bench)
    bench.receive(test.sop_uid, test.study_uid)
    held = bench.take(JobKind.READ)
    digest = bench.store.lookups.instance(held.instance_id or 0).digest
    bench.store.self_tests.recognise(bench.store.self_tests.newest(1)[0], digest, PICTURE)
    hips = [factory.hip(Side.RIGHT, 0.97), factory.hip(Side.LEFT, 0.02)]
    read = factory.reading(hips, model_set_digest=held.model_set)
    bench.store.ledger.finish_read(held, replace(read, sop_instance_uid=test.sop_uid))
    given = _opinion(bench, test.study_uid)
    bench.store.desk.opinions.add([given], [])
    bench.store.self_tests.note(test, came_utc=bench.clock.now)
    guest = Guest(bench.store, bench.settings, Role.SCIENTIST)
    assert "readings. In brackets" in guest.get("/quality").text
    assert ": 0 readings" in guest.get("/quality").text
    assert "somebody has said what is there (0)" in guest.get("/quality").text
    assert test.study_uid not in guest.get("/quality/disagreements").text
    assert "newest 0 readings" in guest.get("/models").text
    assert "0 images, usually" in Guest(bench.store, bench.settings, Role.ADMIN).get("/").text
    sets = ModelSets(WorkerSettings())
    label = Label("line 2", "sop_instance_uid", test.sop_uid, broken=True)
    assert cases.from_node(bench.store, [label], sets, held.model_set).cases == ()


def _opinion(bench: Bench, study: str) -> Feedback:
    return Feedback(
        study_instance_uid=study,
        side="R",
        task="hip_fracture",
        opinion=Opinion.DISAGREE,
        said="present",
        truth="absent",
        model="m",
        model_version="1",
        model_digest="d",
        source=OpinionSource.PAGE,
        given_by="eve",
        given_utc=bench.clock.now,
        comment="",
    )


def test_two_misses_are_a_fault_and_a_pass_ends_it(bench: Bench) -> None:
    tests = bench.store.self_tests
    for why, count in (("no route", 0), ("no report", 1), ("", 0), ("no route", 0)):
        tests.end(begun(bench), why)
        bench.clock.forward(60)
        assert sum(fault.startswith("self-test") for fault in bench.store.faults()) == count
    assert [test.state for test in tests.newest(2)] == [
        SelfTestState.MISSED,
        SelfTestState.PASSED,
    ]
    ended = [e for e in bench.events() if e == "self_test_ended"]
    assert len(ended) == 4


def test_it_ends_once(bench: Bench) -> None:
    test = begun(bench)
    bench.store.self_tests.end(test)
    bench.store.self_tests.end(test, "another courier was slower")
    assert bench.store.self_tests.newest(1)[0].state is SelfTestState.PASSED


def test_what_nobody_goes_on_with_is_missed(bench: Bench) -> None:
    begun(bench)
    bench.clock.forward(100)
    bench.store.self_tests.expire(200)
    assert bench.store.self_tests.open()
    bench.clock.forward(200)
    bench.store.self_tests.expire(200)
    assert not bench.store.self_tests.open()


def test_the_clock_asks_once_a_day_and_people_as_often_as_they_like(
    open_store: OpenStore,
) -> None:
    bench = open_store()
    keeper = Housekeeper(bench.settings, bench.store)
    keeper.ask_self_test()
    Housekeeper(bench.settings, bench.store).ask_self_test()  # on another machine
    assert [test.number for test in bench.store.self_tests.newest(9)] == [0]
    bench.store.self_tests.ask(DAY, "no_fracture", actor="ada")
    bench.store.self_tests.ask(DAY, "no_fracture", actor="ada")
    bench.clock.forward(timedelta(days=1).total_seconds())
    keeper.ask_self_test()
    found = bench.store.self_tests.newest(9)
    assert [(test.day.day, test.number) for test in found] == [(22, 0), (21, 2), (21, 1), (21, 0)]
    assert len({test.sop_uid for test in found}) == 4


def test_it_is_taken_back_with_its_reports(bench: Bench) -> None:
    test = begun(bench)
    back(bench, test)
    bench.report()
    assert bench.store.self_tests.take_back("113039", "PACS") == 0  # it has not ended
    bench.store.self_tests.end(test)
    assert bench.store.self_tests.take_back("113039", "PACS") == 1
    assert bench.store.self_tests.take_back("113039", "PACS") == 0
    assert bench.store.lookups.rejected(test.study_uid) == {test.sop_uid: "113039"}
    report = bench.take(JobKind.REPORT)
    assert report.version == 2
    assert bench.store.self_tests.images() == {test.sop_uid}


def test_what_another_hides_under_its_uid_is_not_taken_back(bench: Bench) -> None:
    test = begun(bench)
    back(bench, test)
    back(bench, test, content="patient", pixels="q" * 64)
    bench.store.self_tests.end(test)
    assert bench.store.self_tests.take_back("113039", "PACS") == 0


def test_settings_name_a_pacs_that_there_is() -> None:
    with pytest.raises(ValueError, match="no destination of kind dimse is named pacs"):
        Settings.model_validate({"self_test": {"send_to": "pacs"}})


def switched_on(bench: Bench) -> Settings:
    """Return the bench's settings with a destination for self-tests."""
    place = {"name": "pacs", "host": "127.0.0.1", "port": 104, "ae_title": "PACS"}
    tables = {"destinations": [place], "self_test": {"send_to": "pacs"}}
    return bench.settings.model_validate(bench.settings.model_dump() | tables)


def test_the_first_page_shows_what_became_of_the_last(bench: Bench) -> None:
    settings, tests = switched_on(bench), bench.store.self_tests
    heading = "<h2>Self-test <span"

    def first_page(role: Role = Role.OPERATOR) -> str:
        text: str = Guest(bench.store, settings, role).get("/").text
        return text.split(heading)[1].split("<h2>", maxsplit=1)[0]

    assert "none yet" in first_page()
    passed = begun(bench)
    bench.clock.forward(12.5)
    tests.note(passed, seen_utc=bench.clock.now, said="no fracture", is_right=True)
    tests.end(passed)
    assert "✓ well" in first_page()
    bench.clock.forward(86400)
    why = "the PACS did not route the image back to this node"
    for day in (1, 2):
        missed = tests.ask(DAY + timedelta(days=day), "no_fracture", actor="housekeeper")
        assert missed is not None
        tests.end(missed, why)
        assert ("✕ wrong" if day == 2 else "○ note") in first_page()
    tests.ask(DAY + timedelta(days=3), "no_fracture", actor="ada")
    text = first_page()
    assert re.findall(r"<li>(2026-11-\d\d):", text) == [f"2026-11-{d}" for d in (24, 23, 22, 21)]
    assert "seen in the PACS after 12.5 s" in text
    assert text.count(why) == 2
    assert "on its way" in text
    assert 'href="/self-test"' in text
    assert 'href="/self-test"' not in first_page(Role.READER)
    bench.store.audit.seal()
    bench.store.audit.report(actor="housekeeper")
    bench.store.audit.seal()
    whole = Guest(bench.store, settings, Role.OPERATOR).get("/").text
    assert '<li class="wrong"><h2>Audit log' not in whole, "a fault of another is not the log's"
    assert heading not in Guest(bench.store, bench.settings, Role.OPERATOR).get("/").text


def test_whoever_runs_the_node_may_start_one(bench: Bench) -> None:
    settings = switched_on(bench)
    operator = Guest(bench.store, settings, Role.OPERATOR)
    assert operator.post("/self-test").status_code == 303
    (test,) = bench.store.self_tests.newest(9)
    assert test.asked_by == "operator"
    assert "on its way" in operator.get("/self-test").text
    for _ in range(2):
        operator.post("/self-test")
    assert "Enough of them" in operator.post("/self-test").text
    assert Guest(bench.store, settings, Role.AUDITOR).post("/self-test").status_code == 403
    assert Guest(bench.store, settings, Role.READER).get("/self-test").status_code == 403
    off = Guest(bench.store, bench.settings, Role.ADMIN)
    assert "switched off" in off.get("/self-test").text
    assert off.post("/self-test").status_code == 422
