"""Was it right? From the page and from a file, on the log, in the figures; no report changes."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hipnode.answers.right import Rate, opinion_of, truth_of
from hipnode.cli import app
from hipnode.domain import AuditEvent, AuditRecord, Decision, Task
from hipnode.domain.opinions import Opinion, OpinionSource
from hipnode.domain.people import Role
from hipnode.errors import InputRefused
from hipnode.services.opinions.match import About, Heard, Teller, take
from hipnode.storage import Asked, AuditFilter
from tests.db.conftest import Bench
from tests.desk import HOSTILE, Guest, rows, study
from tests.node import write_settings

RIGHT = "R-hip_fracture"
DASH = "\N{EN DASH}"


def guest(bench: Bench, *roles: Role) -> Guest:
    return Guest(bench.store, bench.settings, *roles)


def given(bench: Bench) -> list[Any]:
    found = bench.store.desk.records.page(Asked(AuditFilter(event=AuditEvent.FEEDBACK_GIVEN)))
    return [entry.record for entry in found.entries]


def test_a_reader_says_whether_it_was_right(bench: Bench) -> None:
    uid = study(bench, p=0.97, objects=False)
    reader = guest(bench, Role.READER)
    assert f'name="{RIGHT}"' in reader.get(f"/studies/{uid}").text
    before = bench.store.desk.studies.made(uid), rows(bench.store)
    answer = reader.post(
        f"/studies/{uid}/feedback", {RIGHT: "disagree", "L-hip_fracture": "", "comment": HOSTILE[0]}
    )
    assert answer.headers["location"] == f"/studies/{uid}"
    assert (bench.store.desk.studies.made(uid), rows(bench.store)) == (before[0], before[1] + 1)
    (record,) = given(bench)
    assert (record.actor, record.study_instance_uid) == ("reader", uid)
    assert {k: record.detail[k] for k in ("side", "opinion", "said", "truth")} == {
        "side": "R", "opinion": "disagree", "said": "present", "truth": "absent",
    }  # fmt: skip
    text = reader.get(f"/studies/{uid}").text
    assert "stimmt nicht" not in text
    assert "&lt;script&gt;" in text
    assert "<script" not in text


def test_what_is_no_opinion_is_not_taken(bench: Bench) -> None:
    uid = study(bench, objects=False)
    reader = guest(bench, Role.READER)
    for form in ({}, {RIGHT: "maybe"}, {"X-hip_fracture": "agree"}, {"comment": "x"}):
        assert reader.post(f"/studies/{uid}/feedback", form).status_code == 422
    assert reader.post("/studies/1.2.404/feedback", {RIGHT: "agree"}).status_code == 404
    assert guest(bench, Role.AUDITOR).post(f"/studies/{uid}/feedback").status_code == 403
    assert given(bench) == []


def test_a_scientist_sees_disagreements_and_figures_and_no_patient(bench: Bench) -> None:
    uid = study(bench, p=0.97, objects=False)
    other = study(bench, "2", p=0.97, accession="A-2", objects=False)
    reader, scientist = guest(bench, Role.READER), guest(bench, Role.SCIENTIST)
    reader.post(f"/studies/{uid}/feedback", {RIGHT: "disagree", "comment": "no line"})
    reader.post(f"/studies/{other}/feedback", {RIGHT: "agree", "L-hip_fracture": "agree"})
    for path in ("/quality", "/quality/disagreements"):
        text = scientist.get(path).text
        for secret in ("A-99", "P-17", uid, "no line"):
            assert secret not in text
    assert "A-99" in reader.get("/quality/disagreements").text
    text = scientist.get("/quality").text
    assert f"50.0 % <small>(1.3{DASH}98.7; 1/2)</small>" in text  # PPV
    assert f"100.0 % <small>(2.5{DASH}100.0; 1/1)</small>" in text  # sensitivity


def test_the_newest_opinion_counts_and_the_earlier_one_stays(bench: Bench) -> None:
    uid = study(bench, p=0.97, objects=False)
    reader = guest(bench, Role.READER)
    reader.post(f"/studies/{uid}/feedback", {RIGHT: "disagree"})
    bench.clock.forward(5)
    reader.post(f"/studies/{uid}/feedback", {RIGHT: "agree"})
    opinions = bench.store.desk.opinions
    assert [f.opinion for f in opinions.of_study(uid)] == [Opinion.DISAGREE, Opinion.AGREE]
    assert [f.opinion for f in opinions.since(bench.store.now().replace(year=2020))] == [
        Opinion.AGREE
    ]


def test_a_rate_that_shifts_is_an_alarm_on_the_page(bench: Bench) -> None:
    hips = {side: {"side": side, "verdict": "none_seen", "findings": []} for side in "RL"}

    def reads(number: int, decision: str) -> None:
        finding = {"task": "hip_fracture", "decision": decision, "p_positive": 0.5, "model": "m"}
        said = [hip | {"findings": [finding]} for hip in hips.values()]
        for _ in range(number):
            bench.store.audit.append(AuditRecord(AuditEvent.IMAGE_READ, detail={"hips": said}))

    for _ in range(25):
        reads(4, "absent")
        bench.clock.forward(86400)
    reads(5, "present")
    bench.clock.forward(86400 * 10)
    scientist = guest(bench, Role.SCIENTIST)
    assert "Too few hips to say what is usual." in scientist.get("/quality").text
    bench.clock.forward(86400 * 30)
    for _ in range(10):
        reads(4, "present")
        bench.clock.forward(86400)
    bench.clock.forward(86400 * 11)
    text = guest(bench, Role.SCIENTIST).get("/quality").text
    assert "✕ more, 2027-0" in text


@pytest.fixture
def config(bench: Bench, tmp_path: Path) -> str:
    url = bench.settings.database.url.get_secret_value()
    tables = {"node": {"data_dir": bench.settings.node.data_dir}, "database": {"url": url}}
    return str(write_settings(tmp_path / "hipnode.toml", tables))


def test_a_file_of_the_ris_says_what_was_there(bench: Bench, config: str, tmp_path: Path) -> None:
    study(bench, "1", 0.97, accession="A-1", objects=False)
    study(bench, "2", 0.02, accession="A-2", objects=False)
    file = tmp_path / "ris.csv"
    file.write_text("Accession,Side,Truth,Comment\nA-1,R,yes,\nA-2,R,yes,missed\nA-3,L,no,\n")
    done = CliRunner().invoke(app, ["feedback", "import", str(file), "-c", config])
    assert done.exit_code == 0, done.output
    assert "line 4: there is no study of this accession number" in done.output
    assert "2 taken in" in done.output
    file.write_text("accession;side;truth\n\nA-3;lato destro;no\n")
    done = CliRunner().invoke(app, ["feedback", "import", str(file), "-c", config])
    assert "Line 3: " in str(done.exception)
    file.write_text("accession;side;truth\n\nA-3;destra;no\n")
    done = CliRunner().invoke(app, ["feedback", "import", str(file), "-c", config])
    assert (done.exit_code, "line 3: there is no study" in done.output) == (1, True)
    assert {r.detail["opinion"] for r in given(bench)} == {"agree", "disagree"}
    out = CliRunner().invoke(app, ["feedback", "export", "-c", config])
    (first, second) = csv.DictReader(io.StringIO(out.output))
    assert (first["said"], first["truth"], first["opinion"]) == ("present", "present", "agree")
    assert (second["said"], second["truth"], second["opinion"]) == ("absent", "present", "disagree")
    assert second["model_version"] == "1.0.0"
    an_hour_ago = datetime.now(timezone(timedelta(hours=2))) - timedelta(hours=1)
    since = an_hour_ago.isoformat(timespec="seconds")
    late = CliRunner().invoke(app, ["feedback", "export", "--since", since, "-c", config])
    assert late.output == out.output, "a moment's offset counts"


def test_an_accession_number_of_two_patients_says_nothing_of_either(
    bench: Bench, config: str, tmp_path: Path
) -> None:
    """A file names no patient: what is there would be said of the newest."""
    older = study(bench, "1", 0.97, patient_id="P-17", objects=False)
    study(bench, "2", 0.97, patient_id="P-18", objects=False)
    file = tmp_path / "ris.csv"
    file.write_text("accession,side,truth\nA-99,R,yes\n")
    done = CliRunner().invoke(app, ["feedback", "import", str(file), "-c", config])
    assert done.exit_code == 1
    assert "line 2: several patients have studies of this accession number" in done.output
    heard, teller = Heard("R", Task.HIP_FRACTURE.value, "present"), Teller(OpinionSource.ORU, "RIS")
    assert take(bench.store, About(("A-99",), patient_id="P-17"), [heard], teller).count == 1
    (record,) = given(bench)
    assert record.study_instance_uid == older


HEAD = "accession,side,truth\n"


@pytest.mark.parametrize(
    "text",
    ["accession,side\nA-1,R\n", f"{HEAD}A-1,X,yes\n", f"{HEAD}A-1,R,?\n", f"{HEAD},R,yes\n", "",
     f"{HEAD}A-1,R+L,yes\n", f"{HEAD}A-1,R,yes,no\n", "accession,side,truth,truth\nA-1,R,yes,no\n",
     f"{HEAD}A-1,R,yes\nA-1,L,\"no\n", "accession,side,truth,task\nA-1,R,yes,broken\n",
     f"{HEAD}A-1,R,yes\n{'x' * 200_000},L,no\n"],
)  # fmt: skip
def test_a_file_that_is_wrong_is_not_taken_at_all(
    bench: Bench, config: str, tmp_path: Path, text: str
) -> None:
    study(bench, objects=False)
    file = tmp_path / "ris.csv"
    file.write_text(text)
    done = CliRunner().invoke(app, ["feedback", "import", str(file), "-c", config])
    assert isinstance(done.exception, InputRefused)
    assert given(bench) == []


def test_a_file_that_is_none_is_refused(config: str, tmp_path: Path) -> None:
    (tmp_path / "utf-16.csv").write_text(HEAD, encoding="utf-16")
    for file in (tmp_path, tmp_path / "nowhere.csv", tmp_path / "utf-16.csv"):
        done = CliRunner().invoke(app, ["feedback", "import", str(file), "-c", config])
        assert isinstance(done.exception, InputRefused)
        assert str(file) in str(done.exception)


def test_a_doubtful_answer_asked_for_a_look() -> None:
    for decision in Decision:
        for opinion in (Opinion.AGREE, Opinion.DISAGREE):
            assert opinion_of(decision, truth_of(decision, opinion)) is opinion
        assert truth_of(decision, Opinion.UNSURE) == ""


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (0, 0, 0.0, 1.0)],
)
def test_intervals_are_those_of_the_tables(count: int, of: int, low: float, high: float) -> None:
    rate = Rate(count, of)
    assert (rate.low, rate.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
