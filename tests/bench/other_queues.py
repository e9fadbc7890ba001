"""Run in a throw-away environment: how fast huey or pgqueuer works off tasks that do nothing.

python other_queues.py huey|pgqueuer DATABASE_URL COUNT     prints tasks a second
"""

from __future__ import annotations

import asyncio
import sys
import time


def huey(count: int) -> float:
    """huey's SQLite queue with fsync, one consumer."""
    from huey import SqliteHuey

    queue = SqliteHuey(filename="huey.db", fsync=True)

    @queue.task()
    def nothing(number: int) -> int:
        return number

    for number in range(count):
        nothing(number)
    start_s = time.perf_counter()
    for _ in range(count):
        queue.execute(queue.dequeue())
    return count / (time.perf_counter() - start_s)


async def pgqueuer(url: str, count: int) -> float:
    """pgqueuer over asyncpg, until its queue is empty."""
    import asyncpg
    from pgqueuer import AsyncpgDriver, QueueManager
    from pgqueuer.queries import Queries
    from pgqueuer.types import QueueExecutionMode

    connection = await asyncpg.connect(url.replace("postgresql+psycopg", "postgresql"))
    driver = AsyncpgDriver(connection)
    queries = Queries(driver)
    await queries.install()
    await queries.enqueue(["nothing"] * count, [None] * count, [0] * count)
    manager = QueueManager(queries)

    @manager.entrypoint("nothing")
    async def nothing(job: object) -> None:
        del job

    start_s = time.perf_counter()
    await manager.run(mode=QueueExecutionMode.drain, batch_size=10)
    took_s = time.perf_counter() - start_s
    await connection.close()
    return count / took_s


if __name__ == "__main__":
    name, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    rate = huey(count) if name == "huey" else asyncio.run(pgqueuer(url, count))
    sys.stdout.write(f"{rate}\n")
