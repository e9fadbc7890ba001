"""Every service is killed at every named point of an image's way: nothing is lost or doubled.

The points are reached in the real processes (`hipnode.faults`); images come from a sender that
sends until it is acknowledged, and results go to Orthanc. Both database engines are tried: SQLite
with the files on disk, PostgreSQL with the files in a bucket.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hipnode.faults import Point
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
from tests.bucket import MotoBucket
from tests.crew import Crew, Modality
from tests.peers import eventually
from tests.senders import SAMPLES, copies, sendable

IMAGES = 4
WITHIN_A_READING = {
    Point.READ_CLAIMED,
    Point.READING_BEGUN,
    Point.READING_MADE,
    Point.READING_WRITTEN,
}
pytestmark = pytest.mark.timeout(1200)


def test_a_kill_at_every_point(
    new_crew: Callable[..., Crew],
    database_url: str,
    bucket: MotoBucket,
    orthanc: Orthanc,
    tmp_path: Path,
) -> None:
    crew = new_crew(database_url, bucket=bucket if database_url else None)
    images = list(sendable(copies(SAMPLES[0], IMAGES, tmp_path), tmp_path))
    crew.start()
    crew.arm(*Point)
    modality = Modality(crew.node)

    def reached() -> bool:
        crew.tend()
        return not crew.armed()

    # The listener is killed while images come; what is behind it, when it gets to its points.
    for image in images:
        while not modality.send(image):
            crew.tend()
    eventually(reached, timeout_s=500, poll_s=0.1, what="every point has killed somebody")
    settled(crew.node)
    account = all_committed(crew)

    in_a_child = {Point.READING_BEGUN, Point.READING_MADE}  # which the worker outlives
    assert sum(crew.deaths.values()) == len(set(Point) - in_a_child)
    assert account["received"] == account["committed"] == IMAGES
    assert_the_count_adds_up(account)
    assert_the_archive_holds_every_result_once(crew.node, orthanc)
    again = {job: claims for job, claims in claims_of_reads(crew.node).items() if claims > 1}
    assert sum(again.values()) - len(again) == len(WITHIN_A_READING), "a reading was repeated"
    assert events(crew.node)["image_read"] == IMAGES
    known = {image.dataset.SOPInstanceUID for image in images}
    assert set(modality.acknowledged) == known
    stored = bucket.keys("images/") or sorted(crew.node.data_dir.glob("images/*/*.dcm"))
    assert len(stored) == IMAGES, "a file without a row"
    assert bool(bucket.keys()) == bool(database_url)
    assert_the_audit_log_is_unbroken(crew.node)
    crew.stop()
