"""The self-test through a real PACS: Orthanc gets a phantom, routes it here, gets its report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from hipnode import dicom
from hipnode.domain.selftest import SelfTest
from hipnode.services.demo.sender import send_files
from hipnode.settings import load
from hipnode.storage import Store
from tests.account import events, settled
from tests.archive import Orthanc
from tests.node import Node, destination
from tests.peers import ROOT, eventually
from tests.senders import SAMPLES

pytestmark = pytest.mark.timeout(600)
_ROUTE = ROOT / "docker" / "orthanc" / "route-to-hipnode.lua"
_KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Orthanc]:
    """An archive that sends whatever radiograph it gets to the node, once it knows one."""
    made = Orthanc(tmp_path / "pacs", LuaScripts=[str(_ROUTE)], DicomAlwaysAllowFind=True)
    made.start()
    yield made
    made.stop()


def node_at(folder: Path, pacs: Orthanc, within_s: float = 240, **tables: Any) -> Node:
    places = [destination(pacs, "pacs")]
    chosen = {"send_to": "pacs", "within_s": within_s}
    return Node(folder, destinations=places, self_test=chosen, **tables)


def opened(node: Node) -> Store:
    return Store.open(load(node.config, environment=False))


def test_the_phantom_comes_back_read_right_and_is_taken_back(tmp_path: Path, pacs: Orthanc) -> None:
    node = node_at(tmp_path / "node", pacs)
    try:
        node.start()
        pacs.set_modality("hipnode", node.ae_title, node.host, node.port)
        said = node.cli("self-test").stdout
        for step in ("sent to", "came back", "read:", "delivered", "seen in", "taken back"):
            assert step in said, said
        assert said.splitlines()[-1] == "passed"
        pacs.store(SAMPLES[0].read_bytes())  # a patient's comes by the same way
        eventually(lambda: node.status()["instances"] == 2, what="the patient's image came")
        settled(node)
        assert node.status()["faults"] == []
        audited = events(node)
        test = _newest(node)
        assert _left_out(node) == ({test.sop_uid}, {test.study_uid})
        assert _uids(node) == ({test.study_uid}, {str(dcmread(SAMPLES[0]).StudyInstanceUID)})
        _forge(node, test, tmp_path / "forged.dcm")
        eventually(lambda: node.status()["instances"] == 3, what="the forged image came")
        settled(node)
        assert _left_out(node) == (set(), set())  # and nobody's image is hidden by it
        assert events(node)["report_made"] == audited["report_made"] + 1
    finally:
        node.kill()
    for event in ("asked", "ended", "withdrawn"):
        assert audited[f"self_test_{event}"] == 1
    assert audited["report_withdrawn"] == audited["images_rejected"] == 1
    _is_plain_and_taken_back(pacs, test)


def _newest(node: Node) -> SelfTest:
    store = opened(node)
    try:
        return store.self_tests.newest(1)[0]
    finally:
        store.close()


def _left_out(node: Node) -> tuple[set[str], set[str]]:
    """Return the images and the studies that count in no figure."""
    store = opened(node)
    try:
        return set(store.self_tests.images()), set(store.self_tests.studies())
    finally:
        store.close()


def _forge(node: Node, test: SelfTest, path: Path) -> None:
    """Send a patient's image under every identifier of the self-test."""
    ds = dcmread(SAMPLES[0])
    ds.PatientID, ds.AccessionNumber = "HIPNODE-SELFTEST", test.accession_number
    ds.StudyInstanceUID, ds.SeriesInstanceUID = test.study_uid, test.series_uid
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = test.sop_uid
    ds.QualityControlImage = ds.QualityControlSubject = "YES"
    ds.save_as(path, enforce_file_format=True)
    where = {"host": node.host, "port": node.port}
    assert send_files([path], **where, called_ae=node.ae_title, calling_ae="EVE") == [0]  # type: ignore[arg-type]


def _is_plain_and_taken_back(pacs: Orthanc, test: SelfTest) -> None:
    """The PACS holds an image that nobody takes for a patient's, and what takes it back."""
    image = pacs.fetch(test.sop_uid)
    assert (str(image.PatientName), image.PatientID) == ("HIPNODE^SELF-TEST", "HIPNODE-SELFTEST")
    assert image.QualityControlImage == image.QualityControlSubject == "YES"
    assert "NO PATIENT" in image.StudyDescription
    held = [pacs.fetch(uid) for uid in pacs.sop_instance_uids()]
    notes = [ds for ds in held if ds.SOPClassUID == _KEY_OBJECTS]
    rejected = [found.images for ds in notes if (found := dicom.rejection_of(ds))]
    taken_back = {uid for images in rejected for _, uid in images}
    assert test.sop_uid in taken_back
    results = {ds.SOPInstanceUID for ds in held if ds.StudyInstanceUID == test.study_uid}
    assert len(results - {ds.SOPInstanceUID for ds in notes} - taken_back) == 3  # of the forged one


def _uids(node: Node) -> tuple[set[str], set[str]]:
    """Return the studies of read images: the self-test's, and the others'."""
    read = {row["study_instance_uid"] for row in node.audit() if row["event"] == "image_read"}
    asked = {row["study_instance_uid"] for row in node.audit() if row["event"] == "self_test_asked"}
    return read & asked, read - asked


def test_two_misses_are_an_alarm_until_one_passes(tmp_path: Path, pacs: Orthanc) -> None:
    node = node_at(tmp_path / "node", pacs, within_s=25)
    try:
        node.start()  # and the PACS knows of no route to it
        first = node.cli("self-test", check=False)
        assert first.returncode == 1
        assert "missed: the PACS did not route the image back" in first.stdout
        assert node.status()["faults"] == []
        node.cli("self-test", check=False)
        (fault,) = node.status()["faults"]
        assert fault["key"] == "further:self-test"
        assert "did not route" in fault["what"]
    finally:
        node.kill()
