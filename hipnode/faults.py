"""Named points on an image's way at which the tests have a real process killed, and a wrong clock.

``HIPNODE_FAULTS`` names a folder. Whoever reaches a point for which there is a file in it removes
the file and sends itself SIGKILL, once; without the variable, reaching a point does nothing. What a
node may lose by a death at any of them is nothing, and `tests/protocol/test_faults.py` holds it to
that.
"""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from enum import StrEnum
from pathlib import Path


class Point(StrEnum):
    """Where a process can be killed, in the order of an image's way."""

    # The listener takes an object in.
    OBJECT_BEGUN = "object-begun"  # its request has come, its file is open
    OBJECT_WHOLE = "object-whole"  # its last byte has come, nothing is synced
    FILE_NAMED = "file-named"  # it has its lasting name, and nothing of it is synced
    FILE_SYNCED = "file-synced"  # its content is durable, and the folder is not synced
    FILE_KEPT = "file-kept"  # all of that, and there is no row
    ROW_WRITTEN = "row-written"  # within the transaction
    ROW_COMMITTED = "row-committed"  # the sender has no answer yet

    # The worker reads it.
    READ_CLAIMED = "read-claimed"
    READING_BEGUN = "reading-begun"  # in the reading process
    READING_MADE = "reading-made"  # in the reading process, which has told nobody
    READING_WRITTEN = "reading-written"  # within the transaction
    READING_COMMITTED = "reading-committed"

    # The worker reports the study.
    REPORT_CLAIMED = "report-claimed"
    REPORT_BUILT = "report-built"  # nothing of it is on disk
    RESULT_FILED = "result-filed"  # an object of several
    REPORT_WRITTEN = "report-written"  # within the transaction
    REPORT_COMMITTED = "report-committed"

    # The courier delivers it, and has it committed.
    DELIVERY_CLAIMED = "delivery-claimed"
    OBJECT_TAKEN = "object-taken"  # the destination has it, the ledger does not know
    DELIVERY_WRITTEN = "delivery-written"  # within the transaction
    DELIVERY_COMMITTED = "delivery-committed"
    COMMITMENT_DUE = "commitment-due"  # noted as asked for, and not asked for
    COMMITMENT_ASKED = "commitment-asked"  # the destination has the request
    COMMITMENT_WRITTEN = "commitment-written"  # its answer, within the transaction
    COMMITMENT_SETTLED = "commitment-settled"  # the destination does not know that we know

    # The housekeeper.
    LEASES_EXPIRED = "leases-expired"
    SEAL_WRITTEN = "seal-written"  # within the transaction
    SEAL_COMMITTED = "seal-committed"  # its root is not published yet


class DeskPoint(StrEnum):
    """Where the desk's process can be killed; no image's way leads there."""

    LOOK_RECORDED = "look-recorded"  # the row is committed, nothing of the page has left


_CLOCK = "clock-ahead-s"


def clock_ahead() -> timedelta:
    """Return by how much this process takes its machine's clock to be ahead: a file says so."""
    if not (folder := _folder()):
        return timedelta()
    try:
        return timedelta(seconds=int(Path(folder, _CLOCK).read_text("ascii")))
    except FileNotFoundError:
        return timedelta()


def reach(point: Point | DeskPoint) -> None:
    """Die here, if a test has asked for it; or freeze, where the file says so."""
    if not (folder := _folder()):
        return
    try:
        file = Path(folder, point)
        freeze = file.read_text(encoding="ascii") == "freeze"
        file.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGSTOP if freeze else signal.SIGKILL)


def _folder() -> str:
    return os.environ.get("HIPNODE_FAULTS", "")
