"""More than one machine on one database and one store: cut off, paused, and back again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from hipnode.faults import Point
from tests.account import (
    assert_the_archive_holds_every_result_once,
    assert_the_audit_log_is_unbroken,
    assert_the_count_adds_up,
    settled,
)
from tests.archive import Orthanc
from tests.machines import Machine, Network
from tests.node import Node
from tests.peers import eventually, free_port, require, run
from tests.postgres import Postgres
from tests.senders import SAMPLES, copies

pytestmark = pytest.mark.timeout(600)


SEVEN: Final = ("listener1", "listener2", "worker1", "worker2", "worker3", "courier1", "courier2")


class Fleet:
    """Machines that run what their names say, and one for the housekeeper."""

    def __init__(
        self, folder: Path, archive: Orthanc, names: Sequence[str], *, namespaces: bool = True
    ) -> None:
        self.network = Network(namespaces=namespaces)
        self.port = free_port()
        self.postgres = Postgres(self.network.address if self.network.real else "")
        self.archive = archive
        self.said = ""
        self._folder = folder
        self.machines = {name: self.network.machine(name) for name in (*names, "housekeeper")}

    def start(self) -> None:
        self.postgres.start()
        self.database = self.postgres.create()
        place = {"name": "archive", "host": self.network.address, "port": self.archive.port,
                 "ae_title": self.archive.ae_title, "objects": ["sr"], "timeout_s": 5}  # fmt: skip
        self.node = Node(
            self._folder,
            self.postgres.tcp_url(self.database),
            listener={"port": self.port, "accept_any_caller": True},
            destinations=[place],
            queue={"lease_s": 4, "max_attempts": 1000},
        )
        for name, machine in self.machines.items():
            command = {"l": "listen", "w": "work", "c": "deliver", "h": "housekeep"}[name[0]]
            machine.start(command, self.node.config)
            if name == "listener1":  # it makes the tables
                self.wait_for(machine, "listening_started")
        for name, machine in self.machines.items():
            if name[0] == "w":
                self.wait_for(machine, "model_set_loaded")
        self.wait_for(self.machines["listener2"], "listening_started")

    def wait_for(self, machine: Machine, event: str) -> None:
        def said() -> bool:
            assert machine.process, machine.name
            assert machine.process.running, machine.log[-3000:]
            return event in machine.log

        eventually(said, timeout_s=240, what=f"{machine.name}: {event}")

    def send(self, listener: str, *paths: Path, patience_s: int = 30) -> bool:
        """Send images to a listener; tell whether each was acknowledged."""
        where = self.machines[listener].address
        command = [require("storescu", "dcmtk"), "-R", "-xt", "-to", "3", "-td", "60"]
        command += ["-ta", str(patience_s)]
        command += ["-aec", self.node.ae_title, where, str(self.port)]
        done = run([*command, *paths], check=False, timeout_s=300)
        self.said = done.stdout + done.stderr
        return done.returncode == 0

    def rows(self, query: str) -> list[Any]:
        with psycopg.connect(self.postgres.dsn(self.database), autocommit=True) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload]

    def frozen_job(self, machine: Machine) -> int | None:
        """Return the reading that a machine holds which has come to a point that freezes it."""
        if any(machine.faults.iterdir()) or not machine.process:
            return None
        query = "SELECT id FROM job WHERE kind = 'read' AND state = 'claimed' AND owner LIKE %s"
        with psycopg.connect(self.postgres.dsn(self.database), autocommit=True) as connection:
            found = connection.execute(query, [f"%:{machine.process.pid}"]).fetchone()
        return found[0] if found else None

    def close(self) -> None:
        self.network.close()
        self.postgres.remove()


@pytest.fixture
def new_fleet(tmp_path: Path, orthanc: Orthanc) -> Iterator[Callable[..., Fleet]]:
    """A function that makes a fleet of the machines named, and starts it."""
    with ExitStack() as stack:

        def make(names: Sequence[str], *, namespaces: bool = True) -> Fleet:
            made = Fleet(tmp_path / "node", orthanc, names, namespaces=namespaces)
            stack.callback(made.close)
            made.start()
            return made

        yield make


def test_machines_are_cut_off_and_come_back(
    new_fleet: Callable[..., Fleet], orthanc: Orthanc, tmp_path: Path
) -> None:
    """Two listeners, three workers and two couriers on seven machines: one database, one store."""
    fleet = new_fleet(SEVEN)
    folder = tmp_path / "images"
    folder.mkdir()
    images = copies(SAMPLES[0], 12, folder)
    (fleet.machines["worker1"].faults / Point.READ_CLAIMED).write_text("freeze")
    assert fleet.send("listener1", *images[:4]), fleet.said
    assert fleet.send("listener2", *images[4:7]), fleet.said

    # A worker is paused with a reading in its hands. Its lease runs out; another one reads.
    frozen = fleet.machines["worker1"]
    job_id = eventually(lambda: fleet.frozen_job(frozen), timeout_s=240, what="it has a reading")
    done = f"SELECT id FROM job WHERE id = {job_id} AND state = 'done'"  # noqa: S608
    eventually(lambda: fleet.rows(done), timeout_s=240, what="another worker reads it")
    # A listener and a courier are cut off; the others go on.
    fleet.machines["listener1"].cut()
    fleet.machines["courier1"].cut()
    assert not fleet.send("listener1", images[7], patience_s=5)
    assert fleet.send("listener2", *images[7:10]), fleet.said
    eventually(lambda: len(orthanc.instances()) >= 8, timeout_s=240, what="results arrive")

    # All come back. What the paused worker has made is late, and is not written.
    readings = f"SELECT count(*) FROM audit WHERE event = 'image_read' AND job_id = {job_id}"  # noqa: S608
    before = fleet.rows(readings)
    frozen.thaw()
    eventually(lambda: "lease_lost" in frozen.log, timeout_s=240, what="the late one is told")
    assert fleet.rows(readings) == before
    fleet.machines["listener1"].mend()
    fleet.machines["courier1"].mend()
    eventually(lambda: fleet.send("listener1", *images[10:]), timeout_s=240)

    account = settled(fleet.node)["account"]
    assert_the_count_adds_up(account)
    assert len(assert_the_archive_holds_every_result_once(fleet.node, orthanc)) == 12
    eventually(lambda: fleet.node.ask("audit", "verify", check=False).exit_code == 0, timeout_s=60)
    assert_the_audit_log_is_unbroken(fleet.node)
    claimed = "SELECT DISTINCT actor FROM audit WHERE event = 'job_claimed'"
    assert len(fleet.rows(claimed)) >= 4, "work was shared"


def test_machines_that_are_only_processes(
    new_fleet: Callable[..., Fleet], orthanc: Orthanc, tmp_path: Path
) -> None:
    """Where no namespaces can be made: addresses of their own, and to cut off is to stop."""
    fleet = new_fleet(
        ("listener1", "listener2", "worker1", "courier1", "courier2"), namespaces=False
    )
    assert len({machine.address for machine in fleet.machines.values()}) == 6
    folder = tmp_path / "images"
    folder.mkdir()
    images = copies(SAMPLES[0], 6, folder)
    assert fleet.send("listener1", *images[:2]), fleet.said
    fleet.machines["listener1"].cut()
    fleet.machines["courier1"].cut()
    assert not fleet.send("listener1", images[2], patience_s=5)
    assert fleet.send("listener2", *images[2:4]), fleet.said
    eventually(lambda: len(orthanc.instances()) >= 4, timeout_s=240, what="results arrive")
    fleet.machines["listener1"].mend()
    fleet.machines["courier1"].mend()
    eventually(lambda: fleet.send("listener1", *images[4:]), timeout_s=240)
    account = settled(fleet.node)["account"]
    assert_the_count_adds_up(account)
    assert account["received"] == account["delivered"] == 6
    assert len(assert_the_archive_holds_every_result_once(fleet.node, orthanc)) == 6
    eventually(lambda: fleet.node.ask("audit", "verify", check=False).exit_code == 0, timeout_s=60)
    assert_the_audit_log_is_unbroken(fleet.node)
