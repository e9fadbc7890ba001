"""A node that is dead, frozen or not there is told from a healthy one, within a minute."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hipnode.domain.services import ALWAYS
from tests.node import HIPNODE, Node
from tests.peers import Process, eventually, free_port, require, start_on_free_ports

MINUTE_S = 60.0
SLACK_S = 30.0
"""What asking may take on a busy machine: the moment counts at which the answer was asked for."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path / "node")
    yield made
    made.kill()


def wrong(node: Node) -> list[str]:
    """Return what is wrong, by line; the exit status says the same."""
    done = node.ask("status", "--check", check=False)
    lines = done.stdout.splitlines()
    assert done.exit_code == bool(lines), done.output
    return lines


def named(node: Node, what: str, timeout_s: float = MINUTE_S) -> None:
    """Wait until ``what`` is named, the question asked within ``timeout_s``."""
    until_s = time.monotonic() + timeout_s

    def is_named() -> bool:
        assert time.monotonic() < until_s, f"{what!r} was not named in time"
        return any(what in line for line in wrong(node))

    eventually(is_named, timeout_s + SLACK_S, 0.5, what)


def is_well(node: Node) -> Callable[[], bool]:
    return lambda: wrong(node) == []


def test_no_service_at_all_is_not_well(node: Node) -> None:
    node.start()
    eventually(is_well(node), what="all services beat")
    assert node.cli("health").stdout == ""
    assert node.stop() == 0
    assert wrong(node) == [f"no {name} is running" for name in (service.name for service in ALWAYS)]
    assert node.cli("health", check=False).returncode == 1
    assert node.cli("status", "--check", check=False).returncode == 1


def test_a_frozen_service_is_named_and_started_anew(node: Node) -> None:
    node.start()
    eventually(is_well(node), what="all services beat")
    frozen = node.service("housekeep")
    os.kill(frozen, signal.SIGSTOP)
    named(node, f"no housekeeper is alive: that on {os.uname().nodename} (pid {frozen})")
    eventually(is_well(node), timeout_s=180, what="it was ended and started anew")
    assert node.service("housekeep") != frozen
    assert "service_hung" in node.log


def test_services_end_with_their_supervisor_and_keep_no_other_waiting(node: Node) -> None:
    node.start()
    eventually(is_well(node), what="all services beat")
    first = node.service("listen")
    node.kill_service("listen")
    started = re.compile('"service": "listener".*"event": "service_started"')
    eventually(lambda: len(started.findall(node.log)) == 2, what="it was started anew")
    youngest = node.service("listen")
    assert youngest != first
    held = set()
    for end in Path(f"/proc/{youngest}/fd").iterdir():
        with suppress(FileNotFoundError):  # some come and go
            held.add(end.readlink())
    for command in ("work", "deliver", "housekeep"):
        assert Path(f"/proc/{node.service(command)}/fd/0").readlink() not in held
    assert node.process is not None
    os.kill(node.process.pid, signal.SIGKILL)
    eventually(lambda: node.process.family() == [], what="all have stopped")
    assert node.log.count('"event": "service_stopped"') == len(ALWAYS)


def test_a_supervisor_that_is_stopped_for_a_while_goes_on(node: Node) -> None:
    """By a debugger or a freezer, say: no signal came, and none is made up."""
    node.start()
    eventually(is_well(node), what="all services beat")
    assert node.process is not None
    for pause_s in (0.05, 0.4, 1.0):
        os.kill(node.process.pid, signal.SIGSTOP)
        time.sleep(pause_s)
        os.kill(node.process.pid, signal.SIGCONT)
        time.sleep(0.5)
    assert node.process.running
    assert "service_stopped" not in node.log
    assert node.stop() == 0


def test_one_interrupt_at_a_terminal_stops_every_service_once(node: Node) -> None:
    """It goes to the whole group: the services leave it to the supervisor."""
    node.start()
    eventually(is_well(node), what="all services beat")
    assert node.process is not None
    os.killpg(node.process.pid, signal.SIGINT)
    assert node.process.popen.wait(30) == 0
    assert node.log.count('"event": "service_stopped"') == len(ALWAYS)
    assert "ignored due to race" not in node.log


