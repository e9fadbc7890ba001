"""A worker in a process of its own, for the tests that kill it.

Usage: ``worker_process.py SETTINGS MODE LOG``. Each job that is begun or ended adds a line to LOG.
MODE is ``work`` (do every job at once), ``stick`` (never end one) or ``slow`` (0.3 s each).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from hipnode.domain import Job, JobKind, ResultKind
from hipnode.settings import Settings
from hipnode.storage import NewResult, Store, dispatcher_for
from tests.db.conftest import abstained


def main(settings: Settings, mode: str, log: Path) -> None:
    store = Store.open(settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def note(word: str, job: Job) -> None:
        with log.open("a") as file:
            file.write(f"{word} {job.kind} {job.id} {job.token} {os.getpid()}\n")

    def handle(job: Job) -> None:
        note("begun", job)
        if mode == "stick":
            time.sleep(3600)
        if mode == "slow":
            time.sleep(0.3)
        if job.kind is JobKind.READ:
            instance = store.lookups.instance(job.instance_id or 0)
            store.ledger.finish_read(job, abstained(instance.header.sop_instance_uid))
        elif job.kind is JobKind.REPORT:
            uid = f"2.25.{job.id}"
            made = NewResult(ResultKind.SR, "1.2.840.1", uid, f"results/{uid}.dcm", "0" * 64)
            store.ledger.finish_report(job, [made], ["pacs"])
        else:
            store.ledger.finish_delivery(job, status=0, sop_class_uid="1.2.840.1", peer="PACS")
        note("ended", job)

    note_ready(log)
    kinds = (JobKind.READ, JobKind.REPORT, JobKind.DELIVER)
    dispatcher_for(store).run(kinds, handle, stop, f"test:{os.getpid()}", threads=2)
    store.close()


def note_ready(log: Path) -> None:
    with log.open("a") as file:
        file.write(f"ready {os.getpid()}\n")


if __name__ == "__main__":
    main(Settings.model_validate_json(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
