"""The peers themselves: what the other tests lean on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from tests.archive import Orthanc
from tests.conftest import StoreSCP
from tests.peers import Process, eventually, require, run, shared_data
from tests.postgres import Postgres


def test_orthanc_keeps_what_it_has_over_a_stop(orthanc: Orthanc) -> None:
    path = get_testdata_file("CT_small.dcm", read=False)
    uid = dcmread(path).SOPInstanceUID
    run(
        [
            require("storescu", "dcmtk"),
            "-aec",
            orthanc.ae_title,
            orthanc.host,
            str(orthanc.dicom_port),
            path,
        ]
    )
    assert orthanc.sop_instance_uids() == [uid]
    ports = orthanc.dicom_port, orthanc.http_port
    orthanc.stop()
    assert not orthanc.running
    orthanc.start()
    assert (orthanc.dicom_port, orthanc.http_port) == ports
    assert orthanc.fetch(uid).PatientID == dcmread(path).PatientID
    orthanc.clear()
    assert orthanc.instances() == []


def test_storescp_takes_an_object(storescp: Callable[..., StoreSCP]) -> None:
    peer = storescp("+xa")
    path = get_testdata_file("CT_small.dcm", read=False)
    run([require("storescu", "dcmtk"), peer.host, str(peer.port), path])
    received = eventually(peer.received)
    assert dcmread(received[0]).SOPInstanceUID == dcmread(path).SOPInstanceUID


def test_postgres_comes_back_with_its_data(postgres: Postgres, empty_postgres_url: str) -> None:
    database = empty_postgres_url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(postgres.dsn(database)) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    postgres.kill()
    postgres.start()
    with psycopg.connect(postgres.dsn(database)) as connection:
        assert connection.execute("SELECT a FROM t").fetchone() == (1,)


def test_a_killed_process_takes_its_children_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, time; subprocess.Popen(['sleep', '60']); "
        "print('up', flush=True); time.sleep(60)"
    )
    process = Process([sys.executable, "-c", code], tmp_path / "log")
    eventually(lambda: "up" in process.output())
    assert len(process.family()) == 2
    process.kill()
    eventually(lambda: process.family() == [], what="both are gone")


def test_a_process_ends_with_the_tests_that_started_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "import pathlib, sys, time\n"
        "from tests.peers import Process\n"
        f"print(Process(['sleep', '60'], pathlib.Path({str(log)!r})).pid, flush=True)\n"
        "time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    tests = Process([sys.executable, "-c", code], tmp_path / "tests", env={"PYTHONPATH": str(root)})
    started = eventually(tests.output).strip()
    tests.popen.kill()
    eventually(lambda: not Path(f"/proc/{started}/cmdline").exists(), what="the sleep is gone")


def test_a_missing_peer_skips_at_home_and_fails_in_ci(tmp_path: Path) -> None:
    test = tmp_path / "test_it.py"
    test.write_text(
        "from tests.peers import require\n"
        "def test_it():\n    require('no-such-program', 'no-such-package')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(test)]
    root = Path(__file__).parents[2]
    for ci, expected in (("", "1 skipped"), ("true", "1 failed")):
        done = subprocess.run(
            command,
            env={"PATH": "/usr/bin:/bin", "CI": ci, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert expected in done.stdout
        assert "apt-get install no-such-package" in done.stdout


def test_absent_shared_data_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="nothing-here"):
        shared_data("nothing-here")
