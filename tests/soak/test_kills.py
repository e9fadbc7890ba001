"""Services, and what they run, are killed at random under load: ``HIPNODE_SOAK_KILLS`` of them.

Five kills on each engine by default, so that the harness itself is tried by every run. A long
run: ``HIPNODE_SOAK_KILLS=1000 pytest -s tests/soak``; it prints what it did.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.account import (
    all_committed,
    assert_the_archive_holds_every_result_once,
    assert_the_audit_log_is_unbroken,
    assert_the_count_adds_up,
    claims_of_reads,
    events,
    settled,
)
from tests.archive import Orthanc
from tests.crew import SERVICES, Crew, Load

KILLS = int(os.environ.get("HIPNODE_SOAK_KILLS", "5"))
SEED = int(os.environ.get("HIPNODE_SOAK_SEED", "1"))
READER = "a reading process"
BETWEEN_S = (0.3, 5.0)  # from one kill to the next
pytestmark = pytest.mark.timeout(600 + 60 * KILLS)


def test_nothing_is_lost_by_random_kills_under_load(
    new_crew: Callable[..., Crew], database_url: str, orthanc: Orthanc, tmp_path: Path
) -> None:
    crew = new_crew(database_url)
    chance = random.Random(SEED)  # noqa: S311 - no secret
    (tmp_path / "images").mkdir()
    load = Load(crew, tmp_path / "images")
    crew.start()
    load.start()
    killed: Counter[str] = Counter()
    began_s = time.monotonic()
    try:
        for _ in range(KILLS):
            victim = chance.choice((*SERVICES, READER))
            if victim != READER:
                crew.kill(victim)
                killed[victim] += 1
            elif crew.kill_reader():
                killed[victim] += 1
            until_s = time.monotonic() + chance.uniform(*BETWEEN_S)
            while time.monotonic() < until_s:
                crew.tend()
                time.sleep(0.05)
    finally:
        load.stopping.set()
        while load.is_alive():
            crew.tend()
            load.join(0.1)
    took_s = time.monotonic() - began_s
    settled(crew.node, timeout_s=600)

    account = all_committed(crew, timeout_s=600)
    assert account["received"] == len(set(load.modality.acknowledged)) == load.sent
    assert_the_count_adds_up(account)
    objects = assert_the_archive_holds_every_result_once(crew.node, orthanc)
    again = {job: claims for job, claims in claims_of_reads(crew.node).items() if claims > 1}
    deaths = killed["work"] + killed[READER]
    assert sum(again.values()) - len(again) <= deaths, "a reading was repeated"
    assert events(crew.node)["image_read"] == load.sent
    assert_the_audit_log_is_unbroken(crew.node)
    crew.stop()
    print(  # noqa: T201 - the figure that a long run is for
        f"\n{KILLS} kills in {took_s:.0f} s ({dict(killed)}): {load.sent} images in "
        f"{load.modality.tries} tries, {len(objects)} objects, "
        f"{sum(again.values()) - len(again)} readings begun again"
    )
