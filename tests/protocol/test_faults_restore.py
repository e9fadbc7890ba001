"""Backup and restore, by the very commands that ``docs/operations.md`` gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import (
    assert_the_audit_log_is_unbroken,
    assert_the_count_adds_up,
    settled,
)
from tests.archive import Orthanc
from tests.node import Node, destination
from tests.peers import ROOT, eventually, require, run
from tests.senders import SAMPLES, storescu

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
URL = "postgresql://hipnode@db/hipnode"
pytestmark = pytest.mark.timeout(600)


def commands(after: str) -> list[str]:
    """Return the commands of the first console block of the page after some words."""
    assert PAGE.count(after) == 1
    block = re.search(r"```console\n(.*?)```", PAGE.partition(after)[2], re.DOTALL)
    assert block
    return [line.removeprefix("$ ") for line in block[1].splitlines()]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The empty string for the embedded SQLite, or the URL of a PostgreSQL database."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def node(tmp_path: Path, orthanc: Orthanc, database_url: str) -> Iterator[Node]:
    """A node that reports to the session's Orthanc."""
    made = Node(
        tmp_path / "node", database_url, destinations=[destination(orthanc, objects=["sr"])]
    )
    yield made
    made.kill()


def test_a_node_comes_back_from_its_backup(
    node: Node, orthanc: Orthanc, database_url: str, tmp_path: Path
) -> None:
    require("sqlite3", "sqlite3")
    backup = tmp_path / "backup"

    def do(lines: list[str]) -> None:
        for line in lines:
            program, _, rest = line.partition(" ")
            if line == "systemctl stop hipnode":
                node.kill()  # harder than the page has it
            elif line == "systemctl start hipnode":
                if database_url:
                    do(commands("With PostgreSQL, before the start:"))
                node.start()
            elif program == "hipnode":
                assert node.cli(*rest.split()).returncode == 0
            else:
                here = line.replace("/var/lib/hipnode", str(node.data_dir))
                here = here.replace(URL, database_url.replace("+psycopg", ""))
                run(["bash", "-c", here.replace("/backup", str(backup))])

    node.start()
    delivered, waiting, late = SAMPLES[:3]
    storescu(node, [delivered])
    settled(node)
    orthanc.stop()
    storescu(node, [waiting])
    eventually(lambda: node.status()["jobs"]["report"].get("done") == 2, 120, 0.5)
    do(commands("With PostgreSQL:" if database_url else "With SQLite:"))
    storescu(node, [late])
    orthanc.start()
    settled(node)
    before = orthanc.sop_instance_uids()
    assert len(before) == 3

    do(commands("To restore, into an empty folder"))
    status = settled(node)
    assert status["account"]["received"] == status["account"]["delivered"] == 2
    assert orthanc.sop_instance_uids() == before, "what waited went out again as the same object"
    storescu(node, [late])
    status = settled(node)
    assert status["account"]["delivered"] == 3
    assert_the_count_adds_up(status["account"])
    assert orthanc.sop_instance_uids() == before
    assert_the_audit_log_is_unbroken(node)
