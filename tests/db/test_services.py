"""Who is alive, and what is wrong: as the database knows it, on both engines."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from hipnode.answers import status
from hipnode.domain import AuditEvent, AuditRecord, JobKind, Outcome
from hipnode.domain.services import ALWAYS
from hipnode.services.life import look
from hipnode.storage import Beat
from tests.db.conftest import Bench, OpenStore

ALL = tuple(service.name for service in ALWAYS)
HERE = Beat("worker", "here", os.getpid(), "1.0", "s", ready=True)
PACS = {"name": "pacs", "host": "10.0.0.1", "port": 104, "ae_title": "PACS"}


def age(bench: Bench, seconds: float, name: str = "worker") -> None:
    """Have the newest beat of a service be so old."""
    statement = sa.text("UPDATE service SET beat_utc = beat_utc - :us WHERE name = :name")
    values = {"us": int(seconds * 1e6), "name": name}
    bench.store.database.write(lambda c: c.execute(statement, values))


def faults(bench: Bench) -> dict[str, str]:
    """Return what is wrong by its key; the bench's clock is, beside that of a real database."""
    found = look.look(bench.settings, bench.store)["faults"]
    return {f["key"]: f["what"] for f in found if not f["key"].startswith("clock:")}


def beat_all(bench: Bench) -> None:
    for name in ALL:
        bench.store.services.begin(replace(HERE, name=name))


def a_dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_without_any_service_each_is_missed(bench: Bench) -> None:
    assert faults(bench) == {f"service:{name}": f"no {name} is running" for name in ALL}


def test_services_that_beat_are_no_fault(bench: Bench) -> None:
    beat_all(bench)
    assert faults(bench) == {}


@pytest.mark.parametrize("name", ALL)
def test_a_silent_service_is_named(bench: Bench, name: str) -> None:
    beat_all(bench)
    age(bench, 31, name)
    (what,) = faults(bench).values()
    assert what.startswith(f"no {name} is alive: that on here (pid {os.getpid()})")
    bench.store.services.beat(replace(HERE, name=name))
    assert faults(bench) == {}


def test_of_two_the_dead_one_is_named(bench: Bench) -> None:
    beat_all(bench)
    age(bench, 31)
    bench.store.services.begin(replace(HERE, host="there"))
    (what,) = faults(bench).values()
    assert what.startswith("a worker is dead: that on here")


def test_a_service_that_stops_leaves_no_row(bench: Bench) -> None:
    beat_all(bench)
    bench.store.services.leave(HERE)
    assert faults(bench) == {"service:worker": "no worker is running"}


def test_a_new_start_takes_the_place_of_what_died_on_its_host(bench: Bench) -> None:
    services = bench.store.services
    services.begin(replace(HERE, pid=a_dead_pid()))
    services.begin(replace(HERE, pid=a_dead_pid(), host="there"))
    services.begin(replace(HERE, pid=1))  # another of its kind that lives
    services.begin(HERE)
    rows = {(state.beat.host, state.beat.pid) for state in services.all()}
    assert {("here", 1), ("here", os.getpid())} <= rows
    assert len(rows) == 3


def test_what_starts_for_ever_and_never_gets_ready_is_a_fault(bench: Bench) -> None:
    beat_all(bench)
    services = bench.store.services
    services.leave(HERE)
    services.begin(replace(HERE, pid=a_dead_pid(), ready=False))
    statement = sa.text("UPDATE service SET started_utc = started_utc - 600000000 WHERE NOT ready")
    bench.store.database.write(lambda c: c.execute(statement))
    services.begin(replace(HERE, ready=False))
    (what,) = faults(bench).values()
    assert "worker on here" in what
    assert "has been starting since" in what
    services.beat(HERE)
    assert faults(bench) == {}


def test_a_hung_thread_is_named(bench: Bench) -> None:
    beat_all(bench)
    bench.store.services.beat(replace(HERE, hangs="jobs-0 hangs for 400 s, at read job 7"))
    assert "jobs-0 hangs for 400 s, at read job 7" in faults(bench)["hangs:worker:here"]


def test_the_long_dead_are_forgotten_where_another_lives(bench: Bench) -> None:
    services = bench.store.services
    services.begin(HERE)
    services.begin(replace(HERE, name="courier"))
    age(bench, 4000)
    age(bench, 4000, "courier")
    services.begin(replace(HERE, host="there"))
    services.forget()
    assert {(s.beat.name, s.beat.host) for s in services.all()} == {
        ("worker", "there"),
        ("courier", "here"),  # nobody took its place: it is still missed
    }


