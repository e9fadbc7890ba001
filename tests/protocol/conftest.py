"""A listener and a courier in this process, on a real store: a test sees what they wrote."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hipnode.domain import AuditEvent
from hipnode.services import courier, listener
from hipnode.settings import Settings
from hipnode.storage import AuditEntry, AuditFilter, Store
from tests.disks import SmallDisk


class Service:
    """A running service and its store."""

    host = "127.0.0.1"
    ae_title = "HIPNODE"

    def __init__(self, folder: Path, tables: dict[str, Any]) -> None:
        defaults: dict[str, Any] = {
            "node": {"data_dir": folder},
            "listener": {"port": 0, "accept_any_caller": True},
            "retention": {"disk_low_bytes": 0},
            "queue": {"backoff_first_s": 0.3, "backoff_cap_s": 0.6},
            "log": {"level": "warning"},
        }
        for name, table in tables.items():
            merge = isinstance(table, dict) and name in defaults
            defaults[name] = {**defaults[name], **table} if merge else table
        self.settings = Settings.model_validate(defaults)
        self.store = Store.open(self.settings, migrate=True)
        self.stopping = threading.Event()
        self.port = 0
        self._thread: threading.Thread | None = None

    def listen(self) -> Service:
        """Start the listener; return once it is ready."""
        ready = threading.Event()

        def on_ready(port: int) -> None:
            self.port = port
            ready.set()

        self._start(listener.serve, self.settings, self.store, self.stopping, on_ready)
        assert ready.wait(10), "the listener does not start"
        return self

    def deliver(self) -> Service:
        """Start the courier."""
        self._start(courier.run, self.settings, self.store, self.stopping)
        return self

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        self._thread = threading.Thread(target=target, args=arguments)
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        if self._thread:
            self._thread.join(30)
            assert not self._thread.is_alive()

    def close(self) -> None:
        self.stop()
        self.store.close()

    def audited(self, event: AuditEvent | None = None) -> list[AuditEntry]:
        """Return the audit log's rows, oldest first."""
        wanted = AuditFilter(event=event)
        return list(self.store.audit.query(wanted, actor="test", newest_first=False))

    def files(self, folder: str) -> list[Path]:
        """Return the files under a folder of the store."""
        return [p for p in sorted((self.store.files.root / folder).rglob("*")) if p.is_file()]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """A function that makes a service; tables of settings are given as keywords."""
    made: list[Service] = []

    def make(**tables: Any) -> Service:
        made.append(Service(tmp_path / f"node-{len(made)}", tables))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], SmallDisk]]:
    """A function that mounts a disk of so many megabytes; for tests `on_a_small_disk`."""
    made: list[SmallDisk] = []

    def mount(megabytes: int) -> SmallDisk:
        made.append(SmallDisk(tmp_path / f"disk-{len(made)}", megabytes))
        return made[-1]

    yield mount
    for disk in made:
        disk.close()
