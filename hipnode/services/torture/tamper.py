"""An insider at a log of the torture's own: each way is tried, and must be named."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from hipnode.services.torture.insider import WITH_FILES_TOO, WITH_THE_DATABASE, Log, Way
from hipnode.services.torture.table import Row
from hipnode.settings import Settings
from hipnode.storage import Store


class SQLiteLog(Log):
    """A log in SQLite, and its file in somebody else's hands."""

    def sql(self, statement: str, **values: object) -> list[dict[str, Any]]:
        """Run a statement past the triggers, as the database's owner can; return its rows."""
        database = sqlite3.connect(self.folder / "hipnode.db", timeout=30)
        database.row_factory = sqlite3.Row
        try:
            found = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            for (name,) in found.fetchall():
                database.execute(f"DROP TRIGGER {name}")
            rows = [dict(row) for row in database.execute(statement, values)]
            database.commit()
        finally:
            database.close()
        return rows


def tampering(folder: Path) -> Row:
    """Try each way on a log of its own: with the database alone, and with files and key too."""
    silent: list[str] = []
    worst_s = 0.0
    ways = [(way, False) for way in WITH_THE_DATABASE] + [(way, True) for way in WITH_FILES_TOO]
    for number, (way, with_heads) in enumerate(ways):
        named_s = _try(folder / str(number), way, with_heads=with_heads)
        if named_s is None:
            silent.append(way.__name__)
        else:
            worst_s = max(worst_s, named_s)
    words = f"not named: {', '.join(silent)}" if silent else "each named, also once sealed again"
    return Row(
        "tampering with the audit log", len(ways), len(ways) - len(silent), named_s=worst_s,
        words=words,
    )  # fmt: skip


def _try(folder: Path, way: Way, *, with_heads: bool) -> float | None:
    """Return how long it took to name it, at once and after a housekeeper sealed; None if not."""
    settings = Settings.model_validate({"node": {"data_dir": folder}})
    store = Store.open(settings, migrate=True)
    try:
        log = SQLiteLog(store)
        way(log)
        heads = log.heads if with_heads else []
        began_s = time.monotonic()
        at_once = store.audit.report(against=heads).faults
        named_s = time.monotonic() - began_s
        store.audit.seal()
        return named_s if at_once and store.audit.report(against=heads).faults else None
    finally:
        store.close()
