"""DICOM senders for the tests: dcmtk's own, and pynetdicom for what dcmtk cannot send."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_files
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.presentation import build_context

from tests.node import Node
from tests.peers import ROOT, require, run, shared_data

SAMPLES = sorted((ROOT / "hipnode" / "phantom" / "samples").rglob("*.dcm"))


def storescu(node: Node, files: Sequence[Path], *options: str) -> None:
    """Send files with ``storescu``; anything but success fails the test."""
    command = [require("storescu", "dcmtk"), "-aec", node.ae_title, "-R", *options]
    run([*command, node.host, str(node.port), *map(str, files)], timeout_s=300)


def dcmsend(node: Node, files: Sequence[Path]) -> int:
    """Send files with ``dcmsend`` as they are; return how many it had acknowledged."""
    command = [require("dcmsend", "dcmtk"), "-v", "-dn", "-nh", "-nuc", "-aec", node.ae_title]
    done = run([*command, node.host, str(node.port), *map(str, files)], timeout_s=300, check=False)
    said = done.stdout + done.stderr
    found = re.search(r"\* with status SUCCESS\s*: (\d+)", said)
    assert found, said[-2000:]
    return int(found[1])


@dataclass(frozen=True)
class Sendable:
    """A file that has what a C-STORE needs."""

    path: Path
    dataset: Dataset

    @property
    def transfer_syntax(self) -> str:
        return str(self.dataset.file_meta.TransferSyntaxUID)


def sendable(paths: Iterable[Path]) -> Iterator[Sendable]:
    """Yield those files that have a SOP Class, a SOP Instance UID and a data set."""
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = dcmread(path, force=True)
                meta = dataset.file_meta
                known = bool(dataset.SOPClassUID and dataset.SOPInstanceUID)
            except Exception:  # noqa: BLE001, S112 - files that are broken on purpose
                continue
        if not known or dataset.SOPClassUID == "1.2.840.10008.1.3.10":  # a DICOMDIR
            continue
        if not hasattr(meta, "TransferSyntaxUID"):
            meta.TransferSyntaxUID = ImplicitVRLittleEndian
        yield Sendable(path, dataset)


def pynetdicom_send(node: Node, files: Sequence[Sendable]) -> list[int]:
    """Send data sets with pynetdicom, one association a file; return the answers' statuses."""
    return [_send_one(node, file) for file in files]


def _send_one(node: Node, file: Sendable) -> int:
    ae = AE(ae_title="PYNETDICOM")
    context = build_context(file.dataset.SOPClassUID, file.transfer_syntax)
    association: Any = ae.associate(node.host, node.port, [context], ae_title=node.ae_title)
    assert association.is_established, file.path
    try:
        assert association.accepted_contexts, file.path
        answer = association.send_c_store(file.dataset)
    finally:
        association.release()
    assert "Status" in answer, file.path
    return int(answer.Status)


def real_radiographs() -> list[Path]:
    """Return the DICOM files of the shared data: odd CR and DX, and infants' pelves."""
    folders = (shared_data("cr_dx"), shared_data("ddh"))
    return [
        path for folder in folders for path in sorted(folder.iterdir()) if path.suffix != ".png"
    ]


def pydicom_files() -> list[Path]:
    """Return pydicom's own test files."""
    return sorted(map(Path, get_testdata_files()))
