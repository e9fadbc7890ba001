"""Hints, by which PostgreSQL's dispatcher hears of jobs: written with the job, or given anew."""

from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa

from hipnode.domain import JobKind
from hipnode.faults import Point
from tests.db.conftest import Bench
from tests.db.test_dispatch import Hand, all_done, do, live  # noqa: F401 - a fixture
from tests.peers import eventually

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def test_a_hint_that_got_lost_is_given_anew(live: Bench) -> None:  # noqa: F811
    live.receive()
    live.store.database.write(lambda c: c.exec_driver_sql("DELETE FROM procrastinate_jobs"))
    with Hand(live, lambda job: do(live, job)):
        time.sleep(1)
        assert live.store.lookups.account().waiting == 1
        assert live.store.sweep_dispatch(thorough=True) == 1
        eventually(all_done(live, 1))


def test_a_hint_that_died_with_its_worker_is_given_anew(live: Bench) -> None:  # noqa: F811
    """A worker was killed after it had heard of a job and before it claimed it."""
    live.receive()
    died = "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '31 s')"
    held = "UPDATE procrastinate_jobs SET status = 'doing', worker_id = {}"
    with live.store.database.engine.begin() as connection:
        number = connection.exec_driver_sql(f"{died} RETURNING id").scalar()
        connection.exec_driver_sql(held.format(number))
    assert live.store.sweep_dispatch() == 1
    waiting = sa.text("SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'")
    assert live.store.database.read(lambda c: c.execute(waiting).scalar()) == 1


def hints(bench: Bench, task: str = "%") -> int:
    statement = sa.text("SELECT count(*) FROM procrastinate_jobs WHERE task_name LIKE :task")
    return bench.store.database.read(lambda c: int(c.execute(statement, {"task": task}).scalar()))


def test_hints_are_written_with_the_job_or_not_at_all(live: Bench) -> None:  # noqa: F811
    live.receive("1.1", "1", quiet_s=600)
    assert hints(live) == 1, "the read; its report is not due yet"
    live.receive("1.1", "1", quiet_s=600)
    assert hints(live) == 1
    live.read()
    live.store.ledger.release(["1"])
    assert hints(live) == 2, "one hint for each job, however often its due time moved"


def test_a_report_made_while_the_last_delivery_ends_is_not_left_in_the_outbox(
    live: Bench,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in (1, 2):
        live.receive(f"{number}.1", str(number))
        live.read()
    live.report()
    delivery = live.take(JobKind.DELIVER)
    live.store.database.write(lambda c: c.exec_driver_sql("DELETE FROM procrastinate_jobs"))
    report = live.take(JobKind.REPORT)
    written, go_on = threading.Event(), threading.Event()

    def wait(point: Point) -> None:
        if point is Point.REPORT_WRITTEN:
            written.set()
            assert go_on.wait(60)

    monkeypatch.setattr("hipnode.storage.ledger.ledger.reach", wait)
    reporter = threading.Thread(target=live.report, args=(report,))
    reporter.start()
    assert written.wait(60)
    live.deliver(delivery)
    live.store.ledger.nudge_outbox("pacs")
    go_on.set()
    reporter.join(60)
    assert hints(live, "hipnode.look") == 1


def test_an_outbox_without_a_hint_is_looked_into_again(live: Bench) -> None:  # noqa: F811
    live.receive()
    live.read()
    live.report()
    live.store.database.write(lambda c: c.exec_driver_sql("DELETE FROM procrastinate_jobs"))
    assert live.store.sweep_dispatch() == 1
    assert hints(live, "hipnode.look") == 1
    assert live.store.sweep_dispatch() == 0
