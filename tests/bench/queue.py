"""The queue: claim and complete with the audit rows, at any backlog; other queues beside it."""

from __future__ import annotations

import asyncio
import subprocess
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import procrastinate
import sqlalchemy as sa

from hipnode.domain import Abstention, AbstentionReason, JobKind, Reading
from hipnode.storage import Store
from tests.bench import databases
from tests.bench.harness import Run, Table, Target, rate, say
from tests.postgres import Postgres

WORKERS: Final = 4
_BARE: Final = "claim and complete alone"
READING: Final = Reading(
    sop_instance_uid="1.2",
    rows=1,
    columns=1,
    model_set="m",
    model_set_digest="m",
    abstention=Abstention(AbstentionReason.NOT_FRONTAL),
)
_FILL: Final = (
    (
        "INSERT INTO study (study_instance_uid, received_utc, last_received_utc)"
        " SELECT 'S' || n, 0, 0 FROM {numbers} AS g"
    ),
    (
        "INSERT INTO instance (id, study_instance_uid, sop_instance_uid, digest, header,"
        " calling_ae, action, path, size_bytes, received_utc)"
        " SELECT n, 'S' || n, 'I' || n, '', '', '', 'read', '', 1, 0 FROM {numbers} AS g"
    ),
    (
        "INSERT INTO job (key, kind, state, study_instance_uid, priority, due_utc, created_utc,"
        " instance_id, model_set) SELECT 'read:' || n, 'read', 'queued', 'S' || n, n % 21 - 10,"
        " {now} - n, {now}, n, 'm' FROM {numbers} AS g"
    ),
    "INSERT INTO bare (id, state, due) SELECT n, 'queued', n FROM {numbers} AS g",
)


def tables(run: Run) -> Iterator[Table]:
    """Yield the tables of this measurement."""
    with databases.server() as server:
        for engine in databases.ENGINES:
            with ExitStack() as stack:
                yield _ours(run, engine, server, stack)
        yield _others(run, server)


def _ours(run: Run, engine: str, server: Postgres, stack: ExitStack) -> Table:
    """Backlogs in databases of their own take turns: whether the rate is flat is a ratio too."""
    contestants: dict[str, Callable[[], float]] = {}
    names = []
    for size in (10_000, 100_000, 1_000_000):
        backlog = run.size(size, 500)
        store = stack.enter_context(databases.store(engine, run.new_folder("queue"), server))
        _fill(store, backlog)
        count = min(backlog // 20, run.size(400, 40))
        names.append(f"hipnode, backlog {backlog:,}")
        contestants[names[-1]] = partial(rate, WORKERS, count, partial(_claim_and_finish, store))
        bare = f"{_BARE}, backlog {backlog:,}"
        contestants[bare] = partial(rate, WORKERS, count, partial(_bare, store))
    table = Table(
        f"Queue: {engine}, {WORKERS} workers",
        "jobs/s",
        ours=names[-1],
        targets=(Target(at_least=600), Target(names[0], at_least=1 / 1.2)),
    )
    return table.run(contestants, run.rounds)


def _fill(store: Store, backlog: int) -> None:
    with store.database.engine.begin() as connection:
        for statement in (
            "CREATE TABLE bare (id BIGINT PRIMARY KEY, state TEXT, due BIGINT)",
            "CREATE INDEX ix_bare ON bare (due) WHERE state = 'queued'",
        ):
            connection.execute(sa.text(statement))
    databases.insert(store, _FILL, 1, backlog)


def _claim_and_finish(store: Store) -> None:
    # as a dispatcher does that has just found a job
    job = store.ledger.claim((JobKind.READ,), "bench", look_first=False)
    if job is None:
        raise RuntimeError("the queue is empty")
    store.ledger.finish_read(job, READING)


_CLAIM: Final = (
    "UPDATE bare SET state = 'claimed' WHERE id ="
    " (SELECT id FROM bare WHERE state = 'queued' ORDER BY due LIMIT 1 {lock}) RETURNING id"
)


def _bare(store: Store) -> None:
    statement = _CLAIM.format(lock="" if store.database.is_sqlite else "FOR UPDATE SKIP LOCKED")

    def claim(connection: sa.Connection) -> int:
        return int(connection.execute(sa.text(statement)).scalar_one())

    number = store.database.write(claim)
    done = sa.text("UPDATE bare SET state = 'done' WHERE id = :id")
    store.database.write(lambda connection: connection.execute(done, {"id": number}))


def _others(run: Run, server: Postgres) -> Table:
    """Libraries' own queues with tasks that do nothing, next to ours with its audit rows."""
    count = run.size(2000, 200)
    table = Table("Queue: a backlog of tasks that do nothing, other libraries", "jobs/s")
    with databases.store("PostgreSQL", run.new_folder("beside"), server) as store:
        with store.database.engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE bare (id BIGINT, state TEXT, due BIGINT)"))
        databases.insert(store, _FILL, 1, count * (run.rounds + 1))
        contestants: dict[str, Callable[[], float]] = {
            "hipnode": lambda: rate(WORKERS, count // 4, lambda: _claim_and_finish(store)),
            "procrastinate": lambda: asyncio.run(_procrastinate(server, count)),
        }
        python = _throw_away_venv(run.folder / "venv")
        if python:
            for name in ("huey", "pgqueuer"):
                contestants[name] = lambda name=name: _in_venv(  # type: ignore[misc]
                    python, name, server, run, count
                )
        else:
            table.notes.append("huey and pgqueuer cannot be installed here")
        return table.run(contestants, run.rounds)


async def _procrastinate(server: Postgres, count: int) -> float:
    database = server.create()
    connector = procrastinate.PsycopgConnector(conninfo=server.dsn(database))
    app = procrastinate.App(connector=connector)

    @app.task(name="nothing")
    async def nothing(number: int) -> None:
        del number

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await nothing.batch_defer_async(*({"number": n} for n in range(count)))  # type: ignore[arg-type]
        start_s = time.perf_counter()
        await app.run_worker_async(
            concurrency=WORKERS, wait=False, install_signal_handlers=False, listen_notify=False
        )
        took_s = time.perf_counter() - start_s
    server.drop(database)
    return count / took_s


def _throw_away_venv(folder: Path) -> Path | None:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "huey", "pgqueuer", "asyncpg"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        say(done.stderr[-500:])
        return None
    return python


def _in_venv(python: Path, name: str, server: Postgres, run: Run, count: int) -> float:
    script = Path(__file__).with_name("other_queues.py")
    database = server.create()
    command = [str(python), "-I", str(script), name, server.tcp_url(database), str(count)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=run.new_folder(name)
    )
    server.drop(database)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-1000:]}")
    return float(done.stdout.split()[-1])
