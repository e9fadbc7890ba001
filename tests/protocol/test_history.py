"""`hipnode fetch`: what Orthanc holds from before comes in, by C-MOVE and by C-GET."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE, evt

from hipnode.services.history.query import FIND
from tests.account import settled
from tests.archive import Orthanc
from tests.node import Node, destination
from tests.senders import SAMPLES

_ASKED = {f"DicomAlwaysAllow{verb}": True for verb in ("Find", "Get", "Move")}
SHADOW = {"model_sets": [{"set": "default", "shadow": True, "match": {}}]}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An archive that holds three radiographs, and a CT image of one of the studies."""
    made = Orthanc(tmp_path_factory.mktemp("archive"), **_ASKED)
    made.start()
    for path in SAMPLES:
        made.store(path.read_bytes())
    foreign = dcmread(SAMPLES[0])
    foreign.SOPInstanceUID = foreign.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.9"
    foreign.SeriesInstanceUID, foreign.Modality = "1.2.3.4", "CT"
    path = tmp_path_factory.mktemp("ct") / "ct.dcm"
    foreign.save_as(path)
    made.store(path.read_bytes())
    yield made
    made.stop()


def node_for(folder: Path, archive: Orthanc, **tables: Any) -> Node:
    """A node that knows the archive only to ask it."""
    return Node(folder, destinations=[destination(archive, objects=[])], **tables)


@pytest.mark.parametrize("by", ["move", "get"])
def test_what_was_missed_comes_in_once(by: str, tmp_path: Path, archive: Orthanc) -> None:
    node = node_for(tmp_path / "node", archive)
    try:
        node.start()
        archive.set_modality("node", node.ae_title, node.host, node.port)
        asked = ["fetch", "--since", "2020-01-01", "--by", by]
        listed = node.cli(*asked, "--dry-run").stdout.splitlines()
        assert len(listed) == len(SAMPLES)
        assert node.status()["instances"] == 0
        said = node.cli(*asked).stdout
        assert f"fetched: {len(SAMPLES)} images; failed: 0" in said
        assert settled(node)["instances"] == len(SAMPLES)
        again = node.cli(*asked).stdout
        assert f"fetched: {len(SAMPLES)} images; failed: 0" in again
        assert "fetched: 0 images" in node.cli("fetch", "--since", "2090-01-01").stdout
        rows = node.audit()
    finally:
        node.kill()
    events = [row["event"] for row in rows]
    assert events.count("instance_stored") == events.count("image_read") == len(SAMPLES)
    assert events.count("instance_duplicated") == len(SAMPLES)
    fetched = [row for row in rows if row["event"] == "history_asked"]
    assert {row["detail"]["by"] for row in fetched} == {f"C-{by.upper()}"}
    assert sorted(row["accession_number"] for row in fetched) == sorted(
        2 * [str(dcmread(path).AccessionNumber) for path in SAMPLES]
    )


def test_one_study_by_accession_number_for_a_set_in_shadow(
    tmp_path: Path, archive: Orthanc
) -> None:
    """The history on a new model: it is read, and nobody gets a report."""
    node = node_for(tmp_path / "node", archive, worker={"model_set": "dxa", **SHADOW})
    number = str(dcmread(SAMPLES[1]).AccessionNumber)
    try:
        node.start()
        asked = ["fetch", "--accession", number, "--by", "get", "--shadow-only"]
        assert "fetched: 1 images" in node.cli(*asked).stdout
        assert settled(node)["instances"] == 1
        rows = node.audit()
    finally:
        node.kill()
    events = [row["event"] for row in rows]
    assert events.count("image_read") == 1
    assert "report_made" not in events
    (read,) = [row for row in rows if row["event"] == "image_read"]
    assert all(f["shadow"] for hip in read["detail"]["hips"] for f in hip["findings"])


def test_wrong_questions_are_named(tmp_path: Path, archive: Orthanc) -> None:
    node = node_for(tmp_path / "node", archive)
    assert "say which" in node.cli("fetch", check=False).stderr
    refused = node.cli("fetch", "--since", "2020-01-01", "--shadow-only", check=False)
    assert "--by get" in refused.stderr
    named = node.cli("fetch", "--since", "2020-01-01", "--from", "nobody", check=False)
    assert named.returncode == 2
    assert "there are: archive" in named.stderr


def test_an_archive_that_names_no_study_is_not_asked_for_everything(tmp_path: Path) -> None:
    """A question with an empty UID would match whatever it holds; nor does its text do anything."""
    levels: list[str] = []

    def answer(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        levels.append(event.identifier.QueryRetrieveLevel)
        nameless, foreign = Dataset(), Dataset()
        nameless.StudyInstanceUID, nameless.AccessionNumber = "", "[/x]"
        foreign.StudyInstanceUID = "not a UID"
        yield from ((0xFF00, nameless), (0xFF00, foreign))

    ae = AE("ODD")
    ae.add_supported_context(FIND)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, answer)])
    try:
        place = {"name": "odd", "host": "127.0.0.1", "port": server.socket.getsockname()[1],
                 "ae_title": "ODD", "objects": []}  # fmt: skip
        node = Node(tmp_path / "node", destinations=[place])
        assert node.cli("fetch", "--since", "2020-01-01", "--dry-run").stdout == ""
    finally:
        server.shutdown()
    assert set(levels) == {"STUDY"}
