"""The main job from end to end, on a node and an archive that live only as long as the demo.

The archive is a second hipnode that keeps everything and reads nothing: the demo needs no PACS.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hipnode import settings
from hipnode.domain import Instance, JobKind, JobState, Reading
from hipnode.errors import HipnodeError, InputRefused
from hipnode.services.demo.sender import send_files
from hipnode.storage import AuditEntry, AuditFilter, Store

READY: Final = "hipnode: listening on "
DONE_S: Final = 300.0

_NODE: Final = """
[node]
data_dir = "{data_dir}"
[listener]
port = 0
[[listener.callers]]
ae_title = "DEMO"
addresses = ["127.0.0.1"]
[report]
quiet_s = 1
report_on_release = true
[[destinations]]
name = "archive"
host = "127.0.0.1"
port = {archive_port}
ae_title = "ARCHIVE"
[retention]
disk_low_bytes = 0
[log]
level = "warning"
format = "console"
"""
_ARCHIVE: Final = """
[node]
name = "archive"
ae_title = "ARCHIVE"
data_dir = "{data_dir}"
[listener]
port = 0
[[listener.callers]]
ae_title = "HIPNODE"
addresses = ["127.0.0.1"]
[[rules]]
action = "keep"
[retention]
disk_low_bytes = 0
[log]
level = "error"
"""


class DemoFailed(HipnodeError):
    """The demo did not reach its end."""


@dataclass(frozen=True)
class Shown:
    """What the demo has to show."""

    images: list[tuple[Instance, Reading | str]]
    archived: list[Path]  # what the archive got, as DICOM files
    audit: list[AuditEntry]
    fault: str | None  # what `verify` says of the audit log


def run(inputs: Sequence[Path], folder: Path, progress: Callable[[str], None]) -> Shown:
    """Send radiographs to a fresh node and wait until their reports are in a fresh archive.

    Parameters
    ----------
    inputs
        DICOM files.
    folder
        Where node and archive keep their files; left as it is afterwards.
    progress
        Called with one line at each step.

    Raises
    ------
    DemoFailed
        If a service does not start, or the reports do not arrive in time.
    """
    if not inputs:
        raise InputRefused("There is no DICOM file to send.")
    with _service(folder / "archive", "listen", _ARCHIVE, {}) as archive:
        progress(f"an archive is listening on port {archive.port}")
        values: dict[str, object] = {"archive_port": archive.port}
        with _service(folder / "node", "serve", _NODE, values) as node:
            progress(f"a node is listening on port {node.port}")
            statuses = send_files(
                inputs, host="127.0.0.1", port=node.port, called_ae="HIPNODE", calling_ae="DEMO"
            )
            taken = statuses.count(0)
            progress(f"{taken} of {len(inputs)} images sent and acknowledged")
            store = Store.open(settings.load(node.config, environment=False))
            try:
                _wait(store, progress)
                return _shown(store, archive.config)
            finally:
                store.close()


@dataclass(frozen=True)
class _Running:
    config: Path
    port: int


@contextmanager
def _service(
    folder: Path, command: str, template: str, values: dict[str, object]
) -> Iterator[_Running]:
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "hipnode.toml"
    config.write_text(template.format(data_dir=folder.as_posix(), **values), encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HIPNODE_")}
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "hipnode", command, "--config", str(config)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield _Running(config, _port(process, command))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _port(process: subprocess.Popen[str], command: str) -> int:
    """Read the port from the service's first line; a service that dies ends its output."""
    for line in process.stdout or ():
        if line.startswith(READY):
            return int(line.removeprefix(READY).split()[0].rpartition(":")[2])
    raise DemoFailed(f"`hipnode {command}` did not start.")


def _wait(store: Store, progress: Callable[[str], None]) -> None:
    """Wait until no job is open, saying so whenever the counts change."""
    deadline_s = time.monotonic() + DONE_S
    said = ""
    while time.monotonic() < deadline_s:
        jobs = store.lookups.overview().jobs
        done = {k: jobs.get((k, JobState.DONE), 0) for k in JobKind}
        line = (
            f"{done[JobKind.READ]} read, {done[JobKind.REPORT]} reported, "
            f"{done[JobKind.DELIVER]} objects delivered"
        )
        if line != said:
            progress(line)
            said = line
        still_open = sum(jobs.get((k, s), 0) for k in JobKind for s in _OPEN)
        if jobs and not still_open:
            return
        time.sleep(0.1)
    raise DemoFailed(f"The reports did not arrive within {DONE_S:g} s.")


_OPEN: Final = (JobState.QUEUED, JobState.CLAIMED)


def _shown(store: Store, archive_config: Path) -> Shown:
    wanted = AuditFilter()
    entries = list(store.audit.query(wanted, actor="demo", limit=None, newest_first=False))
    studies = dict.fromkeys(e.record.study_instance_uid for e in entries)
    model_sets = {job.model_set for job in store.lookups.jobs(kind=JobKind.READ)}
    images = [
        found
        for study in studies
        if study
        for model_set in model_sets
        for found in store.readings.of_study(study, model_set)
    ]
    store.audit.seal()
    fault = store.audit.verify(actor="demo")
    kept = Store.open(settings.load(archive_config, environment=False))
    try:
        archived = [
            kept.files.path(instance.path)
            for study in studies
            if study
            for instance in kept.lookups.instances(study)
        ]
    finally:
        kept.close()
    return Shown(images, archived, entries, None if fault is None else fault.reason)
