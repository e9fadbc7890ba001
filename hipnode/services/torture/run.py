"""All attacks, one after the other, on nodes that are made for them and taken away afterwards."""

from __future__ import annotations

import logging
import random
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from hipnode.errors import HipnodeError, InputRefused
from hipnode.services.torture import world
from hipnode.services.torture.hostile import hostile
from hipnode.services.torture.kills import Limits, kills
from hipnode.services.torture.large import large_study
from hipnode.services.torture.peers import Archive
from hipnode.services.torture.site import SERVICES, Site
from hipnode.services.torture.table import Row, document
from hipnode.services.torture.tamper import tampering

ATTACKS: Final = (
    "tampering", "kills", "rot", "clocks", "frozen", "database", "large-study", "two-nodes",
    "hostile", "damage", "disk",
)  # fmt: skip
_SHARE: Final = 0.6
"""Of the time, for kills; the others take what they take."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes
    ----------
    minutes, kills
        After whichever comes first no further service is killed.
    seed
        Of all chance.
    database
        PostgreSQL's URL of an empty database; "" for SQLite.
    only
        The attacks to run, of `ATTACKS`; empty for all.
    """

    minutes: float
    kills: int
    seed: int
    database: str = ""
    only: Sequence[str] = ()


@dataclass(frozen=True)
class Done:
    """What came of it."""

    rows: list[Row]
    content: bytes  # the same as JSON
    folder: Path | None  # where the nodes are left: something did not hold


def torture(wanted: Wanted, folder: Path, progress: Callable[[str], None]) -> Done:
    """Run the attacks.

    Parameters
    ----------
    wanted
        Which, and for how long.
    folder
        Where the nodes live meanwhile; it is made, and goes where all has held.
    progress
        Called with a line at each step.

    Raises
    ------
    InputRefused
        If there is no such attack, or the database is not an empty one.
    """
    if unknown := sorted(set(wanted.only) - set(ATTACKS)):
        raise InputRefused(
            f"There is no attack {', '.join(unknown)}; there are {', '.join(ATTACKS)}."
        )
    sessions = _sessions(wanted.database) if wanted.database else None
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # our own senders' troubles
    began, began_s = datetime.now(UTC), time.monotonic()
    folder.mkdir(parents=True)
    archive = Archive()
    site = Site(folder / "node", archive.port, wanted.database)
    table = _Table(progress)
    try:
        _all(wanted, folder, site, archive, sessions, table)
    finally:
        site.stop()
        archive.close()
    content = document(
        table.rows,
        began=began.isoformat(timespec="seconds"),
        took_s=time.monotonic() - began_s,
        seed=wanted.seed,
        engine="PostgreSQL" if wanted.database else "SQLite",
    )
    if all(row.is_well for row in table.rows):
        shutil.rmtree(folder)
        return Done(table.rows, content, None)
    return Done(table.rows, content, folder)


class _Table:
    def __init__(self, progress: Callable[[str], None]) -> None:
        self.rows: list[Row] = []
        self.progress = progress

    def add(self, name: str, attack: Callable[[], Row]) -> None:
        """Run an attack; one that cannot be run to its end has not held."""
        self.progress(name)
        try:
            self.rows.append(attack())
        except (HipnodeError, OSError) as error:
            words = f"it broke off: {type(error).__name__}: {error}"
            self.rows.append(Row(name, tried=1, held=0, words=words))


def _all(
    wanted: Wanted,
    folder: Path,
    site: Site,
    archive: Archive,
    sessions: Callable[[], int] | None,
    table: _Table,
) -> None:
    chance = random.Random(wanted.seed)  # noqa: S311 - no secret
    for_s = _SHARE * 60 * wanted.minutes

    def kill() -> Row:
        limits = Limits(wanted.kills, time.monotonic() + for_s)
        return kills(site, archive, limits, chance, table.progress, sessions)

    running: dict[str, Callable[[], Row]] = {
        "kills": kill,
        "rot": partial(world.rot, site, archive),
        "clocks": partial(world.clocks, site, archive),
        "frozen": partial(world.frozen, site, archive),
        "database": partial(world.broken_database, site, archive, sessions),
        "large-study": partial(large_study, site, archive),
        "hostile": partial(hostile, site, chance),
    }
    stopped: dict[str, Callable[[], Row]] = {
        "two-nodes": partial(world.two_nodes, site),
        "damage": partial(world.damaged_database, site),
        "disk": partial(world.full_disk, folder / "small", archive),
    }
    if wanted.database:
        stopped["damage"] = partial(Row, "a damaged database", not_tried="tried on SQLite only")
    ours = [name for name in ATTACKS if name in (wanted.only or ATTACKS)]
    if "tampering" in ours:
        table.add("tampering", partial(tampering, folder / "logs"))
    if set(ours) - {"tampering", "disk"}:
        site.start(*SERVICES)
    for name in ours:
        if name in running:
            table.add(name, running[name])
    site.stop()
    for name in ours:
        if name in stopped:
            table.add(name, stopped[name])


def _sessions(url: str) -> Callable[[], int]:
    """Return what ends every session of a PostgreSQL database; it must be empty."""
    psycopg: Any = import_module("psycopg")  # an option of the installation
    plain = url.replace("postgresql+psycopg://", "postgresql://")
    count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    try:
        with psycopg.connect(plain, connect_timeout=10) as connection:
            (tables,) = connection.execute(count).fetchone()
    except psycopg.Error as error:
        raise InputRefused(f"The database cannot be reached: {type(error).__name__}.") from error
    if tables:
        raise InputRefused("The database is not empty: it is somebody's. Make one for this alone.")

    def end() -> int:
        statement = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with (
            suppress(psycopg.Error),
            psycopg.connect(plain, autocommit=True, connect_timeout=10) as connection,
        ):
            (ended,) = connection.execute(statement).fetchone()
            return int(ended)
        return 0

    return end
