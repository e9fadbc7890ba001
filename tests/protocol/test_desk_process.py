"""The desk as a process: `hipnode desk` and `serve`, killed between the record and the answer."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import trustme

from hipnode.faults import DeskPoint
from tests.node import HIPNODE, Node
from tests.peers import Process, eventually, free_port, run

Start = Callable[..., "Desk"]
CHOSEN = "correct horse battery staple"


class Desk:
    """`hipnode desk` on a port of its own."""

    def __init__(self, folder: Path, url: str, context: ssl.SSLContext | None, desk: Any) -> None:
        self.port = free_port()
        self.context = context
        self.node = Node(folder, url, desk={"port": self.port, **desk})
        self.faults = folder / "faults"
        self.faults.mkdir()
        self.cookie = ""
        self.process = self._start()

    def _start(self) -> Process:
        command = [*HIPNODE, "desk", "--config", self.node.config]
        env = {"HIPNODE_FAULTS": str(self.faults)}
        process = Process(command, self.node.folder / "desk.log", env=env)
        process.wait_listening(self.port, timeout_s=180)
        return process

    def again(self) -> None:
        self.process.kill()
        self.process = self._start()

    def ask(self, path: str, form: dict[str, str] | None = None) -> tuple[int, Any, str]:
        scheme = "https" if self.context else "http"
        connection: http.client.HTTPConnection
        if self.context:
            connection = http.client.HTTPSConnection(
                "localhost", self.port, context=self.context, timeout=60
            )
        else:
            connection = http.client.HTTPConnection("localhost", self.port, timeout=60)
        headers = {"Cookie": self.cookie, "Origin": f"{scheme}://localhost:{self.port}"}
        if form is None:
            connection.request("GET", path, headers=headers)
        else:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            connection.request("POST", path, urlencode(form), headers)
        answer = connection.getresponse()
        body = answer.read().decode("utf-8", "replace")
        if given := answer.headers.get("Set-Cookie"):
            self.cookie = given.partition(";")[0]
        return answer.status, answer.headers, body

    def come_in(self, *roles: str) -> None:
        made = self.node.cli("account", "add", "ada", *(f"--role={role}" for role in roles))
        once = made.stdout.strip()
        assert self.ask("/sign-in", {"name": "ada", "password": once})[0] == 303
        form = {"old": once, "new": CHOSEN, "again": CHOSEN}
        assert self.ask("/password", form)[0] == 303

    def looks(self) -> list[dict[str, Any]]:
        return self.node.audit("--event", "result_viewed")


@pytest.fixture
def start(tmp_path: Path, database_url: str) -> Iterator[Start]:
    """A function that starts a desk."""
    made: list[Desk] = []

    def start_(context: ssl.SSLContext | None = None, **desk: Any) -> Desk:
        made.append(Desk(tmp_path / "node", database_url, context, desk))
        return made[-1]

    yield start_
    for desk in made:
        desk.process.kill()


def test_a_death_between_the_record_and_the_answer_shows_nothing_and_loses_nothing(
    start: Start,
) -> None:
    desk = start()
    desk.come_in("auditor")
    before = len(desk.looks())
    (desk.faults / DeskPoint.LOOK_RECORDED).touch()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        desk.ask("/studies?accession=A-17")
    eventually(lambda: not desk.process.running)
    looks = desk.looks()
    assert len(looks) == before + 1
    assert looks[-1]["accession_number"] == "A-17"
    assert looks[-1]["actor"] == "ada"
    desk.again()
    assert desk.ask("/studies?accession=A-17")[0] == 200  # the session has outlived the process
    assert len(desk.looks()) == before + 2
    assert desk.node.cli("audit", "verify", check=False).stdout.count("BROKEN") == 0


def test_it_says_that_it_lives_and_stops_when_told(start: Start) -> None:
    desk = start()

    def states() -> list[tuple[str, str]]:
        return [(s["name"], s["state"]) for s in desk.node.status()["services"]]

    eventually(lambda: states() == [("desk", "ready")], what="the desk is ready")
    assert desk.node.cli("health", "desk").stdout == ""
    log = (desk.node.folder / "desk.log").read_text()
    assert json.loads(log.splitlines()[-1])["event"] == "desk_answers"
    assert desk.process.stop(timeout_s=60) == 0
    assert desk.node.status()["services"] == []


def test_over_tls_the_cookie_is_secure_and_the_terminal_makes_and_closes_accounts(
    start: Start, tmp_path: Path
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "desk.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "desk.key")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    tls = {"certificate": tmp_path / "desk.crt", "key": tmp_path / "desk.key"}
    desk = start(context, host="0.0.0.0", public_url="", tls=tls)  # noqa: S104
    status, headers, _ = desk.ask("/")
    assert status == 303
    assert "max-age" in headers["Strict-Transport-Security"]
    desk.come_in("reader")
    assert desk.cookie.startswith("__Host-hipnode-desk=")
    assert "ada" in desk.node.cli("account", "list").stdout
    desk.node.cli("account", "change", "ada", "--close")
    assert desk.ask("/")[0] == 303
    assert desk.ask("/sign-in", {"name": "ada", "password": CHOSEN})[0] == 401
    desk.node.cli("account", "change", "ada", "--open", "--role=auditor", "--role=admin")
    once = desk.node.cli("account", "password", "ada").stdout.strip()
    assert desk.ask("/sign-in", {"name": "ada", "password": once})[0] == 303
    shown = desk.node.cli("account", "list").stdout
    assert "admin,auditor" in shown
    kinds = [r["event"] for r in desk.node.audit("--event", "account_changed")]
    assert len(kinds) == 5


def test_a_port_that_is_taken_and_a_wrong_address_are_said_in_words(tmp_path: Path) -> None:
    port = free_port()
    node = Node(tmp_path / "node", "", desk={"port": port})
    node.cli("audit", "list", check=False)
    blocker = Process(["python3", "-m", "http.server", str(port), "--bind", "127.0.0.1"],
                      tmp_path / "blocker.log")  # fmt: skip
    blocker.wait_listening(port)
    try:
        done = run([*HIPNODE, "desk", "--config", node.config], check=False)
        assert done.returncode == 2
        assert f"127.0.0.1:{port} cannot be bound" in done.stderr
    finally:
        blocker.kill()


def test_serve_runs_it_as_a_fifth_service_and_starts_it_again(tmp_path: Path) -> None:
    port = free_port()
    node = Node(tmp_path / "node", "", desk={"port": port})
    node.start()
    try:
        eventually(lambda: "desk" in {s["name"] for s in node.status()["services"]})
        first = node.service("desk")
        os.kill(first, signal.SIGKILL)
        eventually(lambda: _pid(node) not in {0, first}, what="the desk is started again")
    finally:
        node.kill()


def _pid(node: Node) -> int:
    try:
        return node.service("desk")
    except LookupError:
        return 0
