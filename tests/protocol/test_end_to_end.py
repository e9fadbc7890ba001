"""The main job as its users see it: images go in by dcmtk, reports come out in Orthanc.

Everything is real: ``hipnode serve`` with a settings file, dcmtk, Orthanc, SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest

from hipnode.domain import JobKind, JobState
from hipnode.settings import load
from hipnode.storage import Store
from tests.account import (
    assert_the_archive_holds_every_result_once,
    assert_the_audit_log_is_unbroken,
    assert_the_count_adds_up,
    events,
    settled,
)
from tests.archive import Orthanc
from tests.node import Node, destination
from tests.peers import eventually, require, run
from tests.senders import (
    SAMPLES,
    Sendable,
    copies,
    dcmsend,
    is_dicom_file,
    pydicom_files,
    pynetdicom_send,
    real_radiographs,
    sendable,
    storescu,
)

_CARRIED = "999.999.01.23.45.6789"  # the SOP Instance UID of one of the files
_SUM = "invalid data values for Value Representations"
ALL_KINDS = ["sr", "capture", "text"]
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The empty string for the embedded SQLite, or the URL of a PostgreSQL database."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def node(
    tmp_path: Path, orthanc: Orthanc, database_url: str, request: pytest.FixtureRequest
) -> Iterable[Node]:
    """A node that reports to the session's Orthanc; started by the test."""
    tables = getattr(request, "param", {})
    archive = destination(orthanc, objects=ALL_KINDS)
    made = Node(tmp_path / "node", database_url, destinations=[archive], **tables)
    yield made
    made.kill()


def assert_valid(orthanc: Orthanc, uids: Iterable[str], folder: Path) -> None:
    """Fetch objects back from the archive and put them before ``dciodvfy``."""
    program = require("dciodvfy", "dicom3tools")
    folder.mkdir()
    for number, uid in enumerate(uids):
        path = folder / f"{number}.dcm"
        path.write_bytes(orthanc.fetch_bytes(uid))
        done = run([program, path], check=False)
        said = (done.stdout + done.stderr).splitlines()
        errors = [line for line in said if line.startswith(("Error", "Abort"))]
        if _CARRIED in " ".join(errors):  # a wrong but unambiguous UID leaves as it came
            errors = [line for line in errors if _CARRIED not in line and _SUM not in line]
        assert said, "dciodvfy said nothing"
        assert not errors, f"{orthanc.fetch(uid).SOPClassUID.name}: {errors}"


# --- the main job -----------------------------------------------------------------------------


def test_phantoms_go_in_and_valid_reports_come_out(
    node: Node, orthanc: Orthanc, tmp_path: Path
) -> None:
    node.start()
    storescu(node, SAMPLES)
    status = settled(node)
    assert status["account"]["delivered"] == len(SAMPLES) == status["instances"]
    assert_the_count_adds_up(status["account"])
    delivered = assert_the_archive_holds_every_result_once(node, orthanc)
    assert_valid(orthanc, delivered, tmp_path / "fetched")
    for uid in delivered:
        dataset = orthanc.fetch(uid)
        assert "NOT FOR CLINICAL USE" in str(dataset), dataset.SOPClassUID.name
    assert node.stop() == 0
    assert node.process is not None
    assert node.process.family() == []


def test_an_image_sent_again_is_acknowledged_and_not_read_again(
    node: Node, orthanc: Orthanc
) -> None:
    node.start()
    storescu(node, SAMPLES[:1])
    settled(node)
    before, stored = events(node), orthanc.sop_instance_uids()
    storescu(node, SAMPLES[:1])
    settled(node)
    after = events(node)
    assert after["instance_duplicated"] == 1
    assert after["image_read"] == before["image_read"]
    assert after["report_made"] == before["report_made"]
    assert orthanc.sop_instance_uids() == stored


# --- whatever a PACS sends along --------------------------------------------------------------

READ_EVERYTHING = {
    "rules": [{"match": {}, "action": "read"}],
    "worker": {"job_timeout_s": 20, "minimum_age_years": 0},
    "queue": {"max_attempts": 2, "backoff_first_s": 0.1, "backoff_cap_s": 0.2, "lease_s": 5},
}


