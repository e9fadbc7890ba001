"""One message when a trouble begins, one when it ends, and never one a retry."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiosmtpd.controller import Controller

from hipnode.domain import JobKind, Side
from hipnode.services.housekeeper.service import Housekeeper
from hipnode.services.life import alerts
from hipnode.services.life.alerts import Watch
from hipnode.settings import Settings
from hipnode.storage import Store
from tests import factory
from tests.db.conftest import Bench, OpenStore
from tests.peers import free_port
from tests.postgres import Postgres

_IMAGES = 12  # a day


class MailServer:
    """A real SMTP server that keeps what it is sent."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.refuse = False
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - the name that aiosmtpd calls
        """Take a mail, or not."""
        if self.refuse:
            return "451 try again"
        self.mails.append(message_from_bytes(envelope.content))
        return "250 OK"

    def start(self) -> None:
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()

    @property
    def subjects(self) -> list[str]:
        return [" ".join(str(mail["Subject"]).split()) for mail in self.mails]


@pytest.fixture
def mails() -> Iterator[MailServer]:
    server = MailServer()
    server.start()
    yield server
    server.stop()


class Hook:
    """An HTTP server that takes what is posted to it."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.status == 200:
                    hook.posted.append(json.loads(body))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks/SECRET"


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def by_mail(server: MailServer) -> dict[str, Any]:
    return {
        "name": "mail",
        "mail_to": ["admin@hospital.example"],
        "mail_from": "hipnode@hospital.example",
        "smtp_host": "127.0.0.1",
        "smtp_port": server.port,
        "smtp_tls": "none",
    }


@pytest.fixture
def bench(open_store: OpenStore, mails: MailServer, hook: Hook) -> Bench:
    """A node that tells by mail and by webhook."""
    told = [by_mail(mails), {"name": "hook", "webhook": hook.url}]
    return open_store(alerts=told, retention={"disk_low_bytes": 0}, health={"hold_s": 60})


def _only(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """See faults of one kind, and nothing else: no service runs here that could beat."""
    alike = alerts.look

    def some(settings: Settings, store: Store) -> dict[str, Any]:
        found = alike(settings, store)
        found["faults"] = [f for f in found["faults"] if f["key"].startswith(kind)]
        return found

    monkeypatch.setattr(alerts, "look", some)


@pytest.fixture
def looks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that looks so many times, a quarter of a minute apart."""
    _only(monkeypatch, "quarantine:")
    watch = Watch("listener", bench.settings, bench.store)

    def look(times: int) -> None:
        for _ in range(times):
            bench.clock.forward(alerts.LOOK_S)
            watch.look()

    return look


def break_it(bench: Bench) -> None:
    bench.receive(patient_id="SECRET-PATIENT", accession="SECRET-ACCESSION")
    bench.store.recovery.quarantine(bench.take(), "damaged")


def test_one_message_when_it_begins_and_one_when_it_ends(
    bench: Bench, looks: Callable[[int], None], mails: MailServer, hook: Hook
) -> None:
    looks(3)
    assert mails.mails == []
    break_it(bench)
    looks(3)
    assert mails.mails == []  # it may be over in a moment
    looks(6)
    assert mails.subjects == [
        "[hipnode] trouble: 1 read job was given up: hipnode audit list --event job_quarantined"
    ]
    assert [one["state"] for one in hook.posted] == ["began"]
    bench.store.recovery.requeue(None, actor="test")
    looks(8)
    assert len(mails.mails) == 2
    assert mails.subjects[1].startswith("[hipnode] over: 1 read job was given up")
    assert [one["state"] for one in hook.posted] == ["began", "ended"]
    assert hook.posted[1]["key"] == hook.posted[0]["key"] == "quarantine:read"
    everything = str(mails.mails) + "".join(map(str, mails.mails)) + str(hook.posted)
    assert "SECRET" not in everything  # nothing of a patient leaves here


def test_what_cannot_be_told_is_told_once_it_can(
    bench: Bench, looks: Callable[[int], None], mails: MailServer, hook: Hook
) -> None:
    mails.refuse, hook.status = True, 500
    break_it(bench)
    looks(10)
    assert mails.mails == []
    mails.refuse, hook.status = False, 200
    for _ in range(4):
        bench.clock.forward(3600)
        looks(2)
    assert len(mails.mails) == 1
    assert len(hook.posted) == 1


