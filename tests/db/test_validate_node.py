"""`hipnode validate --from-node`: what the node has said, against labels; nothing is read again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hipnode.cli import app
from hipnode.domain import JobKind
from hipnode.nets import set_digest
from hipnode.nets.bundle.setfile import pins
from hipnode.services.worker import reader
from hipnode.services.worker.service import Worker
from hipnode.storage import AuditFilter
from hipnode.validation.apply import apply
from tests.db.conftest import Bench
from tests.db.test_worker_reports import receive
from tests.node import write_settings


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set whose thresholds are so high that nothing is ever suspected."""
    folder = tmp_path_factory.mktemp("sets") / "site"
    digest = pins()["fracture"][1]
    made = apply("default", digest, folder, doubtful_from=1, present_from=1, chosen_on="a test")
    return made.path


@pytest.fixture
def node(bench: Bench, site: Path) -> Bench:
    """A node that has read a phantom with each of two sets, and given another image up."""
    receive(
        bench, shadows=(set_digest(site),), SOPInstanceUID="1.2.3.1", AccessionNumber="ACC-1",
        StationName="ROOM 7",
    )  # fmt: skip
    settings = bench.settings.model_copy(
        update={
            "worker": bench.settings.worker.model_validate(
                {"model_sets": [{"set": str(site), "shadow": True}]}
            )
        }
    )
    worker = Worker(settings, bench.store)
    while job := bench.claim(JobKind.READ):
        worker.handle(job)
    worker.close()
    bench.receive("1.2.3.2", "1.2.9", accession="ACC-2", models=(set_digest(),))
    job = bench.take(JobKind.READ)
    bench.store.recovery.quarantine(job, "the decoder died")
    return bench


def validate(node: Bench, tmp_path: Path, *arguments: str) -> Result:
    config = write_settings(
        tmp_path / "hipnode.toml",
        {
            "node": {"data_dir": node.settings.node.data_dir},
            "database": {"url": node.settings.database.url.get_secret_value()},
        },
    )
    labels = tmp_path / "ris.csv"
    labels.write_text(
        "accession_number,sop_instance_uid,file,label\n"
        "ACC-1,,,no\nACC-2,,,yes\nACC-3,,,no\n,1.2.3.9,,no\n,,x.dcm,yes\n"
    )
    return CliRunner().invoke(
        app,
        ["validate", "--config", str(config), "--from-node", "--labels", str(labels),
         "--out", str(tmp_path / "report"), *arguments],
    )  # fmt: skip


def test_what_was_reported_is_judged_and_nothing_is_read_again(
    node: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: object) -> None:
        pytest.fail("an image was read")

    monkeypatch.setattr(reader, "read_image", nothing)
    done = validate(node, tmp_path)
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "report" / "results.json").read_text(encoding="utf-8"))
    images = results["parts"]["images"]
    assert images["broken"]["said"]["refused"] == 1
    assert images["intact"]["total"] == 1
    assert [(one["what"], one["why"]) for one in results["unused"]] == [
        ("x.dcm", "the node knows images by UID and accession number, not by file"),
        ("1.2.3.9", "the node has no image that it read under it"),
        ("ACC-3", "the node has no image that it read under it"),
    ]
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Nothing was read again" in page
    assert "given up: the decoder died" in page
    assert "ROOM 7" in page


def test_a_set_that_reads_in_shadow_can_be_judged(node: Bench, site: Path, tmp_path: Path) -> None:
    done = validate(node, tmp_path, "--set", str(site))
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "report" / "results.json").read_text(encoding="utf-8"))
    assert results["models"][0].startswith("model set default-site")
    why = {one["what"]: one["why"] for one in results["unused"]}
    assert why["ACC-2"] == f"it was read by other model sets only: {set_digest()[:12]}"


def test_who_looked_is_on_the_audit_log(node: Bench, tmp_path: Path) -> None:
    validate(node, tmp_path)
    entries = node.store.audit.query(AuditFilter(), actor="test", limit=None, newest_first=False)
    details = [e.record.detail for e in entries if e.record.event == "audit_queried"]
    assert {"command": "validate", "labels": "ris.csv"} in details
