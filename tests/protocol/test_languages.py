"""Each destination reads its own language, in every version of a report."""

from __future__ import annotations

from pathlib import Path

from pydicom import Dataset, dcmread

from tests.account import settled
from tests.archive import Orthanc
from tests.node import Node, destination
from tests.senders import SAMPLES, storescu

_SAYS = {"en": "FRACTURE ", "de": "FRAKTUR "}


def test_each_destination_gets_its_own_language(tmp_path: Path, orthanc: Orthanc) -> None:
    """One archive in two roles; a second image makes a second version, of each language its own."""
    places = [
        destination(orthanc, name=language, language=language, objects=["text"])
        for language in _SAYS
    ]
    (broken,) = [path for path in SAMPLES if path.name == "fracture.dcm"]
    late = dcmread(broken)
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    late.save_as(tmp_path / "late.dcm")
    node = Node(tmp_path / "node", "", destinations=places, report={"quiet_s": 0.2})
    try:
        node.start()
        storescu(node, [broken])
        settled(node)
        storescu(node, [tmp_path / "late.dcm"])
        settled(node)
        delivered = [r for r in node.audit() if r["event"] == "object_delivered"]
    finally:
        node.kill()
    assert len(delivered) == 2 * len(_SAYS)
    texts = [orthanc.fetch(row["sop_instance_uid"]) for row in delivered]
    for language, word in _SAYS.items():
        own = [text for text in texts if word in _words(text)]
        first, second = sorted(own, key=lambda text: "PredecessorDocumentsSequence" in text)
        concept = first.ContentSequence[0].ConceptCodeSequence[0]
        assert concept.CodeValue.startswith(language)
        (study,) = second.PredecessorDocumentsSequence
        (series,) = study.ReferencedSeriesSequence
        (replaced,) = series.ReferencedSOPSequence
        assert replaced.ReferencedSOPInstanceUID == first.SOPInstanceUID
        assert series.SeriesInstanceUID == first.SeriesInstanceUID


def _words(text: Dataset) -> str:
    """Return all that a document says."""
    return "\n".join(e.value for e in text.iterall() if e.keyword == "TextValue")
