"""One association to one destination: opened when there is something to send, reused, released.

References
----------
PS3.4 B.2, C-STORE as SCU, and Table B.2-1 with the statuses; PS3.7 Annex C, general statuses.
PS3.8 7.1, A-ASSOCIATE.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
)
from pynetdicom import _config, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ

from hipnode.codes import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from hipnode.errors import DestinationRejects, DestinationUnreachable
from hipnode.services.courier.ways.way import Answer, Reply
from hipnode.services.reactor import steady
from hipnode.services.rejections import rejection
from hipnode.services.tls import client_context, renewed
from hipnode.settings import DestinationSettings

PROPOSED: Final = (
    "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
    "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
    "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
    "1.2.840.10008.5.1.4.1.1.88.11",  # Basic Text SR
    SecondaryCaptureImageStorage,
    "1.2.840.10008.5.1.4.1.1.11.1",  # Grayscale Softcopy Presentation State
    "1.2.840.10008.5.1.4.1.1.104.1",  # Encapsulated PDF
    "1.2.840.10008.5.1.4.1.1.88.59",  # Key Object Selection Document
)
"""The SOP Classes that the node's results have."""

_config.STORE_SEND_CHUNKED_DATASET = True  # a file is sent as it is: nothing of it is decoded
_MAX_PDU_BYTES: Final = 131072
_AT_ONCE: Final = [
    getattr(socket, name) for name in ("TCP_NODELAY", "TCP_QUICKACK") if hasattr(socket, name)
]


_WARNINGS: Final = frozenset({0x0001, 0x0107, 0x0116})
_DUPLICATE: Final = 0x0111  # our UIDs derive from the content: what is there is this very object
_CLASS_NOT_SUPPORTED: Final = 0x0122


def meaning(status: int) -> Answer:
    """Return what the status of a C-STORE response means for the delivery.

    References
    ----------
    PS3.4 Table B.2-1: A7xx out of resources, A9xx and Cxxx failures, Bxxx warnings.
    PS3.7 C.5.6, duplicate SOP Instance; C.5.17 to C.5.20, SOP Class not supported.
    """
    if status in (0x0000, _DUPLICATE) or status in _WARNINGS or status >> 12 == 0xB:
        return Answer.TAKEN
    if status == _CLASS_NOT_SUPPORTED:
        return Answer.CLASS_REFUSED
    if status >> 8 == 0xA7:
        return Answer.BUSY
    return Answer.REFUSED


def tls_of(destination: DestinationSettings) -> ssl.SSLContext | None:
    """Return what a destination's TLS is made with; None where it has none."""
    return client_context(destination.tls) if destination.tls else None


