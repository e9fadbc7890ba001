"""An upgrade: yesterday's data is taken along, and yesterday's release works on beside today's."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from hipnode.domain import JobKind, JobState
from hipnode.settings import DatabaseSettings, Settings
from hipnode.storage import Store
from hipnode.storage.audit.entries import plain_hash
from hipnode.storage.database import migrate
from hipnode.storage.database.engine import open_database
from hipnode.storage.database.schema import EPOCH, metadata
from tests.db.conftest import Bench, Clock
from tests.peers import ROOT, Process, eventually

FOLDER = Path(migrate.__file__).parent / "migrations"
_NEXT = '''"""What a next release might add.

Revision ID: 9001
Revises: {head}
"""

import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = "{head}"


def upgrade() -> None:
    op.add_column("study", sa.Column("further", sa.Text(), server_default="", nullable=False))
    op.execute("UPDATE schema_support SET oldest = '{head}'")
'''


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a node whose database is empty."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("empty_postgres_url")
    return Settings.model_validate(
        {
            "node": {"data_dir": tmp_path / "data"},
            "database": {"url": url},
            "queue": {"lease_s": 30, "max_attempts": 3, "poll_s": 0.1},
            "destinations": [
                {"name": "pacs", "host": "127.0.0.1", "port": 104, "ae_title": "PACS"}
            ],
        }
    )


def make_empty(settings: Settings, version: str) -> sa.Engine:
    """Return the database as an earlier release has made it."""
    engine = open_database(settings.database_url).engine
    made = Config()
    made.set_main_option("script_location", str(FOLDER))
    options = {"hipnode_begin": "IMMEDIATE"} if engine.dialect.name == "sqlite" else {}
    with engine.connect() as connection, connection.execution_options(**options).begin():
        made.attributes["connection"] = connection
        command.upgrade(made, version)
    return engine


def copy_rows(source: sa.Engine, target: sa.Engine) -> None:
    """Write rows of today into the tables of an earlier release, as far as it has their columns."""
    old = sa.MetaData()
    # The migration itself fills one; today's seals are not those of an earlier release.
    kept = set(metadata.tables) - {"schema_support", "audit_seal", "audit_day"}
    old.reflect(target, only=lambda name, _: name in kept)
    with source.connect() as reading, target.begin() as writing:
        for table in old.sorted_tables:
            columns = [column.name for column in table.columns]
            statement = sa.select(*(_today(table.name, name) for name in columns))
            rows = reading.execute(statement.select_from(sa.table(table.name))).mappings().all()
            if rows:
                values = [_as_kept(table, row) for row in rows]
                writing.execute(table.insert(), values)
            if "id" in columns and target.dialect.name == "postgresql":
                count = len(rows) + 1000
                sequence = sa.func.pg_get_serial_sequence(table.name, "id")
                writing.execute(sa.select(sa.func.setval(sequence, count)))


def _today(table: str, name: str) -> sa.ColumnElement[Any]:
    """Return the column of today that an earlier release has under this name."""
    if (table, name) == ("instance", "sha256"):
        return sa.column("digest").label(name)
    return sa.column(name)


def _as_kept(table: sa.Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's values as the column's type wants them: SQLite keeps booleans as numbers.

    Rows of the audit log had a hash without a key before schema 0021.
    """
    values = {
        name: bool(value) if isinstance(table.c[name].type, sa.Boolean) else value
        for name, value in row.items()
    }
    if table.name == "audit":
        at_utc = EPOCH + timedelta(microseconds=values["at_utc"])
        values["row_hash"] = plain_hash({**values, "at_utc": at_utc})
    return values