@pytest.mark.parametrize(
    "starter",
    [["env", "--ignore-signal=CHLD"], ["sh", "-c", 'exec "$@" <&-', "sh"]],
    ids=["no interest in children", "no standard input"],
)
def test_whoever_starts_it_may_be_odd(node: Node, starter: list[str]) -> None:
    require("env", "coreutils")
    log = node.folder / "node.log"
    command = [*starter, *HIPNODE, "serve", "--config", str(node.config)]
    node.process = Process(command, log)
    eventually(lambda: "listening on" in node.log, what="hipnode listens")
    eventually(is_well(node), what="all services beat")
    first = node.service("deliver")
    node.kill_service("deliver")
    eventually(lambda: "service_died" in node.log, what="its death is noticed")
    started = re.compile('"service": "courier".*"event": "service_started"')
    eventually(lambda: len(started.findall(node.log)) == 2, what="it was started anew")
    assert node.service("deliver") != first
    assert node.stop() == 0


def test_a_service_that_was_killed_is_named(node: Node) -> None:
    """Alone, as on a machine of its own: no supervisor starts it anew."""
    node.start("listen")
    assert node.process is not None
    eventually(lambda: all("listener" not in line for line in wrong(node)), what="it beats")
    assert len(wrong(node)) == len(ALWAYS) - 1
    assert node.cli("health").returncode == 0
    node.kill()
    named(node, "no listener is alive")
    assert "listener" in node.cli("health", check=False).stdout


# --- over HTTP ------------------------------------------------------------------------------------


def four_ports() -> int:
    """Return the first of four free ports in a row."""
    for _ in range(100):
        first = free_port()
        doors = [socket.socket() for _ in range(4)]
        try:
            for number, door in enumerate(doors):
                door.bind(("127.0.0.1", first + number))
        except OSError:
            continue
        finally:
            for door in doors:
                door.close()
        return first
    raise OSError("no four free ports in a row")


def got(port: int, path: str) -> tuple[int, str]:
    """Return status and body; 0 where nobody answers within two seconds."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def test_services_answer_probes_and_a_real_prometheus(tmp_path: Path) -> None:
    prometheus = require("prometheus", "prometheus")
    first = four_ports()
    node = Node(tmp_path / "node", health={"port": first})
    node.start()
    try:
        for port in range(first, first + 4):
            eventually(lambda p=port: got(p, "/readyz") == (200, "ok\n"), what=f"{port} is ready")  # type: ignore[misc]
            assert got(port, "/healthz") == (200, "ok\n")
        config = tmp_path / "prometheus.yaml"
        targets = [f"127.0.0.1:{port}" for port in range(first, first + 4)]
        config.write_text(
            "scrape_configs:\n- job_name: hipnode\n  scrape_interval: 1s\n"
            f"  static_configs: [{{targets: {json.dumps(targets)}}}]\n"
        )

        def launch(port: int) -> tuple[Process, int]:
            command = [
                prometheus,
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ]
            process = Process(command, tmp_path / "prometheus.log")
            process.wait_listening(port)
            return process, port

        server, port = start_on_free_ports(launch, 1)

        def asked(expression: str) -> list[dict[str, str]]:
            status, body = got(port, f"/api/v1/query?query={expression}")
            return [] if status != 200 else list(json.loads(body)["data"]["result"])

        try:
            eventually(lambda: len(asked("up==1")) == 4, what="Prometheus hears all four")
            eventually(lambda: asked("hipnode_faults"), what="and the housekeeper's figures")
            frozen = node.service("work")
            os.kill(frozen, signal.SIGSTOP)
            eventually(lambda: len(asked("up==0")) == 1, timeout_s=MINUTE_S, what="one is down")
        finally:
            server.stop()
    finally:
        node.kill()


# --- systemd --------------------------------------------------------------------------------------


class Systemd:
    """What systemd does with a unit of Type=notify: it listens at a socket."""

    def __init__(self, path: Path) -> None:
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._door.bind(str(path))

    def heard(self, timeout_s: float) -> str:
        """Return the next datagram; "" if none comes in time."""
        self._door.settimeout(timeout_s)
        try:
            return self._door.recv(4096).decode()
        except TimeoutError:
            return ""

    def drain(self) -> None:
        """Forget what has come so far."""
        while self.heard(0.05):
            pass


@pytest.mark.parametrize("command", ["serve", "listen"])
def test_systemd_is_told_as_long_as_a_service_lives(
    command: str, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd = Systemd(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    node.start(command)
    assert node.process is not None
    assert "READY=1" in systemd.heard(MINUTE_S).splitlines()
    systemd.drain()
    assert "WATCHDOG=1" in systemd.heard(MINUTE_S / 2).splitlines()  # twice within WatchdogSec
    os.kill(node.process.pid, signal.SIGSTOP)
    systemd.drain()
    assert systemd.heard(10) == ""
