"""docs/audit.md, followed literally: every command and every statement of it answers."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from hipnode.cli import app
from hipnode.domain import (
    AuditEvent,
    AuditRecord,
    Box,
    Decision,
    Finding,
    HipReading,
    HipROI,
    JobKind,
    ModelRef,
    OperatingPoint,
    Outcome,
    Reading,
    Side,
    Task,
)
from tests.db.conftest import MODELS, Bench
from tests.node import write_settings
from tests.peers import ROOT

PAGE = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ hipnode (.+)$", PAGE, re.MULTILINE)
STATEMENTS = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ON_POSTGRESQL = re.findall(r"^```postgresql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
_TIME = re.compile(r"datetime\((\S*at_utc)/1000000, 'unixepoch'\)")
HOSTILE = "WARD\x1b]0;owned\x07"


def reading(uid: str) -> Reading:
    """Return a reading of one hip with a finding, and one without."""
    point = OperatingPoint("default", 0.2, 0.9)
    model = ModelRef("cnn", "0.4.0", "d" * 64, "card")
    finding = Finding(
        Task.HIP_FRACTURE,
        {"none": 0.04, "neck": 0.96},
        "neck",
        0.96,
        Decision.PRESENT,
        point,
        model,
    )
    left = HipReading(HipROI(Side.LEFT, Box(0, 0, 10, 10), 0.9), (finding,))
    return Reading(uid, 100, 80, "default", MODELS, hips=(left,))


@pytest.fixture
def asked(bench: Bench, tmp_path: Path) -> Asked:
    bench.clock.now = datetime(2020, 2, 29, 8, tzinfo=UTC)  # the command line's clock is real
    bench.receive("1.1", "1", accession="A1", patient_id=HOSTILE)
    bench.store.ledger.finish_read(bench.take(JobKind.READ), reading("1.1"))
    bench.report()
    job = bench.take(JobKind.DELIVER)
    bench.store.ledger.retry(job, "no connection", count_attempt=False)
    bench.clock.forward(3600)
    bench.deliver()
    bench.receive("2.1", "2", accession="A2")
    bench.read()
    bench.receive("3.1", "3", accession="A3")
    bench.store.ledger.quarantine(bench.take(JobKind.READ), "damaged")
    for event, outcome in (
        (AuditEvent.ASSOCIATION_REFUSED, Outcome.REFUSED),
        (AuditEvent.MODEL_SET_LOADED, Outcome.OK),
        (AuditEvent.FILES_RETIRED, Outcome.OK),
    ):
        detail = {"reason": "calling_ae", "model_set": "default"}
        record = AuditRecord(event, outcome, ae_title="[/x]", detail=detail)
        bench.store.audit.append(record)
    bench.store.audit.seal()
    bench.store.audit.verify(actor="test")
    bench.store.audit.seal()
    return Asked(bench, tmp_path)


class Asked:
    """A node whose log has an answer to each question."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self._config = write_settings(
            folder / "hipnode.toml",
            {
                "node": {"data_dir": bench.settings.node.data_dir},
                "database": {"url": bench.settings.database.url.get_secret_value()},
            },
        )

    def command(self, line: str) -> Result:
        done = CliRunner().invoke(app, [*shlex.split(line), "--config", str(self._config)])
        assert done.exit_code == 0, done.output
        return done

    def sql(self, statement: str) -> list[object]:
        if not self.bench.store.database.is_sqlite:
            statement = _TIME.sub(r"to_timestamp(\1/1e6)", statement)
            statement = statement.replace("detail ->>", "detail::json ->>")
        text = sa.text(statement.replace(":", r"\:"))
        return self.bench.store.database.read(lambda c: list(c.execute(text).all()))


def test_there_are_twelve_questions() -> None:
    assert len(re.findall(r"^### \d+\. ", PAGE, re.MULTILINE)) == 12
    assert len(STATEMENTS) == 12
    assert len(COMMANDS) == 13


def test_every_command_answers(asked: Asked) -> None:
    for line in COMMANDS:
        assert asked.command(line).stdout.count("\n") >= (1 if "verify" in line else 2), line


def test_every_statement_answers(asked: Asked) -> None:
    asked.command("audit show 1")  # so that somebody has asked
    sqlite = asked.bench.store.database.is_sqlite
    statements = [s for s in STATEMENTS if sqlite or "json_each" not in s]
    for statement in [*statements, *([] if sqlite else ON_POSTGRESQL)]:
        assert asked.sql(statement), statement


def test_the_columns_of_the_page_are_those_of_the_table(asked: Asked) -> None:
    table = PAGE.partition("## The table")[2].partition("## Twelve")[0]
    described = set(
        re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)))
    )
    inspector = sa.inspect(asked.bench.store.database.engine)
    assert described == {column["name"] for column in inspector.get_columns("audit")}


def test_findings_have_a_row_for_each_hip_and_finding(asked: Asked) -> None:
    rows = list(csv.DictReader(io.StringIO(asked.command("audit findings").stdout)))
    assert [row["accession_number"] for row in rows] == ["A1", "A2"]
    first, second = rows
    assert (first["side"], first["verdict"], first["attention"]) == (
        "L",
        "fracture_definite",
        "now",
    )
    assert (first["model"], first["model_version"], first["p_positive"]) == ("cnn", "0.4.0", "0.96")
    assert second["abstained"] == "not_frontal"
    lines = asked.command("audit findings --format jsonl --accession A1").stdout.splitlines()
    assert [json.loads(line)["decision"] for line in lines] == ["present"]


def test_a_story_is_told_oldest_first_and_its_plumbing_is_folded(asked: Asked) -> None:
    told = asked.command("audit story A1").stdout
    order = ["image received", "image read", "report version 1", "failed", "delivered to pacs"]
    places = [told.index(words) for words in order]
    assert places == sorted(places)
    assert "fracture_definite" in told
    assert "cnn 0.4.0" in told
    assert "sha256 " + "0" * 64 in told
    assert "job claimed" not in told
    assert "job claimed" in asked.command("audit story A1 --all").stdout
    document = json.loads(asked.command("audit story A1 --json").stdout)
    assert document["objects"][0]["delivered"][0][0] == "pacs"


def test_what_a_sender_wrote_does_nothing_to_a_terminal(asked: Asked) -> None:
    told = asked.command("audit story A1").stdout
    assert "owned" in told
    assert "\x1b" not in told
    assert "\x07" not in told
