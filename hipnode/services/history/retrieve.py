"""Fetch a series: have the archive send it to our own listener, or take it on this association.

By C-MOVE the images come to the listener like any others. By C-GET they come to whoever asks, who
gives them to the same intake; only so can they be taken for the sets in shadow alone.

References
----------
PS3.4 C.4.2 (C-MOVE), C.4.3 (C-GET), C.5.3 (role selection for C-GET); PS3.7 9.1.3, 9.1.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydicom import Dataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import build_role, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association

from hipnode.dicom.kinds import SOP_CLASSES
from hipnode.errors import DestinationRefused
from hipnode.services.courier.ways.dimse import application_entity, associate, tls_of
from hipnode.services.history.query import FIND, FoundSeries, status_of
from hipnode.services.listener.command import StoreRequest
from hipnode.services.listener.intake import Intake
from hipnode.services.listener.peer import Peer
from hipnode.settings import DestinationSettings

MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"  # Study Root Query/Retrieve: MOVE
GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"  # and GET
_PENDING: Final = 0xFF00
_SYNTAXES: Final = (
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLosslessSV1, JPEG2000Lossless,
    JPEGLSLossless, JPEGBaseline8Bit, RLELossless, HTJ2KLossless,
)  # fmt: skip
"""Each in a context of its own, so that an archive sends what it holds without transcoding."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the archive said came of a series: numbers of images."""

    taken: int
    failed: int


def call(
    archive: DestinationSettings, ae_title: str, intake: Intake | None = None
) -> tuple[Association, Callable[[FoundSeries], Fetched]]:
    """Open an association to an archive, and return how a series is fetched on it.

    Parameters
    ----------
    archive
        Whom to ask.
    ae_title
        The node's own, as which it is known there.
    intake
        Takes what comes by C-GET; None has it sent to our listener, by C-MOVE.

    Raises
    ------
    DestinationUnreachable
        If there is no connection, or the association is rejected.
    """
    ae = application_entity(archive, ae_title)
    ae.add_requested_context(FIND)
    if intake is None:
        ae.add_requested_context(MOVE)
        association = associate(ae, archive, tls_of(archive))
        return association, lambda series: _fetch(
            association.send_c_move(_named(series), ae_title, MOVE), "C-MOVE"
        )
    ae.add_requested_context(GET)
    for sop_class in sorted(SOP_CLASSES):
        for syntax in _SYNTAXES:
            ae.add_requested_context(sop_class, syntax)
    roles = [build_role(UID(uid), scp_role=True) for uid in sorted(SOP_CLASSES)]
    association = _associate_as_scp(ae, archive, intake, roles)
    return association, lambda series: _fetch(association.send_c_get(_named(series), GET), "C-GET")


def _associate_as_scp(
    ae: ApplicationEntity, archive: DestinationSettings, intake: Intake, roles: list[Any]
) -> Association:
    """Open an association on which the archive may store to us (PS3.7 D.3.3.4)."""
    peer = Peer(archive.ae_title, ae.ae_title, archive.host)
    handlers = [(evt.EVT_C_STORE, _take, [intake, peer])]
    return associate(ae, archive, tls_of(archive), handlers, roles)


def _take(event: evt.Event, intake: Intake, peer: Peer) -> int:
    """Give an object to the intake, as it came, and return the status of its answer."""
    request: Any = event.request
    asked = StoreRequest(
        context_id=event.context.context_id,
        message_id=request.MessageID,
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
    )
    abstract, syntax = str(event.context.abstract_syntax), str(event.context.transfer_syntax)
    arrival = intake.begin(peer, asked, abstract, syntax)
    arrival.write([memoryview(request.DataSet.getvalue())])
    return arrival.finish().status


def _named(series: FoundSeries) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = series.study_instance_uid
    query.SeriesInstanceUID = series.series_instance_uid
    return query


def _fetch(responses: Iterator[tuple[Dataset, Dataset | None]], verb: str) -> Fetched:
    """Return what came of it; a warning (0xB000) is some images that failed."""
    taken = failed = 0
    for response, _ in responses:
        code = status_of(response)
        taken = int(response.get("NumberOfCompletedSuboperations") or 0) + int(
            response.get("NumberOfWarningSuboperations") or 0
        )
        failed = int(response.get("NumberOfFailedSuboperations") or 0)
        if code not in (_PENDING, 0x0000, 0xB000):
            raise DestinationRefused(f"It answers 0x{code:04X} to {verb}{_why(response)}.")
    return Fetched(taken, failed)


def _why(response: Dataset) -> str:
    """Return the words that may stand beside a status (PS3.7 C.5, Error Comment)."""
    said = str(response.get("ErrorComment") or "")
    return f" ({said})" if said else ""
