"""A hipnode as its users run it: real processes, a settings file, the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hipnode.domain import JobState
from hipnode.errors import HipnodeError
from hipnode.settings import load
from hipnode.storage import Store
from tests.peers import Process, eventually, run

HIPNODE = [sys.executable, "-m", "hipnode"]
_OPEN = {JobState.QUEUED, JobState.CLAIMED}
_ONE_AT_A_TIME = threading.Lock()
"""A command run in this process writes to this process's output, which is one."""
_READY = re.compile(r"listening on 127\.0\.0\.1:(\d+)")


def _inline(value: Any) -> str:
    """Return a value as TOML: tables inline, so that one line a key is enough."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value)


def write_settings(path: Path, tables: Mapping[str, Any]) -> Path:
    """Write a settings file; each of ``tables`` is a table, or (rules, destinations) a list."""
    lines = [f"{name} = {_inline(value)}" for name, value in tables.items() if _is_list(value)]
    for name, table in tables.items():
        if not _is_list(table):
            lines += ["", f"[{name}]", *(f"{key} = {_inline(item)}" for key, item in table.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def destination(peer: Any, name: str = "archive", **options: Any) -> dict[str, Any]:
    """Return the settings of a destination that is one of the tests' peers."""
    where = {"host": peer.host, "port": peer.port, "ae_title": peer.ae_title}
    return {"name": name, **where, **options}


class Node:
    """One hipnode in a folder of its own, on a port of its own.

    Parameters
    ----------
    folder
        For settings, data and log.
    database_url
        PostgreSQL; empty for the embedded SQLite.
    **tables
        Tables of the settings file, added to what a test needs anyway.
    """

    ae_title = "HIPNODE"
    host = "127.0.0.1"

    def __init__(self, folder: Path, database_url: str = "", **tables: Any) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.config = folder / "hipnode.toml"
        self.port = 0
        self.process: Process | None = None
        settings: dict[str, Any] = {
            "node": {"data_dir": self.data_dir, "ae_title": self.ae_title},
            "database": {"url": database_url},
            "listener": {"port": 0, "accept_any_caller": True},
            "queue": {"backoff_first_s": 0.2, "backoff_cap_s": 1.0, "lease_s": 5},
            "report": {"quiet_s": 1.0},
            "housekeeper": {"sweep_s": 1.0, "seal_s": 0.5},
            "retention": {"disk_low_bytes": 0},
        }
        for name, table in tables.items():
            settings[name] = {**settings.get(name, {}), **table} if _is_table(table) else table
        folder.mkdir(parents=True, exist_ok=True)
        write_settings(self.config, settings)

    # --- processes ----------------------------------------------------------------------------

    def start(self, command: str = "serve") -> None:
        """Start it and wait until it listens."""
        log = self.folder / "node.log"
        seen = len(_READY.findall(log.read_text())) if log.exists() else 0
        environment = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        arguments = [*HIPNODE, command, "--config", str(self.config)]
        self.process = process = Process(arguments, log, env=environment)

        def port() -> int:
            assert process.running, process.output()[-4000:]
            ports = _READY.findall(process.output())
            return int(ports[-1]) if len(ports) > seen else 0

        self.port = eventually(port, timeout_s=180, what="hipnode listens")
        if command == "serve":  # it forks its services: a thread's locks would stay locked in them
            assert len(list(Path(f"/proc/{process.pid}/task").iterdir())) == 1

    def stop(self) -> int:
        """SIGTERM, as systemd sends it; return the exit status."""
        assert self.process
        return self.process.stop(timeout_s=90)

    def kill(self) -> None:
        """``kill -9`` everything at once, as a power cut would."""
        if self.process:
            self.process.kill()

    def service(self, command: str) -> int:
        """Return the process ID of a service that ``hipnode serve`` has started."""
        assert self.process
        for pid in self.process.family():
            arguments = Path(f"/proc/{pid}/cmdline").read_text().split()
            if arguments[:3] == ["hipnode", command, "--supervised"]:
                return pid
        raise LookupError(f"no {command} among the node's processes")

    def kill_service(self, command: str) -> None:
        """``kill -9`` one service; the supervisor starts it again."""
        os.kill(self.service(command), signal.SIGKILL)

    @property
    def log(self) -> str:
        """What all of its processes have written."""
        return (self.folder / "node.log").read_text(encoding="utf-8", errors="replace")

    # --- command line -------------------------------------------------------------------------

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``hipnode ARGUMENTS --config …`` to its end."""
        return run([*HIPNODE, *arguments, "--config", self.config], check=check)

    def ask(self, *arguments: str, check: bool = True) -> Result:
        """Run a command that only looks, ``hipnode ARGUMENTS --config …``, in this process.

        Arguments, output and exit status are as on the command line. A process of its own spends
        more than a second of processor time on imports: as much as a small node does in a test.
        """
        from hipnode.cli import app

        with _ONE_AT_A_TIME:
            done = CliRunner().invoke(app, [*arguments, "--config", str(self.config)])
        if check and done.exit_code:
            pytest.fail(f"{' '.join(arguments)}: {done.exit_code}\n{done.output}{done.exception!r}")
        return done

    def status(self, *arguments: str) -> dict[str, Any]:
        """Return what ``hipnode status --json`` says."""
        return dict(json.loads(self.ask("status", "--json", *arguments).stdout))

    def is_busy(self) -> bool:
        """Tell whether a job is open, or none was made yet; False if it cannot be seen from here.

        Asked in this process: a wait that calls the command again and again costs as much processor
        time as the node that it waits for.
        """
        try:
            with closing(Store.open(load(self.config), vouch=False)) as store:
                jobs = store.lookups.overview().jobs
        except HipnodeError:
            return False
        still = sum(n for (_, state), n in jobs.items() if state in _OPEN)
        return bool(still) or not jobs

    def audit(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the audit log's records, oldest first."""
        done = self.ask("audit", "export", "--format", "jsonl", *arguments)
        return [json.loads(line) for line in done.stdout.splitlines()]


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)
