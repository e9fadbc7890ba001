"""Stores on both engines, durable as in production, and large amounts of rows put in by SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from hipnode.log import configure
from hipnode.settings import Settings
from hipnode.storage import Store
from hipnode.storage.database.schema import to_us
from hipnode.storage.upkeep.clock import utc_now
from tests import postgres

ENGINES: Final = ("SQLite", "PostgreSQL")
NUMBERS: Final = {
    "sqlite": "(WITH RECURSIVE g(n) AS (SELECT {0} UNION ALL SELECT n + 1 FROM g WHERE n < {1}) "
    "SELECT n FROM g)",
    "postgresql": "(SELECT n FROM generate_series({0}, {1}) AS s(n))",
}
_STEP: Final = 250_000


@contextmanager
def server() -> Iterator[postgres.Postgres]:
    """Run PostgreSQL as it is in production: what it commits is on disk."""
    postgres._SETTINGS.update(fsync="on", full_page_writes="on", shared_buffers="1GB")
    running = postgres.Postgres()
    try:
        running.start()
        yield running
    finally:
        running.remove()


@contextmanager
def store(engine: str, folder: Path, running: postgres.Postgres) -> Iterator[Store]:
    """Open an empty store."""
    configure("error")
    url = "" if engine == "SQLite" else running.url(running.create())
    tables = {"node": {"data_dir": str(folder)}, "database": {"url": url}}
    opened = Store.open(Settings.model_validate(tables), migrate=True)
    try:
        yield opened
    finally:
        opened.close()


def insert(opened: Store, statements: Sequence[str], first: int, last: int) -> None:
    """Run ``INSERT … SELECT … FROM {numbers} AS g`` statements for a range of numbers ``n``.

    Then do at once what the engine would else do by and by, in the middle of what is measured.
    """
    dialect = opened.database.engine.dialect.name
    now = to_us(utc_now())
    for start in range(first, last + 1, _STEP):
        stop = min(last, start + _STEP - 1)
        numbers = NUMBERS[dialect].format(start, stop)
        for statement in statements:
            text = statement.format(numbers=numbers, now=now)
            with opened.database.engine.begin() as connection:
                connection.execute(sa.text(text))
    tidy = ("ANALYZE",) if dialect == "sqlite" else ("VACUUM (ANALYZE)", "CHECKPOINT")
    alone = opened.database.engine.execution_options(isolation_level="AUTOCOMMIT")
    with alone.connect() as connection:
        for statement in tidy:
            connection.execute(sa.text(statement))
