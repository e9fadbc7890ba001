"""DICOM senders for the tests: dcmtk's own, and pynetdicom for what dcmtk cannot send."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_files
from pydicom.filereader import read_file_meta_info
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)
from pynetdicom import AE, _config
from pynetdicom.presentation import build_context

from hipnode.services.reactor import steady
from tests.node import Node
from tests.peers import ROOT, require, run, shared_data

_META = ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
_config.STORE_SEND_CHUNKED_DATASET = True  # a path is sent byte for byte, not decoded first
_ENCODINGS = {  # (implicit VR, little endian)
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}
_PROPOSE = {  # storescu's options
    JPEGBaseline8Bit: ["-xy"],
    JPEGLosslessSV1: ["-xs"],
    JPEGLSLossless: ["-xt"],
    JPEG2000Lossless: ["-xv"],
    JPEG2000: ["-xw"],
    RLELossless: ["-xr"],
    DeflatedExplicitVRLittleEndian: ["-xd"],
}
SAMPLES = sorted((ROOT / "hipnode" / "phantom" / "samples").rglob("*.dcm"))


class Peer(Protocol):
    """Whoever can be sent to."""

    host: str
    ae_title: str

    @property
    def port(self) -> int: ...


def storescu(peer: Peer, files: Sequence[Path]) -> None:
    """Send files as they are with ``storescu``; anything but success fails the test.

    It proposes compressed transfer syntaxes only when told to, so each has a run of its own.
    """
    program = require("storescu", "dcmtk")
    syntaxes = {path: str(read_file_meta_info(path).TransferSyntaxUID) for path in files}
    for syntax in sorted(set(syntaxes.values())):
        chosen = [str(path) for path in files if syntaxes[path] == syntax]
        command = [program, "-aec", peer.ae_title, "-R", *_PROPOSE.get(syntax, ())]
        run([*command, peer.host, str(peer.port), *chosen], timeout_s=300)


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
    """A file that pynetdicom can send as it is."""

    path: Path
    dataset: Dataset


def sendable(paths: Iterable[Path], folder: Path) -> Iterator[Sendable]:
    """Yield those files that have a SOP Class, a SOP Instance UID and a data set.

    A bare data set without file meta gets one, in a copy under ``folder``.
    """
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = dcmread(path, force=True)
                whole = all(dataset.file_meta.get(name) for name in _META)
                known = whole or bool(dataset.SOPClassUID and dataset.SOPInstanceUID)
            except Exception:  # noqa: BLE001, S112 - files that are broken on purpose
                continue
        if not known or "DirectoryRecordSequence" in dataset:
            continue
        if whole:
            yield Sendable(path, dataset)
        elif not is_dicom_file(path):
            yield Sendable(_with_meta(path, dataset, folder), dataset)


def is_dicom_file(path: Path) -> bool:
    """Tell whether the file begins as PS3.10 says; dcmtk sends no other."""
    with path.open("rb") as content:
        return content.read(132)[128:] == b"DICM"


def _with_meta(path: Path, dataset: Dataset, folder: Path) -> Path:
    implicit, little = dataset.original_encoding
    meta = dataset.file_meta
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = _ENCODINGS[bool(implicit), bool(little)]
    target = folder / f"{path.name}.dcm"
    with target.open("wb") as file:
        file.write(b"\0" * 128 + b"DICM")
        write_file_meta_info(file, meta, enforce_standard=True)
        file.write(path.read_bytes())
    return target


def pynetdicom_send(node: Node, files: Sequence[Sendable]) -> list[int]:
    """Send data sets with pynetdicom, one association a file; return the answers' statuses."""
    return [_send_one(node, file) for file in files]


def _send_one(node: Node, file: Sendable) -> int:
    ae = AE(ae_title="PYNETDICOM")
    meta = file.dataset.file_meta
    context = build_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
    association: Any = steady(ae.associate(node.host, node.port, [context], ae_title=node.ae_title))
    assert association.is_established, file.path
    try:
        assert association.accepted_contexts, file.path
        answer = association.send_c_store(file.path)
    finally:
        association.release()
    assert "Status" in answer, file.path
    return int(answer.Status)


def copies(path: Path, count: int, folder: Path, salt: str = "") -> list[Path]:
    """Write copies of a file, each an image of a study of its own."""
    dataset = dcmread(path)
    written = []
    for number in range(count):
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(
                dataset, keyword, generate_uid(entropy_srcs=[f"{path} {salt}{number} {keyword}"])
            )
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        written.append(folder / f"copy-{number}.dcm")
        dataset.save_as(written[-1])
    return written


def real_radiographs() -> list[Path]:
    """Return the DICOM files of the shared data: odd CR and DX, and infants' pelves."""
    folders = (shared_data("cr_dx"), shared_data("ddh"))
    return [
        path for folder in folders for path in sorted(folder.iterdir()) if path.suffix != ".png"
    ]


def pydicom_files() -> list[Path]:
    """Return pydicom's own test files."""
    return sorted(map(Path, get_testdata_files()))
