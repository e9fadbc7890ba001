"""What a careful user of stock pynetdicom would write: file, folder and row synced, then Success.

    python -m tests.bench.durable_pynetdicom PORT FOLDER

It takes pynetdicom's own advice for speed: the data set goes to a file in chunks, undecoded.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts, _config, evt

_config.STORE_RECV_CHUNKED_DATASET = True
_config.LOG_HANDLER_LEVEL = "none"
_local = threading.local()


def _database(folder: Path) -> sqlite3.Connection:
    if not hasattr(_local, "connection"):
        _local.connection = sqlite3.connect(folder / "index.db", timeout=60, isolation_level=None)
        _local.connection.execute("PRAGMA journal_mode = WAL")
        _local.connection.execute("PRAGMA synchronous = FULL")
        _local.connection.execute("CREATE TABLE IF NOT EXISTS instance (uid TEXT, path TEXT)")
    connection: sqlite3.Connection = _local.connection
    return connection


def _store(event: Any, folder: Path) -> int:
    uid = str(event.request.AffectedSOPInstanceUID)
    target = folder / f"{uid}.dcm"
    with event.dataset_path.open("rb") as file:
        os.fsync(file.fileno())
    os.link(event.dataset_path, target)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    _database(folder).execute("INSERT INTO instance VALUES (?, ?)", (uid, str(target)))
    return 0x0000


def main() -> None:
    """Serve until killed."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    ae = AE("ANY")
    ae.maximum_pdu_size = 131072  # the fastest of 16 K to unlimited
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(
            str(context.abstract_syntax),
            [
                "1.2.840.10008.1.2.1",
                "1.2.840.10008.1.2",
                "1.2.840.10008.1.2.4.70",
                "1.2.840.10008.1.2.4.90",
            ],
        )
    ae.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, _store, [folder])])


if __name__ == "__main__":
    main()
