"""The desk as people use it: who may see what, that each look is on the log, and what it shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from hipnode.domain import AuditEvent, CovariateSource, Outcome, Told
from hipnode.domain.people import Role
from hipnode.services.desk.roles import Route
from hipnode.services.desk.routes import ROUTES
from hipnode.storage import Asked, AuditFilter
from tests.db.conftest import Bench
from tests.desk import HOSTILE, Guest, rows, settings_of, study, trouble

AUDITOR, READER, OPERATOR = Role.AUDITOR, Role.READER, Role.OPERATOR
Look = Callable[..., Guest]


@pytest.fixture
def guest(bench: Bench) -> Look:
    """A function that lets somebody with these roles in."""

    def come(*roles: Role, **desk: Any) -> Guest:
        settings = settings_of(bench, **desk) if desk else bench.settings
        return Guest(bench.store, settings, *roles)

    return come


def newest(bench: Bench, event: AuditEvent | None = None) -> Any:
    return bench.store.desk.records.page(Asked(AuditFilter(event=event)), limit=1).entries[0].record


def path_of(bench: Bench, route: Route, uid: str) -> str:
    """Return an address that a route answers for a study that is there."""
    capture = next((m.id for m in bench.store.desk.studies.made(uid) if m.kind == "capture"), 0)
    number = capture if "captures" in route.path else 1
    parts = {"uid": uid, "number": number, "form": "csv", "to": "de"}
    path = route.path.format(**parts)
    return f"{path}?job=1" if route.path == "/faults/requeue" else path


# --- who may see what -----------------------------------------------------------------------------


@pytest.fixture
def shown(bench: Bench) -> str:
    """A node with a study, things that went wrong, and a sealed log."""
    uid = study(bench)
    trouble(bench)
    bench.store.audit.seal()
    return uid


GETS = [route for route in ROUTES if route.method == "GET" and route.roles is not None]
POSTS = [route for route in ROUTES if route.method == "POST" and route.roles is not None]


def test_each_page_answers_those_it_is_for_and_nobody_else(
    bench: Bench, guest: Look, shown: str
) -> None:
    seen: dict[tuple[str, str], int] = {}
    for role in Role:
        somebody = guest(role)
        for route in GETS:
            answer = somebody.get(path_of(bench, route, shown))
            seen[route.path, role] = answer.status_code
            allowed = route.allows(frozenset({role}))
            if "{uid}" in route.path and role is OPERATOR:
                allowed = False  # the glass is whole
            if route.path == "/password":
                assert answer.status_code in {200, 404}
            else:
                assert answer.status_code == (200 if allowed else 403), (route.path, role)
            if not allowed:
                assert newest(bench).event is AuditEvent.DESK_REFUSED
                assert "P-17" not in answer.text
    assert len(seen) == len(GETS) * len(Role)


def test_each_form_is_taken_from_those_it_is_for_and_nobody_else(
    bench: Bench, guest: Look, shown: str
) -> None:
    for role in Role:
        for route in POSTS:
            answer = guest(role).post(route.path)
            if not route.allows(frozenset({role})):
                assert answer.status_code == 403, (route.path, role)
            else:
                assert answer.status_code in {303, 404, 422}, (route.path, role)


def test_nobody_sees_anything_without_signing_in(bench: Bench, guest: Look, shown: str) -> None:
    stranger = guest()
    before = rows(bench.store)
    for route in GETS:
        answer = stranger.get(path_of(bench, route, shown))
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?to=")
    for route in POSTS:
        assert stranger.post(route.path).status_code == 303
    assert rows(bench.store) == before


def test_an_operator_sees_no_patient_anywhere(bench: Bench, guest: Look, shown: str) -> None:
    operator = guest(OPERATOR)
    for route in GETS:
        text = operator.get(path_of(bench, route, shown)).text
        assert "P-17" not in text
        assert "A-99" not in text
        if "{uid}" not in route.path:
            assert shown not in text


# --- each look is on the log ----------------------------------------------------------------------

PATIENTS = [route for route in GETS if route.event is not None]


def test_each_page_with_a_patient_is_one_record_more(bench: Bench, guest: Look, shown: str) -> None:
    auditor = guest(AUDITOR)
    assert len(PATIENTS) >= 8
    for route in PATIENTS:
        before = rows(bench.store)
        answer = auditor.get(path_of(bench, route, shown))
        assert answer.status_code == 200
        assert rows(bench.store) == before + 1, route.path
        record = newest(bench)
        assert record.event is route.event
        assert record.actor == "auditor"
        assert record.detail["route"] == route.path
        assert record.detail["address"] == "127.0.0.1"
        assert record.detail["roles"] == ["auditor"]
        if "{uid}" in route.path:
            assert record.study_instance_uid == shown
            assert (record.patient_id, record.accession_number) == ("P-17", "A-99")


def test_pages_without_a_patient_leave_no_record(bench: Bench, guest: Look, shown: str) -> None:
    somebody = guest(*Role)
    before = rows(bench.store)
    for route in GETS:
        if route.event is None:
            somebody.get(path_of(bench, route, shown))
    assert rows(bench.store) == before


def test_a_look_at_what_is_not_there_is_on_the_log_too(bench: Bench, guest: Look) -> None:
    assert guest(AUDITOR).get("/studies/1.2.404").status_code == 404
    record = newest(bench)
    assert record.event is AuditEvent.RESULT_VIEWED
    assert record.outcome is Outcome.FAILED
    assert record.study_instance_uid == "1.2.404"


def test_where_the_look_cannot_be_put_on_the_log_there_is_no_answer(
    bench: Bench, guest: Look, shown: str
) -> None:
    auditor = guest(AUDITOR)
    with bench.store.database.engine.begin() as connection:
        if bench.store.database.is_sqlite:
            refuse = "CREATE TRIGGER no BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END"
            connection.execute(sa.text(refuse))
        else:
            body = "BEGIN RAISE EXCEPTION 'no'; END"
            connection.execute(
                sa.text(f"CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
            )
            made = "CREATE TRIGGER no BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION no()"
            connection.execute(sa.text(made))
    for route in PATIENTS:
        answer = auditor.get(path_of(bench, route, shown))
        assert answer.status_code == 503, route.path
        assert "P-17" not in answer.text
        assert "A-99" not in answer.text
        assert len(answer.content) < 2000
    assert auditor.get("/").status_code == 200  # nothing of a patient is on it


# --- what is shown --------------------------------------------------------------------------------


def test_at_a_glance_says_in_one_sentence_whether_anything_is_wrong(
    bench: Bench, guest: Look
) -> None:
    text = guest(OPERATOR).get("/").text
    assert "4 things need somebody." in text  # none of the four services runs
    assert "no worker is running" in text
    assert "refresh" not in guest(OPERATOR).get("/").headers
    assert guest(OPERATOR).get("/?live=1").headers["refresh"]


def test_every_fault_says_what_to_do(bench: Bench, guest: Look) -> None:
    number = trouble(bench)
    text = guest(OPERATOR).get("/faults").text
    assert "1 read job was given up" in text
    assert "Read the reason below. Once it is mended, queue the job again." in text
    assert "the file is damaged" in text
    assert f"/faults/requeue?job={number}" in text
    assert "calling AE title not recognised" in text
    assert "UNKNOWN" in text


def test_what_was_given_up_is_queued_again_by_whom_the_log_says(bench: Bench, guest: Look) -> None:
    number = trouble(bench)
    operator = guest(OPERATOR)
    assert "the file is damaged" in operator.get(f"/faults/requeue?job={number}").text
    assert bench.store.lookups.job(number).state == "quarantined"  # asking is not doing
    answer = operator.post("/faults/requeue", {"job": str(number)})
    assert answer.headers["location"] == "/faults?done=1"
    assert bench.store.lookups.job(number).state == "queued"
    record = newest(bench, AuditEvent.JOB_REQUEUED)
    assert (record.actor, record.job_id) == ("operator", number)


def test_images_that_were_not_assessed_are_read_again(bench: Bench, guest: Look) -> None:
    trouble(bench)
    operator = guest(OPERATOR)
    assert "not frontal" in operator.get("/faults").text
    done = operator.post("/faults/requeue", {"reason": "not_frontal"})
    assert done.headers["location"] == "/faults?done=1"


def test_studies_are_found_by_what_is_known_of_them(bench: Bench, guest: Look) -> None:
    study(bench, "1", 0.97, accession="A-1", patient_id="P-1", objects=False)
    bench.clock.forward(86400)
    study(bench, "2", 0.02, accession="A-2", patient_id="P-2", objects=False)
    auditor = guest(AUDITOR)

    def found(query: str) -> set[str]:
        answer = auditor.get(f"/studies?{query}")
        assert answer.status_code == 200
        return set(re.findall(r">(A-\d)</a>", answer.text))

    assert found("") == {"A-1", "A-2"}
    assert found("accession=A-1") == {"A-1"}
    assert found("patient=P-2") == {"A-2"}
    assert found("since=2026-11-22") == {"A-2"}
    assert found("until=2026-11-21") == {"A-1"}
    assert found("outcome=positive") == {"A-1"}
    assert found("outcome=negative") == {"A-2"}
    assert found("outcome=undelivered") == set()
    assert found("accession=A-1&patient=P-2") == set()
    assert auditor.get("/studies?since=x").status_code == 422
    assert auditor.get("/studies?outcome=x").status_code == 422
    assert auditor.get("/studies?before=x").status_code == 422


def test_a_reader_names_the_accession_number(bench: Bench, guest: Look) -> None:
    study(bench, objects=False)
    reader = guest(READER)
    assert "A-99" not in reader.get("/studies").text
    assert "P-17" in reader.get("/studies?accession=A-99").text


def test_every_study_and_record_comes_on_exactly_one_page(bench: Bench, guest: Look) -> None:
    for n in range(120):
        bench.receive(f"{n}.1", f"{n}.0", accession=f"N{n:03}", content=str(n))
        bench.clock.forward(0 if n % 3 else 1)  # many at the same moment
    auditor = guest(AUDITOR)

    def walk(path: str, what: str) -> list[str]:
        seen: list[str] = []
        while path:
            text = auditor.get(path).text
            seen += re.findall(what, text)
            following = re.search(r'<a href="([^"]+before=[^"]+)"', text)
            path = following[1].replace("&amp;", "&") if following else ""
        return seen

    assert walk("/studies", r">(N\d+)</a>") == [f"N{n:03}" for n in sorted(
        range(120), key=lambda n: ((n + 2) // 3, f"{n}.0"), reverse=True)]  # fmt: skip
    numbers = walk("/audit?event=instance_stored", r'/audit/records/(\d+)"')
    assert len(numbers) == len(set(numbers)) == 120
    assert numbers == sorted(numbers, key=int, reverse=True)


def test_the_story_shows_what_was_sent_said_and_done(bench: Bench, guest: Look, shown: str) -> None:
    guest(READER).get(f"/studies/{shown}")
    text = guest(AUDITOR).get(f"/studies/{shown}").text
    assert "image received from MODALITY (127.0.0.1)" in text
    assert "fracture_definite" in text
    assert "0.970" in text
    assert factory_model(text)
    for made in bench.store.desk.studies.made(shown):
        assert made.sha256 in text
        assert made.sop_instance_uid in text
    assert "INVESTIGATIONAL" in text
    assert "RIGHT hip: FRACTURE LIKELY" in text  # the words as they were sent
    assert re.search(r"<td>reader</td>\s*<td>result_viewed</td>", text)


def test_the_story_begins_with_the_values_that_came_before_the_images(
    bench: Bench, guest: Look
) -> None:
    """What names another patient stands in no story, be the accession number the same."""
    mine, other = (
        Told(
            accession_number="A-99", patient_ids=(whose,), name="vitamin_d_ng_ml", value=value,
            measured="2026-11-01", corrected=False, given=f"{value} ng/mL",
            source=CovariateSource.CSV, message="values.csv", given_by="lab",
        )
        for whose, value in (("P-17", 24.1), ("P-18", 31.5))
    )  # fmt: skip
    bench.store.desk.covariates.add([mine, other], bench.clock())
    text = guest(AUDITOR).get(f"/studies/{study(bench)}").text
    assert 0 < text.index("24.1") < text.index("image received from MODALITY")
    assert "31.5" not in text
    nobody = study(bench, "2", accession="", objects=False)
    assert "24.1" not in guest(AUDITOR).get(f"/studies/{nobody}").text


def factory_model(text: str) -> bool:
    return "hip-fracture-densenet 1.0.0" in text and "a1b2c3d4a1b2" in text


def test_the_picture_is_the_one_that_was_sent(bench: Bench, guest: Look, shown: str) -> None:
    (capture,) = [m for m in bench.store.desk.studies.made(shown) if m.kind == "capture"]
    answer = guest(AUDITOR).get(f"/studies/{shown}/captures/{capture.id}")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content[:3] == b"\xff\xd8\xff"
    assert guest(AUDITOR).get(f"/studies/{shown}/captures/999").status_code == 404
    other = study(bench, "2", accession="A-2", objects=False)
    assert guest(AUDITOR).get(f"/studies/{other}/captures/{capture.id}").status_code == 404


# --- the glass ------------------------------------------------------------------------------------


def test_an_operator_who_says_why_sees_one_study_for_an_hour(
    bench: Bench, guest: Look, shown: str
) -> None:
    operator = guest(OPERATOR)
    assert operator.get(f"/studies/{shown}").status_code == 403
    short = operator.post("/glass", {"accession": "A-99", "reason": "because"})
    assert short.status_code == 422
    nobody = operator.post("/glass", {"accession": "A-404", "reason": "the PACS lost it"})
    assert nobody.status_code == 422
    assert newest(bench).outcome is Outcome.REFUSED
    done = operator.post("/glass", {"accession": "A-99", "reason": "the PACS lost it"})
    assert done.headers["location"] == f"/studies/{shown}"
    record = newest(bench, AuditEvent.GLASS_BROKEN)
    assert record.detail["reason"] == "the PACS lost it"
    assert (record.study_instance_uid, record.actor) == (shown, "operator")
    assert "P-17" in operator.get(f"/studies/{shown}").text
    assert guest(OPERATOR).get(f"/studies/{shown}").status_code == 403  # another's session
    assert operator.get(f"/studies/{shown}/export").status_code == 403
    story = guest(AUDITOR).get(f"/studies/{shown}").text
    assert re.search(r'<tr class="red">.*glass_broken.*the PACS lost it', story, re.DOTALL)
    bench.clock.forward(800)
    assert operator.get(f"/studies/{shown}").status_code == 200
    for _ in range(4):
        bench.clock.forward(800)
        operator.get("/")
    assert operator.get(f"/studies/{shown}").status_code == 403


# --- hostile values -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", HOSTILE)
def test_what_a_sender_writes_does_nothing_anywhere(bench: Bench, guest: Look, value: str) -> None:
    uid = study(bench, accession=value[:64], patient_id=value[:64], objects=False)
    bench.clock.forward(1)
    held = trouble(bench)
    somebody = guest(*Role)
    for route in GETS:
        answer = somebody.get(path_of(bench, route, uid).replace("job=1", f"job={held}"))
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        for raw in ("<script", "<img src=x", "\x1b", "\x07", "\u202e", "49{%"):
            assert raw not in answer.text, (route.path, raw)
    for name in ("accession", "patient", "words", "actor", "ae", "study", "object"):
        text = somebody.http.get("/audit", params={name: value}).text
        assert "<script" not in text
        assert 'onerror=alert(1)>"' not in text
    exported = somebody.get("/audit/export.csv").text
    assert not re.search(r"(^|,)\"?[=+@]", exported, re.MULTILINE)