@pytest.mark.parametrize("version", ["0001", "0002", "0003"])
def test_every_version_is_reached_from_the_one_before_with_data_in_it(
    empty: Settings, tmp_path: Path, version: str
) -> None:
    """Images in every state are there afterwards, and go on from where they were."""
    clock = Clock()
    node = empty.node.model_copy(update={"data_dir": tmp_path / "source"})
    today = empty.model_copy(update={"database": DatabaseSettings(), "node": node})
    bench = Bench(Store.open(today, migrate=True, now=clock), clock, today)
    for number in range(4):
        bench.receive(f"{number}.1", str(number), quiet_s=0)
    bench.read()
    bench.read()
    bench.report()
    bench.deliver()
    before, events = bench.store.lookups.jobs(), bench.events()
    empty.node.data_dir.mkdir(mode=0o700)
    (empty.node.data_dir / "images").mkdir()
    engine = make_empty(empty, version)
    copy_rows(bench.store.database.engine, engine)
    engine.dispose()
    bench.store.close()

    store = Store.open(empty, migrate=True, now=clock)
    assert migrate.current(store.database) == migrate.head()
    assert store.audit.verify() is None
    bench = Bench(store, clock, empty, made=100)
    assert store.lookups.jobs() == before
    assert bench.events()[: len(events)] == events
    account = store.lookups.account()
    assert (account.received, account.delivered, account.waiting) == (4, 1, 3)
    while bench.store.lookups.account().waiting:
        job = bench.take(JobKind.READ, JobKind.REPORT, JobKind.DELIVER)
        {JobKind.READ: bench.read, JobKind.REPORT: bench.report}.get(job.kind, bench.deliver)(job)
    assert store.lookups.account().delivered == 4
    store.audit.seal()
    assert store.audit.verify() is None
    store.close()


@pytest.fixture
def worker(empty: Settings, tmp_path: Path) -> Iterator[Callable[[Path], Process]]:
    """A function that starts a worker of the release in a folder; it logs what it does."""
    started: list[Process] = []

    def start(release: Path) -> Process:
        arguments = [document_of(empty), "slow", str(tmp_path / "log")]
        started.append(
            Process(
                [sys.executable, "-m", "tests.db.worker_process", *arguments],
                tmp_path / f"worker-{len(started)}.txt",
                cwd=release,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()


def next_release(folder: Path) -> Path:
    """Copy this release, with one more migration, to another folder."""
    shutil.copytree(ROOT / "hipnode", folder / "hipnode", ignore=shutil.ignore_patterns("models"))
    (folder / "tests").symlink_to(ROOT / "tests")
    migration = folder / FOLDER.relative_to(ROOT) / "versions" / "9001_next.py"
    migration.write_text(_NEXT.format(head=migrate.head()))
    return folder


def test_old_and_new_workers_side_by_side(
    empty: Settings, worker: Callable[[Path], Process], tmp_path: Path
) -> None:
    """The next release migrates while this one works, and both go on, also after a restart."""
    store = Store.open(empty, migrate=True)
    bench = Bench(store, None, empty)  # type: ignore[arg-type]
    new_folder = next_release(tmp_path / "next")
    images = itertools.count()

    def until_all_work(*processes: Process) -> Callable[[], bool]:
        def work_for_all() -> bool:
            number = next(images)
            bench.receive(f"{number}.1", str(number))
            assert all(process.running for process in processes)
            return {str(process.pid) for process in processes} <= pids_that_read(tmp_path)

        return work_for_all

    old = worker(ROOT)
    eventually(until_all_work(old), 120, 0.3, what="the old worker works")
    migrate_as(new_folder, empty)
    assert migrate.current(store.database) == "9001"
    new, again = worker(new_folder), worker(ROOT)
    eventually(until_all_work(old, new, again), 240, 0.3, what="old and new work side by side")
    jobs = 3 * next(images)
    eventually(lambda: _done(store) == jobs, 240, 0.3, what="all is read, reported, delivered")
    assert bench.events().count("job_claimed") == jobs, "something was done twice"
    for process in (old, new, again):
        assert process.stop() == 0
    store.audit.seal()
    assert store.audit.verify() is None
    store.close()


def pids_that_read(folder: Path) -> set[str]:
    """Return which workers have ended a reading."""
    lines = (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
    return {line.split()[4] for line in lines if line.startswith("ended read")}


def migrate_as(release: Path, settings: Settings) -> None:
    """Have the release in a folder bring the schema up to date, as its first start does."""
    program = (
        "import sys; from hipnode.settings import Settings; from hipnode.storage import Store\n"
        "Store.open(Settings.model_validate_json(sys.argv[1]), migrate=True).close()"
    )
    command_line = [sys.executable, "-c", program, document_of(settings)]
    subprocess.run(command_line, cwd=release, check=True, timeout=120)


def document_of(settings: Settings) -> str:
    """Return settings for another process, its database's URL included."""
    document = settings.model_dump(mode="json")
    document["database"]["url"] = settings.database.url.get_secret_value()
    return json.dumps(document)


def _done(store: Store) -> int:
    states = [job.state for job in store.lookups.jobs()]
    assert JobState.QUARANTINED not in states
    return sum(state is JobState.DONE for state in states)
