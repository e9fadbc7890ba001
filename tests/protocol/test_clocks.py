"""One machine's clock is wrong, beside services whose clocks are right."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.account import (
    all_committed,
    assert_the_archive_holds_every_result_once,
    assert_the_audit_log_is_unbroken,
    events,
    settled,
)
from tests.archive import Orthanc
from tests.crew import Crew, Load
from tests.peers import eventually, other_clock, run

IMAGES = 2
DAY_S = 86_400


@pytest.mark.parametrize(
    ("service", "ahead_s", "words"),
    [
        ("work", -DAY_S, "86400 s behind"),
        ("housekeep", 400 * DAY_S, "34560000 s ahead of"),
    ],
)
def test_everything_goes_by_the_databases_clock(
    new_crew: Callable[..., Crew],
    database_url: str,
    orthanc: Orthanc,
    tmp_path: Path,
    service: str,
    ahead_s: int,
    words: str,
) -> None:
    crew = new_crew(database_url)
    crew.clocks[service] = ahead_s
    (tmp_path / "images").mkdir()
    load = Load(crew, tmp_path / "images", every_s=0.5)
    crew.start()
    load.start()
    try:
        eventually(lambda: load.sent >= IMAGES, what="images are sent")
    finally:
        load.stopping.set()
        load.join()
    settled(crew.node, timeout_s=60)
    account = all_committed(crew)
    assert account["received"] == load.sent
    assert_the_archive_holds_every_result_once(crew.node, orthanc)
    seen = events(crew.node)
    assert seen["job_claimed"] == 4 * load.sent, "a read, a report, two deliveries; each once"
    assert not seen["job_lease_expired"]
    assert not seen["files_retired"]
    assert any(path.is_file() for path in (crew.node.data_dir / "images").rglob("*.dcm"))
    assert_the_audit_log_is_unbroken(crew.node)
    named = [f["what"] for f in json.loads(crew.node.cli("status", "--json").stdout)["faults"]]
    assert any(words in what for what in named), named
    assert "clock_is_off" in crew.log(service)
    crew.stop()
    assert retired_by(crew, ahead_s) == "Retired(images=0, results=0)"


def retired_by(crew: Crew, ahead_s: int) -> str:
    """Have a machine with another clock delete what is old enough; return what it says."""
    script = (
        "import sys; from pathlib import Path; from hipnode import settings;"
        " from hipnode.storage import Store;"
        " store = Store.open(settings.load(Path(sys.argv[1])));"
        " print(store.retire()); store.reconcile(); store.close()"
    )
    command = [sys.executable, "-c", script, crew.node.config]
    return run(command, env=other_clock(ahead_s, crew.node.folder)).stdout.strip()
