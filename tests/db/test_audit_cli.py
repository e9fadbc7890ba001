"""``hipnode audit``, as it is typed."""

from __future__ import annotations

import csv
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hipnode.cli import app
from hipnode.domain import JobKind
from tests.db.conftest import Bench
from tests.db.test_audit import tamper
from tests.node import HIPNODE, write_settings


class Typed:
    """Types commands at a node whose audit log tells of two studies."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.config = write_settings(
            folder / "hipnode.toml",
            {
                "node": {"data_dir": bench.settings.node.data_dir},
                "database": {"url": bench.settings.database.url.get_secret_value()},
            },
        )

    def __call__(self, *arguments: str) -> Result:
        command, *rest = arguments
        return CliRunner(env={"COLUMNS": "120"}).invoke(
            app, ["audit", command, "--config", str(self.config), *rest]
        )

    def exported(self, *arguments: str) -> list[dict[str, object]]:
        done = self("export", "--format", "jsonl", *arguments)
        assert done.exit_code == 0, done.output
        found = [json.loads(line) for line in done.stdout.splitlines()]
        return [record for record in found if record["event"] != "audit_queried"]


@pytest.fixture
def audit(bench: Bench, tmp_path: Path) -> Typed:
    bench.clock.now = datetime(2020, 2, 29, 8, tzinfo=UTC)  # the command line's clock is real
    bench.receive("1.1", "1", patient_id="P1", accession="A1")
    bench.read()
    bench.report()
    bench.clock.forward(3600)
    bench.receive("2.1", "2", patient_id="P2", accession="=A2")
    bench.store.recovery.quarantine(bench.take(JobKind.READ), "damaged")
    bench.deliver()
    bench.store.audit.seal()
    return Typed(bench, tmp_path)


def test_export_filters(audit: Typed) -> None:
    def count(*arguments: str) -> int:
        return len(audit.exported(*arguments))

    every = count()
    assert every == count("--since", "2020-02-29T08:00:00+00:00")
    first, second = count("--accession", "A1"), count("--accession", "=A2")
    assert (first, second) == (10, 5)
    assert every == first + second
    assert count("--patient", "P1") == count("--study", "1") == first
    assert count("--until", "2020-02-29T09:00:00") == 8
    assert count("--since", "2020-02-29T10:00:00+01:00") == every - 8
    assert [r["event"] for r in audit.exported("--outcome", "failed")] == ["job_quarantined"]
    assert [r["study_instance_uid"] for r in audit.exported("--event", "report_made")] == ["1"]
    assert [r["event"] for r in audit.exported("--ae", "PACS")] == ["object_delivered"]


def test_export_as_csv_runs_nothing_in_a_spreadsheet(audit: Typed, tmp_path: Path) -> None:
    out = tmp_path / "audit.csv"
    assert audit("export", "--patient", "P2", "--out", str(out)).exit_code == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["accession_number"] for row in rows if row["event"] == "instance_stored"} == {
        "'=A2"
    }
    assert json.loads(rows[0]["detail"])["bytes"] == 1000


def test_list_and_show(audit: Typed) -> None:
    listed = audit("list", "--limit", "3")
    assert listed.exit_code == 0
    assert "audit_queried" in listed.stdout, "the question itself is there already"
    shown = audit("show", "1")
    assert json.loads(shown.stdout)["event"] == "instance_stored"
    assert audit("show", "99999").exit_code == 1


def test_every_question_is_on_the_log(audit: Typed) -> None:
    audit("list", "--patient", "P1")
    audit("show", "1")
    found = audit("export", "--format", "jsonl", "--event", "audit_queried").stdout.splitlines()
    assert len(found) == 3, "the export is a question too"
    assert json.loads(found[0])["patient_id"] == "P1"


def test_verify_says_unbroken_or_names_every_bad_row(audit: Typed) -> None:
    whole = audit("verify")
    assert (whole.exit_code, whole.stdout.splitlines()[0]) == (0, "unbroken")
    assert "1 seals in 1 epochs, compared with 1 heads" in whole.stdout
    tamper(audit.bench, "UPDATE audit SET patient_id = 'P3' WHERE id IN (4, 7)")
    broken = audit("verify")
    assert broken.exit_code == 1
    for number in (4, 7):
        named = f"BROKEN at record {number}: the row has been changed, or is not this node's\n"
        assert named in broken.stdout


def test_verify_finds_a_log_that_was_cut_off(audit: Typed) -> None:
    tamper(audit.bench, "DELETE FROM audit_seal")
    tamper(audit.bench, "DELETE FROM audit")
    broken = audit("verify")
    assert broken.exit_code == 1
    assert "published" in broken.stdout


@pytest.mark.parametrize("wrong", [("--event", "nonsense"), ("--outcome", "meh"), ("--since", "x")])
def test_wrong_conditions_are_refused(audit: Typed, wrong: tuple[str, str]) -> None:
    assert audit("export", *wrong).exit_code == 2


def test_a_file_that_cannot_be_written_is_said_in_one_line(audit: Typed) -> None:
    for where in ("/nowhere/x.csv", str(audit.config.parent)):
        command = [*HIPNODE, "audit", "export", "--config", str(audit.config), "--out", where]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"hipnode: {where}: ")


def test_what_no_record_can_have_is_refused(audit: Typed) -> None:
    assert audit("show", "9" * 23).exit_code == 2
    assert audit("list", "--patient", "\udcff").exit_code == 2
