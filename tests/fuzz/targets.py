"""What is fuzzed: functions that take any bytes, and may only end well or with one of our errors.

Each is given to hypothesis, to atheris, and to the bytes of earlier findings in ``corpus/``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final, cast

import pydicom
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.presentation import build_context

from hipnode import dicom, imaging
from hipnode.errors import HipnodeError, InputRefused
from hipnode.imaging import codestream
from hipnode.nets.bundle import contents, spec
from hipnode.services.listener.admission import Request
from hipnode.services.listener.body import file_meta
from hipnode.services.listener.command import CommandInvalid, StoreRequest, parse
from hipnode.services.listener.contexts import supported
from hipnode.services.listener.intake import Intake
from hipnode.services.listener.server import NodeAssociation, NodeServer
from hipnode.services.listener.stream import StreamingDUL
from hipnode.services.listener.tolerant import NotUnderstood, understood
from hipnode.settings import Settings
from hipnode.storage import Store
from tests.fuzz import documents
from tests.fuzz.files import folder, written
from tests.fuzz.refusals import refusable
from tests.protocol.wire import DX

Target = Callable[[bytes], None]
MAX_BYTES: Final = 65_536


@cache
def _server() -> NodeServer:
    settings = Settings.model_validate(
        {
            "node": {"data_dir": folder() / "node"},
            "listener": {"port": 0, "accept_any_caller": True, "max_objects_per_minute": 0},
            "retention": {"disk_low_bytes": 0},
            "log": {"level": "error"},
        }
    )
    store = Store.open(settings, migrate=True)
    return NodeServer(settings, Intake(settings, store))


def stream(data: bytes) -> None:
    """Bytes on an established association: PDUs, messages, data sets, down to file and rows."""
    server = _server()
    assoc = NodeAssociation(server)
    context = build_context(DX, ExplicitVRLittleEndian)
    assoc._accepted_cx = {1: context}
    dul = cast("StreamingDUL", assoc.dul)
    dul.state_machine.current_state = "Sta6"
    data = data[:MAX_BYTES]
    dul._buffer[: len(data)] = data
    dul._end = len(data)
    while dul._parse() and dul.event_queue.empty():
        pass
    dul._forget()
    dul._wake_in.close()
    dul._wake_out.close()
    left = list(server.intake._store.files.files("incoming"))
    assert not left, "half an object stays"


def association(data: bytes) -> None:
    """The body of an A-ASSOCIATE-RQ: understood by us, decoded by pynetdicom, decided upon."""
    asked = None
    with refusable(NotUnderstood):
        asked = understood(b"\x01\x00" + len(data).to_bytes(4, "big") + data)
    if asked is None:
        return
    pdu: Any = A_ASSOCIATE_RQ()
    pdu.decode(asked.pdu)
    proposal = pdu.to_primitive()
    assert understood(asked.pdu).pdu == asked.pdu, "what was mended needs no more mending"
    admission = _server().admission
    admission.decide(
        Request(
            (proposal.calling_ae_title or "").strip(),
            (proposal.called_ae_title or "").strip(),
            "127.0.0.1",
            str(proposal.application_context_name or ""),
        ),
        0,
    )
    contexts = proposal.presentation_context_definition_list
    assert len(supported(contexts, commitment=True)) <= len(contexts) + 2 <= 130


def command(data: bytes) -> None:
    """A command set."""
    with refusable(CommandInvalid):
        parse(data, 1)


def header(data: bytes) -> None:
    """A file's header, as the listener reads it: every text may be stored and printed."""
    with refusable(InputRefused):
        for text in dicom.read_header(written(data)).facts("AE").values():
            text.encode()
            assert text.isprintable() or not any(c < " " for c in text)


DOOR_SYNTAXES: Final = (
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)  # fmt: skip