@pytest.mark.parametrize(
    ("node", "database_url"),
    [({}, "sqlite"), (READ_EVERYTHING, "postgresql")],
    indirect=True,
    ids=["default rules, SQLite", "everything is read, PostgreSQL"],
)
def test_every_odd_file_ends_somewhere(node: Node, orthanc: Orthanc, tmp_path: Path) -> None:
    """Real and broken files of every kind: each is delivered, discarded by rule, or given up."""
    node.start()
    by_dcmtk = [path for path in real_radiographs() if is_dicom_file(path)]
    others = [path for path in real_radiographs() if path not in by_dcmtk]
    taken = dcmsend(node, by_dcmtk)
    odd = list(sendable([*others, *pydicom_files()], tmp_path))
    statuses = Counter(pynetdicom_send(node, odd))
    taken += statuses[0]
    status = settled(node)
    seen = events(node)

    ends = ("instance_stored", "instance_changed", "instance_discarded", "instance_duplicated")
    assert sum(seen[name] for name in ends) == taken, (seen, statuses)
    assert seen["instance_refused"] == sum(statuses.values()) - statuses[0]
    assert status["account"]["received"] == taken - seen["instance_duplicated"]
    assert_the_count_adds_up(status["account"])
    assert seen["service_started"] == 4, "no service died over a file"
    assert "Traceback" not in node.log
    assert_no_patient_is_named(node.log, [*odd, *sendable(by_dcmtk, tmp_path)])
    delivered = assert_the_archive_holds_every_result_once(node, orthanc)
    assert_valid(orthanc, delivered, tmp_path / "fetched")


def assert_no_patient_is_named(log: str, files: Iterable[Sendable]) -> None:
    """No name and no ID of a patient stands in a log line (warnings of libraries included)."""
    texts = {
        part
        for file in files
        for value in (file.dataset.get("PatientName", ""), file.dataset.get("PatientID", ""))
        for part in str(value).replace("^", " ").split()
        if len(part) >= 6
    }
    assert len(texts) > 20
    assert not [text for text in texts if text in log]


# --- the world breaks -------------------------------------------------------------------------


def test_results_wait_for_an_archive_that_is_away(node: Node, orthanc: Orthanc) -> None:
    node.start()
    orthanc.stop()
    storescu(node, SAMPLES)

    def away() -> bool:
        (place,) = node.status()["destinations"] or [{"away_since_utc": None, "waiting": 0}]
        return bool(place["away_since_utc"]) and place["waiting"] >= len(ALL_KINDS)

    eventually(away, timeout_s=120, poll_s=0.5, what="the archive is known to be away")
    eventually(lambda: node.status()["jobs"]["report"].get("done"), timeout_s=120, poll_s=0.5)
    read_before = events(node)["image_read"]
    orthanc.start()
    status = settled(node)
    assert status["account"]["delivered"] == len(SAMPLES)
    assert events(node)["image_read"] == read_before, "an inference was repeated"
    assert events(node)["job_quarantined"] == 0
    assert_the_archive_holds_every_result_once(node, orthanc)


def _kill_the_worker(node: Node) -> None:
    node.kill_service("work")


def _kill_everything(node: Node) -> None:
    node.kill()
    node.start()


@pytest.mark.parametrize("kill", [_kill_the_worker, _kill_everything])
def test_nothing_is_lost_or_doubled_by_a_kill_in_the_middle(
    node: Node, orthanc: Orthanc, kill: Callable[[Node], None], tmp_path: Path
) -> None:
    node.start()
    images = copies(SAMPLES[0], 16, tmp_path)  # a middle that a busy machine finds, too
    storescu(node, images)
    eventually(lambda: _in_the_middle(node), timeout_s=180, poll_s=0.005, what="the middle")
    kill(node)
    status = settled(node)
    assert status["account"]["delivered"] == len(images)
    assert_the_count_adds_up(status["account"])
    assert_the_archive_holds_every_result_once(node, orthanc)
    reads = Counter(r["sop_instance_uid"] for r in node.audit() if r["event"] == "image_read")
    assert set(reads.values()) == {1}, "a finished reading was repeated"
    assert_the_audit_log_is_unbroken(node)


def _in_the_middle(node: Node) -> bool:
    """Some images are read, one is being read, others wait.

    Asked of a store that was not asked before: on a busy machine what is finished is counted once
    in a minute.
    """
    with closing(Store.open(load(node.config), vouch=False)) as store:
        jobs = store.lookups.overview().jobs
    return all(
        jobs.get((JobKind.READ, state))
        for state in (JobState.DONE, JobState.CLAIMED, JobState.QUEUED)
    )
