"""What is known about patients comes by HL7 and by files, is used in a reading, and goes again."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from hipnode.cli import app
from hipnode.domain import AuditEvent, AuditRecord, JobKind, Outcome, ResultKind, Task
from hipnode.services.worker.service import Worker
from hipnode.storage import AuditFilter, HoldKind, Store
from hipnode.storage.upkeep.covariates import retire_covariates
from tests.db.conftest import Bench
from tests.db.test_final_reports import Door, code, door  # noqa: F401 - a fixture
from tests.db.test_worker_reports import receive, worker  # noqa: F401 - a fixture

HEADER = (
    "MSH|^~\\&|LAB|HOSPITAL|hipnode||20261121080000||ORU^R01^ORU_R01|{id}|P|2.5.1||||||{charset}\r"
    "PID|1||{patient}^^^HOSPITAL||DOE^J\u00e4ne\r"
    "OBR|1|PL1|LAB7|LABS^L|||20261101|||||||||||{accession}|||||||F\r"
)
VITAMIN = "OBX|{n}|NM|1989-3^D^LN||{value}|{unit}|||||{status}|||20261101\r"
CODES = {"LN:1989-3": "vitamin_d_ng_ml", "LN:39156-5": "bmi"}


def message(value: str = "24.1", **given: str) -> str:
    values = {
        "id": "42", "charset": "UNICODE UTF-8", "patient": "P-17", "accession": "A-99", "n": "1",
        "unit": "ng/mL", "status": "F", "value": value,
    }  # fmt: skip
    return (HEADER + VITAMIN).format(**(values | given))


def records(store: Store, event: AuditEvent) -> list[AuditRecord]:
    found = store.audit.query(AuditFilter(event=event), actor="test", newest_first=False)
    return [entry.record for entry in found]


@pytest.fixture
def coded(bench: Bench) -> Bench:
    """A store whose node knows two codes."""
    bench.settings = bench.settings.model_copy(
        update={"covariates": bench.settings.covariates.model_copy(update={"codes": CODES})}
    )
    return bench


def test_values_come_by_the_port_of_final_reports(coded: Bench, door: Door) -> None:  # noqa: F811
    coded.receive()
    later = message("23.9", id="43", status="C")
    answers = door().send(message(), message(), later)
    assert [code(each)[0] for each in answers] == ["AA", "AA", "AA"]
    kept = coded.store.desk.covariates.of("A-99")
    assert [(each.value, each.corrected, each.message) for each in kept] == [
        (24.1, False, "42"), (23.9, True, "43"),
    ]  # fmt: skip
    told = records(coded.store, AuditEvent.COVARIATE_TOLD)
    assert [each.detail["again"] for each in told] == [False, True, False]
    assert {each.patient_id for each in told} == {"P-17"}
    assert {each.study_instance_uid for each in told} == {"1.2.3"}
    assert records(coded.store, AuditEvent.FEEDBACK_UNMATCHED) == []
    assert coded.store.audit.verify() is None


def test_a_value_for_another_patients_examination_is_refused(coded: Bench, door: Door) -> None:  # noqa: F811
    coded.receive()
    (answer,) = door().send(message(patient="P-18"))
    assert code(answer)[0] == "AA"
    assert coded.store.desk.covariates.of("A-99") == ()
    (refused,) = records(coded.store, AuditEvent.COVARIATE_REFUSED)
    assert refused.outcome is Outcome.REFUSED
    assert refused.detail["reason"] == "the examination is another patient's"
    assert refused.patient_id == "P-18"
    assert coded.store.vitals().covariates == {"told": 0, "refused": 1, "late": 0}
    coded.clock.forward(8 * 86_400)
    assert coded.store.vitals().covariates == {"told": 0, "refused": 0, "late": 0}


@pytest.mark.parametrize(
    ("charset", "encoding"), [("8859/1", "latin-1"), ("", "latin-1"), ("UNICODE UTF-8", "utf-8")]
)
def test_character_sets_and_units_of_interfaces(
    coded: Bench,
    door: Door,  # noqa: F811
    charset: str,
    encoding: str,
) -> None:
    sent = message(charset=charset, unit="\u00b5g/L")
    (answer,) = door().send(sent, encoding=encoding)
    assert code(answer)[0] == "AA"
    (kept,) = coded.store.desk.covariates.of("A-99")
    assert kept.value == 24.1


def test_odd_messages_are_answered_and_leave_no_value(coded: Bench, door: Door) -> None:  # noqa: F811
    odd = [
        message(charset="KOI8-R"), message("", status="F"), message("24.1", unit=""),
        message(patient=""), message(accession="").replace("|PL1|LAB7|", "|||"),
        message("24.1") + VITAMIN.format(n=2, value="42", unit="ng/mL", status="F"),
        "MSH|^~\\&|\r", message().replace("OBR|", "OBX|"), message("", accession="A\0-98"),
    ]  # fmt: skip
    answers = [code(each)[0] for each in door().send(*odd)]
    assert answers == ["AR", "AA", "AA", "AA", "AA", "AA", "AR", "AE", "AA"]
    assert coded.store.desk.covariates.of("A-99") == ()
    assert coded.store.audit.verify() is None


def test_a_file_is_taken_and_each_row_that_is_not_is_named(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.receive()
    monkeypatch.setattr("hipnode.cli.covariates.opened", lambda _config: _Open(bench.store))
    file = tmp_path / "values.csv"
    file.write_text(
        "accession,patient_id,name,value,unit,date\n"
        "A-99,P-17,vitamin_d_ng_ml,24.1,ng/mL,2026-11-01\n"
        "A-99,P-18,vitamin_d_ng_ml,24.1,ng/mL,2026-11-01\n"
        "A-98,P-18,calcium_mg_dl,2.4,mg/dL,2026-11-01\n"
    )
    done = CliRunner().invoke(app, ["covariates", "import", str(file)])
    assert done.exit_code == 1
    assert "line 3: the examination is another patient's" in done.output
    assert "line 4: 2.4 mg/dL is out of range" in done.output
    assert "1 of 3 taken in" in done.output
    assert len(bench.store.desk.covariates.of("A-99")) == 1


def test_a_long_file_keeps_no_image_waiting_and_names_its_lines(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written a part at a time, and a number beyond the first part is still the line's."""
    monkeypatch.setattr("hipnode.cli.covariates.opened", lambda _config: _Open(bench.store))
    monkeypatch.setattr("hipnode.services.covariates.take._PART", 2)
    written: list[int] = []
    add = bench.store.desk.covariates.add
    monkeypatch.setattr(
        bench.store.desk.covariates,
        "add",
        lambda given, now: written.append(len(given)) or add(given, now),
    )
    file = tmp_path / "values.csv"
    row = "A-{},P-1,calcium_mg_dl,{},mg/dL,2026-11-01\n"
    file.write_text(
        "accession,patient_id,name,value,unit,date\n"
        + "".join(row.format(n, 240 if n == 4 else 9.6) for n in range(5))
    )
    done = CliRunner().invoke(app, ["covariates", "import", str(file)])
    assert written == [2, 2, 1]
    assert "line 6: 240 mg/dL is out of range" in done.output
    assert "4 of 5 taken in" in done.output


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("v.csv", "accession,patient_id,name,value,unit,date\n"),
        ("v.json", '{"resourceType": "Observation", "status": "final"}'),
        ("v.ndjson", ""),
    ],
)
def test_a_file_of_which_nothing_is_meant_is_no_success(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setattr("hipnode.cli.covariates.opened", lambda _config: _Open(bench.store))
    (tmp_path / name).write_text(text)
    done = CliRunner().invoke(app, ["covariates", "import", str(tmp_path / name)])
    assert done.exit_code == 1
    assert "no Observation with a code that covariates.codes names" in done.output


class _Open:
    def __init__(self, store: Store) -> None:
        self.store = store

    def __enter__(self) -> Store:
        return self.store

    def __exit__(self, *_: object) -> None:
        """Leave it open: it is the test's."""


def test_a_value_is_used_in_a_reading_and_stands_in_the_report(
    coded: Bench,
    door: Door,  # noqa: F811
    worker: Worker,  # noqa: F811
) -> None:
    """The shipped model with clinical data: age and sex of the header, body mass index by HL7."""
    text = message("25", unit="kg/m2", patient="P-1", accession="ACC-1")
    door().send(text.replace("1989-3", "39156-5"))
    receive(
        coded, PatientID="P-1", AccessionNumber="ACC-1", StudyDate="20261120", PatientAge="078Y",
        PatientSex="F", PatientSize="", PatientWeight="",
    )  # fmt: skip
    worker.handle(coded.take(JobKind.READ))
    (read,) = records(coded.store, AuditEvent.IMAGE_READ)
    bone = [
        finding
        for hip in read.detail["hips"]
        for finding in hip["findings"]
        if finding["task"] == Task.OSTEOPOROSIS
    ]
    assert bone
    for finding in bone:
        assert finding["model"].endswith("-clinical")
        by_name = {each["name"]: each for each in finding["covariates"]}
        assert by_name["bmi"] | {"id": 0} == {
            "name": "bmi", "value": 25.0, "unit": "kg/m2", "source": "oru",
            "measured": "2026-11-01", "id": 0,
        }  # fmt: skip
        assert by_name["age"]["source"] == "header"
    worker.handle(coded.take(JobKind.REPORT))
    made = coded.store.desk.studies.made(read.study_instance_uid)
    (report,) = [each for each in made if each.kind == ResultKind.SR.value]
    words = coded.store.files.path(report.path).read_bytes().decode("utf-8", "replace")
    assert "covariate body mass index 25 kg/m2 of 2026-11-01, by oru" in words
    assert "covariate age 78 years, by header" in words


def test_an_image_that_was_read_too_soon_is_read_again_with_what_came_later(
    coded: Bench,
    worker: Worker,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hipnode.cli.covariates.opened", lambda _config: _Open(coded.store))
    monkeypatch.setattr("hipnode.cli.story.opened", lambda _config: _Open(coded.store))
    monkeypatch.setattr("hipnode.storage.Store.open", lambda _settings: coded.store)
    monkeypatch.setattr(coded.store, "close", lambda: None)

    def run(words: str) -> Result:
        return CliRunner().invoke(app, words.split())

    file = tmp_path / "values.csv"
    file.write_text(
        "accession,patient_id,name,value,unit,date\nACC-1,P-1,bmi,25,kg/m2,2026-11-01\n"
    )
    receive(
        coded, PatientID="P-1", AccessionNumber="ACC-1", StudyDate="20261120", PatientAge="078Y",
        PatientSex="F", PatientSize="", PatientWeight="",
    )  # fmt: skip
    assert "none of ACC-1: not read yet" in run("reread --accession ACC-1").output
    worker.handle(coded.take(JobKind.READ))
    worker.handle(coded.take(JobKind.REPORT))
    assert "to read it again: hipnode reread --accession ACC-1" in (
        run(f"covariates import {file}").output
    )
    assert "read again" not in run(f"covariates import {file}").output  # it was said
    assert coded.store.vitals().covariates == {"told": 2, "refused": 0, "late": 1}
    done = run("reread --accession ACC-1 --accession ACC-2")
    assert done.exit_code == 1
    assert "1 image queued to be read again\nnone of ACC-2: not read yet" in done.output
    worker.handle(coded.take(JobKind.READ))
    worker.handle(held := coded.take(JobKind.REPORT))
    assert held.version == 2
    story = run("audit story ACC-1").output
    first, second = (line for line in story.splitlines() if "image read: " in line)
    assert "with bmi" not in first
    assert re.search(r"yamamoto2020-googlenet-clinical [\d.]+, with bmi 25 of 2026-11-01\)", second)
    assert "bmi came by csv, after an image was read: 25 kg/m2, of 2026-11-01" in story


def test_what_comes_while_an_image_is_being_read_is_late(bench: Bench) -> None:
    """The reading may have asked for it before."""
    from tests.unit.test_covariates import row

    values = bench.store.desk.covariates
    bench.receive()
    assert values.add([row(0, 24.1, "2026-11-01")], bench.clock()).late == ()
    bench.take(JobKind.READ)
    assert values.add([row(0, 24.1, "2026-11-02")], bench.clock()).late == ("A-99",)
    assert values.add([row(0, 24.1, "2026-11-02")], bench.clock()).late == ()  # the same again


@pytest.mark.parametrize("options", ["", "--accession A --reason implant", "--accession ''"])
def test_what_to_read_again_is_said_one_way(options: str) -> None:
    assert CliRunner().invoke(app, ["reread", *shlex.split(options)]).exit_code == 2


def test_a_story_has_what_came_before_its_images(
    coded: Bench,
    door: Door,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hipnode.cli.story.opened", lambda _config: _Open(coded.store))
    door().send(message(), message(status="W", id="43"), message("31", patient="P-18"))
    for _ in range(2):
        done = CliRunner().invoke(app, ["audit", "story", "A-99"])
        assert done.exit_code == 0
        told = " ".join(done.output.split())
        assert told.startswith("before any image of it")
        assert "vitamin_d_ng_ml came by oru: 24.1 ng/mL, of 2026-11-01" in told
        assert "came by oru: taken back, of 2026-11-01 (patient ID P-17)" in told
        assert "came by oru: 31 ng/mL, of 2026-11-01 (patient ID P-18)" in told
        coded.receive()


def test_values_go_when_their_images_go(bench: Bench) -> None:
    bench.receive()
    values = bench.store.desk.covariates
    from tests.unit.test_covariates import row

    values.add([row(0, 24.1, "2026-11-01")], bench.clock())
    settings = bench.settings.retention

    def retired() -> int:
        return retire_covariates(bench.store.database, settings, bench.clock())

    assert retired() == 0
    bench.clock.forward(15 * 86400)
    assert retired() == 0  # its image is still here
    for job in (bench.read(), bench.report(to=())):
        assert job
    assert bench.store.retire().images == 1
    hold = bench.store.holds.set(HoldKind.STUDY, "1.2.3", reason="court", actor="me")
    assert retired() == 0
    bench.store.holds.lift(hold, reason="over", actor="me")
    assert retired() == 1
    assert values.of("A-99") == ()
    (gone,) = records(bench.store, AuditEvent.COVARIATES_RETIRED)
    assert gone.detail == {"values": 1}