def test_a_clock_that_is_off_is_named(bench: Bench) -> None:
    """SQLite has no clock of its own to compare with; the bench's stands still in the past."""
    bench.store.services.begin(HERE)
    found = [f["what"] for f in document(bench)["faults"] if f["key"] == "clock:here"]
    if bench.store.database.is_sqlite:
        assert found == []
    else:
        assert "behind the database's" in found[0]


def test_only_who_is_not_well_on_this_host_is_named(bench: Bench) -> None:
    beat_all(bench)
    services = bench.store.services
    assert status.unwell(services.all(), "here") == []
    age(bench, 31)
    (line,) = status.unwell(services.all(), "here")
    assert line.startswith("the worker is dead")
    assert status.unwell(services.all(), "here", "listener") == []
    assert status.unwell(services.all(), "there") == ["no service is running on there"]


# --- the rest of the node -------------------------------------------------------------------------


def document(bench: Bench) -> dict[str, Any]:
    return look.look(bench.settings, bench.store)


def test_a_destination_is_shown_before_its_first_delivery(open_store: OpenStore) -> None:
    (place,) = document(open_store(destinations=[PACS]))["destinations"]
    assert place["name"] == "pacs"
    assert place["where"] == "PACS at 10.0.0.1:104"
    assert place["configured"]
    assert place["last_delivery_utc"] is None


def test_absence_is_a_fault_after_a_while_and_a_rejection_at_once(open_store: OpenStore) -> None:
    bench = open_store(destinations=[PACS])
    beat_all(bench)
    bench.receive()
    bench.read()
    bench.report()
    bench.store.recovery.retry(bench.take(JobKind.DELIVER), "no connection", count_attempt=False)
    assert "destination:pacs" not in faults(bench)
    bench.clock.forward(16 * 60)
    assert "away since" in faults(bench)["destination:pacs"]
    job = bench.take(JobKind.DELIVER)
    why = "PACS at 10.0.0.1:104 does not know the called AE title"
    bench.store.recovery.retry(job, why, count_attempt=False, rejected=True)
    assert faults(bench)["destination:pacs"] == f"destination pacs: {why}"
    bench.clock.forward(3600)
    bench.deliver()
    assert "destination:pacs" not in faults(bench)


def test_images_that_were_not_assessed_are_counted_by_reason(bench: Bench) -> None:
    bench.receive()
    bench.read()  # abstains: not frontal
    assert document(bench)["not_assessed"] == {"not_frontal": 1}
    bench.clock.forward(8 * 86400)
    assert document(bench)["not_assessed"] == {}


def test_a_full_disk_says_that_images_are_refused(open_store: OpenStore) -> None:
    bench = open_store(retention={"disk_low_bytes": 10**18})
    assert document(bench)["images_refused"]
    assert faults(bench)["disk"].startswith("images are refused (0xA700)")


def test_what_was_given_up_and_what_waits_too_long_is_a_fault(bench: Bench) -> None:
    bench.receive("1.1", "1")
    bench.receive("2.1", "2")
    bench.store.recovery.quarantine(bench.take(JobKind.READ), "damaged")
    assert "1 read job was given up" in faults(bench)["quarantine:read"]
    assert "waits:read" not in faults(bench)
    bench.clock.forward(601)
    assert "the oldest image has waited since" in faults(bench)["waits:read"]


def test_the_audit_log_is_a_fault_unsealed_unverified_or_broken(bench: Bench) -> None:
    bench.receive()
    assert document(bench)["audit"]["unsealed"] > 0
    assert "audit:unsealed" not in faults(bench)
    bench.clock.forward(61)
    assert "are not sealed" in faults(bench)["audit:unsealed"]
    assert not bench.store.faults(), "it is one fault, not two"
    bench.store.audit.seal()
    assert document(bench)["audit"]["unsealed"] == 0
    for outcome, key in ((Outcome.OK, None), (Outcome.FAILED, "audit:broken")):
        bench.store.audit.append(AuditRecord(AuditEvent.AUDIT_VERIFIED, outcome))
        assert {k for k in faults(bench) if k.startswith("audit:b")} == ({key} if key else set())
        bench.clock.forward(1)
    bench.store.audit.append(AuditRecord(AuditEvent.AUDIT_VERIFIED))
    bench.clock.forward(27 * 3600)
    assert "last verified" in faults(bench)["audit:unverified"]
