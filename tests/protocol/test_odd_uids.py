"""Odd UIDs through the whole node: what names a study leaves as it came."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from pydicom import config, dcmread

from tests.account import settled
from tests.conftest import StoreSCP
from tests.node import Node, destination
from tests.senders import SAMPLES, pynetdicom_send, sendable

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]
WRONG_BUT_ONE: Final = [
    "1.2.840.099999.1",
    "1.2.840.99999.00",
    "01.2.3",
    "1.2.840.99999.",
    "1.2..840",
    ".1.2.840",
    "9.9.9.1",
    "3",
    "1." + "9" * 62,
]
NO_UID: Final = [
    "1." + "9" * 63,
    "1.2.840.A",
    "{6F9619FF-8B86-D011-B42D-00CF4FC964FF}",
    "1.2 .840",
    "1.2.-840",
    "1.2.840\\1.2.841",
    "1,2,840",
    "...",
    "",
]
NAMES: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def _written(folder: Path, keyword: str, uid: str) -> Path:
    """Write a phantom that has ``uid`` under one name, and right ones under the two others."""
    dataset = dcmread(SAMPLES[0])
    number = len(list(folder.iterdir()))
    for place, name in enumerate(NAMES):
        setattr(dataset, name, uid if name == keyword else f"1.2.999.{number}.{place}")
    dataset.PatientID = f"ODD-{number}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path = folder / f"{number}.dcm"
    dataset.save_as(path)
    return path


def test_what_names_a_study_leaves_as_it_came_and_what_names_none_is_refused(
    tmp_path: Path, storescp: Callable[..., StoreSCP], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config.settings, "_writing_validation_mode", config.IGNORE)
    folder = tmp_path / "sent"
    folder.mkdir()
    right = [_written(folder, name, uid) for uid in WRONG_BUT_ONE for name in NAMES[::2]]
    wrong = [_written(folder, name, uid) for uid in NO_UID for name in NAMES[:2]]
    archive = storescp("+xa")
    node = Node(tmp_path / "node", destinations=[destination(archive, objects=["sr", "text"])])
    node.start()
    try:
        assert set(pynetdicom_send(node, list(sendable(right, folder)))) == {0}
        assert {hex(s) for s in pynetdicom_send(node, list(sendable(wrong, folder)))} == {"0xa900"}
        status = settled(node)
        assert status["account"]["delivered"] == status["instances"] == len(right)
    finally:
        node.stop()
    sent = {str(dcmread(path).PatientID): dcmread(path) for path in right}
    told = {name: set[str]() for name in sent}
    for path in archive.received():
        result = dcmread(path)
        image = sent[str(result.PatientID)]
        assert str(result.StudyInstanceUID) == str(image.StudyInstanceUID)
        assert str(image.SOPInstanceUID) in str(result), "which image it is about"
        told[str(result.PatientID)].add(str(result.SOPClassUID))
    assert {len(kinds) for kinds in told.values()} == {2}