def test_what_comes_and_goes_is_one_trouble(
    bench: Bench, looks: Callable[[int], None], mails: MailServer
) -> None:
    break_it(bench)
    looks(6)
    assert len(mails.mails) == 1
    for _ in range(3):
        bench.store.recovery.requeue(None, actor="test")
        looks(2)  # gone for half a minute
        bench.store.recovery.quarantine(bench.take(), "damaged")
        looks(2)
    assert len(mails.mails) == 1


def test_a_shift_in_what_is_read_is_told_once_and_so_is_its_end(
    bench: Bench, mails: MailServer, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the housekeeper that looks every hour to the mail in somebody's box."""
    _only(monkeypatch, "further:quality")
    generator = np.random.default_rng(8)
    keeper = Housekeeper(bench.settings, bench.store)
    watch = Watch("housekeeper", bench.settings, bench.store)

    def days(number: int, brightness: float, looks: int = 0) -> None:
        """Have so many days of images read; at the end of each those look whose task it is."""
        for _ in range(number):
            for _ in range(_IMAGES):
                image_read(bench, float(generator.normal(brightness, 0.03)))
            bench.clock.forward(86400 - looks * alerts.LOOK_S)
            for n in range(looks):
                if n == 0:
                    keeper.watch_drift()
                bench.clock.forward(alerts.LOOK_S)
                watch.look()

    days(18, 0.40)
    bench.clock.forward(45 * 86400)
    days(6, 0.40)
    days(1, 0.40, looks=6)
    assert (mails.mails, hook.posted) == ([], [])
    days(5, 0.46)  # another scanner, or another setting of it
    days(2, 0.46, looks=6)
    (subject,) = mails.subjects
    said = "quality: shifted against the reference month: brightness (since "
    assert subject.startswith(f"[hipnode] trouble: {said}")
    assert [(one["state"], one["key"]) for one in hook.posted] == [("began", "further:quality")]
    days(7, 0.40)
    days(2, 0.40, looks=6)
    assert len(mails.mails) == 2
    assert mails.subjects[1].startswith(f"[hipnode] over: {said}")
    assert [one["state"] for one in hook.posted] == ["began", "ended"]


def image_read(bench: Bench, brightness: float) -> None:
    """Have an image of another patient read; the picture is as bright as that."""
    bench.made += 1
    name = f"drift-{bench.made}"
    bench.receive(factory.uid(name, "1"), factory.uid(name), content=name)
    held = bench.take(JobKind.READ)
    hips = [factory.hip(Side.RIGHT, 0.05), factory.hip(Side.LEFT, 0.02)]
    made = factory.reading(hips, name, model_set_digest=held.model_set)
    bench.store.ledger.finish_read(held, replace(made, measured={"brightness": brightness}))


def test_of_several_services_one_tells(
    bench: Bench, looks: Callable[[int], None], mails: MailServer
) -> None:
    """Three look at the same moment, time after time."""
    looks(1)
    break_it(bench)
    watches = [Watch(name, bench.settings, bench.store) for name in ("worker", "courier", "x")]
    for _ in range(10):
        bench.clock.forward(alerts.LOOK_S)
        threads = [threading.Thread(target=watch.look) for watch in watches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(mails.mails) == 1


def test_a_new_start_tells_nothing_again(
    bench: Bench, looks: Callable[[int], None], mails: MailServer
) -> None:
    break_it(bench)
    looks(6)
    for _ in range(3):
        bench.clock.forward(alerts.LOOK_S)
        Watch("listener", bench.settings, bench.store).look()
    assert len(mails.mails) == 1


def test_a_database_that_is_away_is_told_of_too(
    postgres_url: str, postgres: Postgres, tmp_path: Path, mails: MailServer
) -> None:
    settings = Settings.model_validate(
        {
            "node": {"data_dir": tmp_path},
            "database": {"url": postgres_url},
            "health": {"hold_s": 0},
            "alerts": [by_mail(mails)],
        }
    )
    store = Store.open(settings)
    try:
        keeper = Watch("housekeeper", settings, store)
        others = Watch("worker", settings, store)
        postgres.stop()
        for _ in range(2):
            keeper.look()
            others.look()
        (subject,) = mails.subjects
        assert subject.startswith("[hipnode] trouble: The database cannot be used")
        postgres.start()
        for _ in range(2):
            keeper.look()
            others.look()
        assert mails.subjects.count("[hipnode] over: The database is back.") == 1
    finally:
        store.close()
