"""The database's machine is lost while images flow, and its standby takes over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import (
    assert_the_archive_holds_every_result_once,
    assert_the_audit_log_is_unbroken,
    assert_the_count_adds_up,
    settled,
)
from tests.archive import Orthanc
from tests.node import Node, destination
from tests.peers import eventually
from tests.postgres import Postgres
from tests.senders import SAMPLES, copies, dcmsend, storescu

pytestmark = pytest.mark.slow


@pytest.fixture
def pair() -> Iterator[tuple[Postgres, Postgres]]:
    """A PostgreSQL server and its synchronous standby."""
    first = Postgres()
    first.start()
    second = Postgres(standby_of=first)
    second.start()
    first.wait_for_standby()
    yield first, second
    second.remove()
    first.remove()


def taken(node: Node, image: Path) -> bool:
    """Send an image as a modality does: again and again until it is acknowledged."""
    return bool(eventually(lambda: dcmsend(node, [image]), timeout_s=120, poll_s=1))


def test_a_standby_takes_over_and_nothing_is_lost(
    pair: tuple[Postgres, Postgres], orthanc: Orthanc, tmp_path: Path
) -> None:
    """What was acknowledged before, and what is sent afterwards, is reported once."""
    first, second = pair
    name = first.create()
    url = (
        f"postgresql+psycopg://hipnode@/{name}?host=127.0.0.1,127.0.0.1"
        f"&port={first.port},{second.port}&target_session_attrs=read-write"
    )
    node = Node(
        tmp_path / "node",
        url,
        destinations=[destination(orthanc, objects=["sr"])],
        report={"quiet_s": 0.5, "report_on_release": True},
        queue={"lease_s": 5, "max_attempts": 20},
    )
    images = copies(SAMPLES[0], 4, tmp_path)
    try:
        node.start()
        storescu(node, images[:2])
        eventually(lambda: node.status()["jobs"], timeout_s=60, what="they are queued")
        first.kill()
        second.promote()

        assert all(taken(node, image) for image in images[2:])
        account = settled(node)["account"]
        assert account["received"] == account["delivered"] == 4
        assert_the_count_adds_up(account)
        assert len(assert_the_archive_holds_every_result_once(node, orthanc)) == 4
        assert node.stop() == 0
        assert_the_audit_log_is_unbroken(node)
    finally:
        node.kill()