def application_entity(destination: DestinationSettings, ae_title: str) -> ApplicationEntity:
    """Return who calls a destination, with its time-outs and no presentation context yet."""
    ae = ApplicationEntity(destination.calling_ae_title or ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.connection_timeout = destination.timeout_s
    ae.acse_timeout = destination.timeout_s
    ae.dimse_timeout = destination.timeout_s
    ae.network_timeout = destination.timeout_s
    return ae


def associate(
    ae: ApplicationEntity,
    destination: DestinationSettings,
    tls: ssl.SSLContext | None,
    handlers: Sequence[Any] = (),
    negotiated: Sequence[Any] = (),
) -> Association:
    """Open an association to a destination.

    Parameters
    ----------
    ae
        Who calls, with the presentation contexts to propose.
    destination
        Who is called.
    tls
        For DICOM over TLS.
    handlers
        pynetdicom's, for requests that come from the other side.
    negotiated
        Further items of the request: role selection, say.

    Raises
    ------
    DestinationUnreachable
        If there is no connection, the association is rejected, or no context is accepted.
    """
    received: list[Any] = []
    ours = [
        (evt.EVT_CONN_OPEN, _at_once),
        (evt.EVT_DATA_SENT, _at_once),
        (evt.EVT_PDU_RECV, lambda event: received.append(event.pdu)),
    ]
    association = ae.associate(
        destination.host,
        destination.port,
        ae_title=destination.ae_title,
        max_pdu=_MAX_PDU_BYTES,
        tls_args=(tls, destination.host) if tls else None,
        ext_neg=list(negotiated),
        evt_handlers=[*ours, *handlers],
    )
    if association.is_established:
        association.unbind(*ours[-1])
        return steady(association)
    # From the PDU: where a rejection comes quickly, pynetdicom's negotiation sees a closed socket.
    answer = received[0] if received else None
    if isinstance(answer, A_ASSOCIATE_RJ):
        codes = answer.result, answer.source, answer.reason_diagnostic
        raise rejection(destination, ae.ae_title, *(code or 0 for code in codes))
    if isinstance(answer, A_ASSOCIATE_AC):
        raise NoContextAccepted
    raise DestinationUnreachable("no connection, or no answer to the association request")


def _at_once(event: evt.Event) -> None:
    """Have what is sent leave at once, and what comes acknowledged at once.

    An object goes out in several small writes and is answered in two: Nagle's algorithm at either
    end would hold each back for 40 ms. Linux forgets the second option whenever something is sent.
    """
    transport = event.assoc.dul.socket
    if transport is None or transport.socket is None:
        return
    for option in _AT_ONCE:
        with suppress(OSError):
            transport.socket.setsockopt(socket.IPPROTO_TCP, option, 1)


class NoContextAccepted(DestinationRejects):
    """The destination accepts none of our SOP Classes."""


class Link:
    """An association to a destination, made again when it is gone.

    Parameters
    ----------
    destination
        Its settings.
    ae_title
        The node's own AE title, used where the destination names no other.
    """

    def __init__(self, destination: DestinationSettings, ae_title: str) -> None:
        self._destination = destination
        self._tls = tls_of(destination)
        self._association: Association | None = None
        self._ae = application_entity(destination, ae_title)
        for uid in PROPOSED:
            self._ae.add_requested_context(uid, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        self._ae.add_requested_context(SecondaryCaptureImageStorage, JPEGBaseline8Bit)

    @property
    def is_open(self) -> bool:
        return self._association is not None and bool(self._association.is_established)

    def open(self) -> None:
        """Open the association, unless it is open.

        Raises
        ------
        DestinationUnreachable
            If there is no connection, the association is rejected, or no context is accepted.
        """
        if not self.is_open:
            if self._tls is not None and self._destination.tls:
                self._tls = renewed(self._destination.tls, self._tls)
            self._association = associate(self._ae, self._destination, self._tls)

    def accepts(self, sop_class_uid: str, transfer_syntax_uid: str = "") -> bool:
        """Tell whether the open association has a presentation context for the SOP Class.

        Parameters
        ----------
        sop_class_uid
            The SOP Class.
        transfer_syntax_uid
            The transfer syntax that the context must have; without one, any will do.
        """
        return self._association is not None and any(
            context.abstract_syntax == sop_class_uid
            and transfer_syntax_uid in ("", *context.transfer_syntax)
            for context in self._association.accepted_contexts
        )

    def send(self, path: Path) -> Reply:
        """Send the object in ``path``; return what the destination answers.

        Raises
        ------
        DestinationUnreachable
            If the association ends before the answer comes.
        """
        if self._association is None:
            raise DestinationUnreachable
        taken = self._as_taken(path)
        try:
            answer: Any = self._association.send_c_store(taken)
        except RuntimeError as error:  # it ended between two objects
            raise DestinationUnreachable("the association was closed") from error
        status = answer.get("Status")
        if status is None:
            self.close()
            raise DestinationUnreachable("no answer to C-STORE")
        return Reply(meaning(int(status)), f"0x{int(status):04X}")

    def _as_taken(self, path: Path) -> Path | Dataset:
        """Return the file, or its object in a transfer syntax that the association has.

        Captures are JPEG, which not everybody takes.
        """
        made = read_file_meta_info(path)
        if self.accepts(made.MediaStorageSOPClassUID, made.TransferSyntaxUID):
            return path
        dataset = dcmread(path)
        if made.TransferSyntaxUID.is_encapsulated:
            dataset.decompress(generate_instance_uid=False)
        return dataset

    def close(self) -> None:
        """Release the association, if there is one."""
        association, self._association = self._association, None
        if association is not None and association.is_established:
            association.release()
