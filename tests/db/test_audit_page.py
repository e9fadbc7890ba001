"""docs/audit.md, followed literally: every command and every statement of it answers."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from hipnode.answers.audit import FINDING_COLUMNS
from hipnode.cli import app
from hipnode.domain import (
    Abstention,
    AbstentionReason,
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
from hipnode.storage import parse_heads
from tests.db.conftest import MODELS, Bench
from tests.node import HIPNODE, write_settings
from tests.peers import ROOT, run

PAGE = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ hipnode ([^>\n]+)", PAGE, re.MULTILINE)
STATEMENTS = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(CHECK,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
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
    why = Abstention(AbstentionReason.IMPLANT, "metal")
    right = HipReading(HipROI(Side.RIGHT, Box(20, 0, 30, 10), 0.9), (), why)
    return Reading(uid, 100, 80, "default", MODELS, hips=(left, right))


@pytest.fixture
def asked(bench: Bench, tmp_path: Path) -> Asked:
    bench.clock.now = datetime(2020, 2, 29, 8, tzinfo=UTC)  # the command line's clock is real
    bench.receive("1.1", "1", accession="A1", patient_id=HOSTILE)
    bench.store.ledger.finish_read(bench.take(JobKind.READ), reading("1.1"))
    bench.report()
    job = bench.take(JobKind.DELIVER)
    bench.store.recovery.retry(job, "no connection", count_attempt=False)
    bench.clock.forward(3600)
    bench.deliver()
    bench.receive("2.1", "2", accession="A2")
    bench.read()
    bench.receive("3.1", "3", accession="A3")
    bench.store.recovery.quarantine(bench.take(JobKind.READ), "damaged")
    for event, outcome in (
        (AuditEvent.ASSOCIATION_REFUSED, Outcome.REFUSED),
        (AuditEvent.MODEL_SET_LOADED, Outcome.OK),
        (AuditEvent.FILES_RETIRED, Outcome.OK),
    ):
        model = {"model": "cnn", "model_version": "0.4.0", "model_digest": "d" * 64}
        details = {
            AuditEvent.ASSOCIATION_REFUSED: {"reason": "calling_ae"},
            AuditEvent.MODEL_SET_LOADED: {"model_set": "default", "models": {"localiser": model}},
        }
        record = AuditRecord(event, outcome, ae_title="[/x]", detail=details.get(event, {}))
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

    def typed(self, line: str) -> list[str]:
        return [*HIPNODE, *shlex.split(line), "--config", str(self._config)]

    def sql(self, statement: str) -> list[Any]:
        if not self.bench.store.database.is_sqlite:
            statement = _TIME.sub(r"to_timestamp(\1/1e6)", statement)
            statement = statement.replace("detail ->>", "detail::json ->>")
        text = sa.text(statement.replace(":", r"\:"))
        return self.bench.store.database.read(lambda c: list(c.execute(text).all()))


def test_there_are_twelve_questions() -> None:
    assert len(re.findall(r"^### \d+\. ", PAGE, re.MULTILINE)) == 12
    assert len(STATEMENTS) == 12
    assert len(COMMANDS) == 15


def test_every_command_answers(asked: Asked) -> None:
    for line in COMMANDS:
        assert asked.command(line).stdout.count("\n") >= (1 if "verify" in line else 2), line


def test_every_statement_answers(asked: Asked) -> None:
    asked.command("audit show 1")  # so that somebody has asked
    for statement in STATEMENTS:
        assert asked.sql(statement), statement


def test_the_columns_of_the_page_are_those_of_the_table(asked: Asked) -> None:
    table = PAGE.partition("## The table")[2].partition("## Views")[0]
    described = set(
        re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)))
    )
    inspector = sa.inspect(asked.bench.store.database.engine)
    assert described == {column["name"] for column in inspector.get_columns("audit")}


def test_the_views_are_those_of_the_page(asked: Asked) -> None:
    table = PAGE.partition("## Views")[2].partition("## Events")[0]
    described = {
        name: re.findall(r"`(\w+)`", columns)
        for name, columns in re.findall(r"^\| `(\w+)` \| .*? \| (.*) \|$", table, re.MULTILINE)
    }
    inspector = sa.inspect(asked.bench.store.database.engine)
    views = {name for name in inspector.get_view_names() if name.startswith("audit_")}
    assert set(described) == views
    for name, columns in described.items():
        assert columns == [column["name"] for column in inspector.get_columns(name)]


def test_the_view_of_findings_says_what_the_command_says(asked: Asked) -> None:
    lines = asked.command("audit findings --format jsonl").stdout.splitlines()
    by_command = [json.loads(line) for line in lines]
    names = [name for name in FINDING_COLUMNS if name != "at_utc"]
    rows = asked.sql("SELECT * FROM audit_findings ORDER BY id, side, task")
    by_view = [{name: getattr(row, name) for name in names} for row in rows]
    for said, seen in zip(by_command, by_view, strict=True):
        assert {name: said[name] or None for name in names} == {
            name: seen[name] or None for name in names
        }
    assert [row["side"] for row in by_view] == ["L", "R", None]


def test_a_statement_is_checked_by_the_script_of_the_page(asked: Asked, tmp_path: Path) -> None:
    note, script = tmp_path / "statement.txt", tmp_path / "check.py"
    note.write_text(asked.command("audit verify --report").stdout, encoding="utf-8")
    script.write_text(CHECK, encoding="utf-8")
    key = asked.bench.store.desk.verifier()

    def checks(key: str) -> bool:
        done = run([sys.executable, script, note, key], check=False)
        return done.returncode == 0 and "signed this" in done.stdout

    said = note.read_text(encoding="utf-8")
    for word in ("unbroken", "records ", "seals 2 in 1 epochs", "not sealed then: ", f"key {key}"):
        assert word in said
    assert checks(key)
    assert not checks(key.replace("statement/", "statement/0"))
    assert parse_heads(said) == [asked.bench.store.audit.head()]
    asked.command(f"audit verify --against {note}")
    for word in ("unbroken", "2020-02-29"):
        note.write_text(said.replace(word, word.upper().replace("2", "3")), encoding="utf-8")
        assert not checks(key)


def test_a_list_in_a_pipe_has_whole_identifiers_and_does_nothing(asked: Asked) -> None:
    heading, *lines = asked.command("audit list").stdout.splitlines()
    rows = [dict(zip(heading.split("\t"), line.split("\t"), strict=True)) for line in lines]
    assert {"A1", "A2", "A3"} <= {row["accession"] for row in rows}
    assert "[/x]" in {row["peer"] for row in rows}
    assert all(json.loads(row["detail"]) is not None for row in rows)
    assert not any(set(line) & {"\x1b", "\x07"} for line in lines)


def test_a_list_on_a_terminal_fits_in_80_columns_and_cuts_no_identifier(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = "1.2.840.113619.2." + "9" * 47
    record = AuditRecord(AuditEvent.INSTANCE_STORED, study_instance_uid=uid, ae_title="=1+1")
    asked.bench.store.audit.append(record)
    said = on_a_terminal([*asked.typed("audit list")])
    assert max(map(len, said.splitlines())) <= 80
    assert uid in said
    assert "\x1b" not in said
    status = on_a_terminal([*asked.typed("status")])
    assert max(map(len, status.splitlines())) <= 80


def on_a_terminal(command: list[str]) -> str:
    """Return what a command prints on a terminal of 80 columns."""
    main, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, text=True) as process:
        os.close(theirs)
        said = b""
        with suppress(OSError):  # it has ended
            while part := os.read(main, 65536):
                said += part
        os.close(main)
        assert process.wait() in {0, 1}
    return said.decode().replace("\r\n", "\n")


def test_findings_have_a_row_for_each_hip_and_finding(asked: Asked) -> None:
    rows = list(csv.DictReader(io.StringIO(asked.command("audit findings").stdout)))
    assert [row["accession_number"] for row in rows] == ["A1", "A1", "A2"]
    first, _, second = rows
    assert (first["side"], first["verdict"], first["attention"]) == (
        "L",
        "fracture_definite",
        "now",
    )
    assert (first["model"], first["model_version"], first["p_positive"]) == ("cnn", "0.4.0", "0.96")
    assert second["abstained"] == "not_frontal"
    lines = asked.command("audit findings --format jsonl --accession A1").stdout.splitlines()
    assert [json.loads(line)["decision"] for line in lines] == ["present", None]


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