def door(data: bytes) -> None:
    """A transfer syntax and a data set: the listener's reader finds what pydicom finds, or asks."""
    if not data:
        return
    syntax = DOOR_SYNTAXES[data[0] % len(DOOR_SYNTAXES)]
    head = file_meta(StoreRequest(1, 1, DX, "1.2.3"), syntax)
    path = written(head + data[1:])
    with path.open("rb") as file:
        at_the_door = _outcome(lambda: dicom.open_at_the_door(path, file.fileno(), dicom.Limits()))
    assert at_the_door == _outcome(lambda: dicom.open_dicom(path, pixels=False))


def _outcome(opened: Callable[[], Any]) -> Any:
    """Return what is found of a header, or the error that says why nothing is."""
    try:
        found = opened()
        known = dicom.known_of(found)
        return known, dicom.header_at_the_door(found), dicom.rejection_of(found)
    except InputRefused as error:
        return type(error), str(error)


def dataset(data: bytes) -> None:
    """A whole image, decoded; native decoders for compressed ones stay out."""
    path = written(b"\0" * 128 + b"DICM" + data)
    with refusable(HipnodeError):
        ds = dicom.open_dicom(path, pixels=True)
        meta = getattr(ds, "file_meta", pydicom.Dataset())
        syntax = meta.get("TransferSyntaxUID", "")
        if not isinstance(syntax, str) or not syntax.startswith("1.2.840.10008.1.2.4"):
            imaging.decode(ds, max_pixels=1_000_000)


def code(data: bytes) -> None:
    """What is looked at in a codestream before a decoder runs."""
    with refusable(HipnodeError):
        codestream.check(codestream.bare(data), 100, 100, 1, 1_000_000)
    codestream.mended(data)


def tensors(data: bytes) -> None:
    """The header of a bundle's tensors."""
    with refusable(HipnodeError):
        contents.check_tensors(data, "fuzz")


def manifest(data: bytes) -> None:
    """A bundle's list of files."""
    with refusable(HipnodeError):
        contents._parse_manifest(data)


def metadata(data: bytes) -> None:
    """A bundle's description."""
    with refusable(HipnodeError):
        spec.read_spec(data, "0" * 64)


TARGETS: Final[dict[str, Target]] = {
    target.__name__: target
    for target in (
        stream, association, command, header, door, dataset, code, tensors, manifest, metadata,
        documents.report, documents.assessment, documents.final_report, documents.settings,
    )
}  # fmt: skip


def seeds(name: str) -> list[bytes]:
    """Return valid inputs to start from."""
    from tests.protocol.objects import data_set, encoded, radiograph, rich
    from tests.protocol.wire import associate_rq, p_data, pdv, store_rq

    ds = radiograph(4, 4)
    uid = ds.SOPInstanceUID
    whole = BytesIO()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(whole, enforce_file_format=True)
    models = Path(contents.__file__).parents[2] / "models"
    described = sorted(models.rglob("metadata.json"))[:1]
    listed = sorted(models.rglob("MANIFEST.sha256"))[:1]
    valid = {
        "stream": [
            p_data(pdv(1, 3, store_rq(DX, uid))) + p_data(pdv(1, 2, encoded(ds))),
            b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00",
        ],
        "association": [associate_rq()[6:]],
        "command": [store_rq(DX, uid)],
        "header": [whole.getvalue()],
        "door": [bytes([n]) + data_set(rich(), s) for n, s in enumerate(DOOR_SYNTAXES)],
        "dataset": [whole.getvalue()[132:]],
        "code": [b"\xff\xd8\xff\xc0\x00\x0b\x08\x00d\x00d\x01\x01\x11\x00\xff\xda\x00\x02\xff\xd9",
                 b"\xff\x4f\xff\x51" + bytes(60) + b"\xff\xd9"],
        "tensors": [(70).to_bytes(8, "little")
                    + b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'.ljust(70)
                    + bytes(4)],
        "manifest": [path.read_bytes() for path in listed],
        "metadata": [path.read_bytes() for path in described],
        **documents.seeds(),
    }  # fmt: skip
    return valid[name]
