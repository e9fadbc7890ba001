"""What becomes of what is received: rules, disk, rows, audit, and the answer to the sender.

0x0000 is only ever returned after the file, its folder and its row have been synced to disk.

References
----------
PS3.4 B.2.3, Table B.2-1: A700 out of resources (the sender may try again), A900 data set does not
match SOP Class, C000 cannot understand (it should not). PS3.7 C.5.17, 0x0122.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from errno import EDQUOT, ENOSPC
from typing import Any, Final
from uuid import uuid4

from hipnode.codes import MANUFACTURER
from hipnode.domain import AuditEvent, AuditRecord, Header, Outcome
from hipnode.errors import DiskFull, HeaderUnusable, InputRefused, StorageUnavailable
from hipnode.imaging import read_header
from hipnode.log import Event, get_logger
from hipnode.nets import set_digest
from hipnode.services.listener.arrival import Body, file_meta
from hipnode.services.listener.command import StoreRequest
from hipnode.services.listener.rules import Verdict, decide
from hipnode.settings import Settings
from hipnode.storage import Received, Store

SUCCESS: Final = 0x0000
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
_UID: Final = re.compile(r"[0-9.]{1,64}")  # PS3.5 9.1; leading zeros are forgiven


@dataclass(frozen=True)
class Peer:
    """Who is at the other end of an association."""

    calling_ae: str = ""
    called_ae: str = ""
    address: str = ""
    association_id: str = field(default_factory=lambda: uuid4().hex)
    studies: set[str] = field(default_factory=set, compare=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of a C-STORE response, and its Error Comment."""

    status: int
    comment: str = ""


class TooLarge(InputRefused):
    """The object is larger than the node takes."""


class Arrival:
    """One object being received. Trouble is kept until its end, when the sender can be told."""

    def __init__(
        self, intake: Intake, peer: Peer, request: StoreRequest, transfer_syntax: str
    ) -> None:
        self.intake = intake
        self.peer = peer
        self.request = request
        self.transfer_syntax = transfer_syntax
        self.trouble: InputRefused | StorageUnavailable | Answer | None = None
        self.incoming: Any = None
        self.body: Body | None = None

    def fail(self, trouble: InputRefused | StorageUnavailable | Answer) -> None:
        """Keep the first trouble; what still comes of the object is not written."""
        if self.trouble is None:
            self.trouble = trouble
        self.abandon()

    def write(self, pieces: list[memoryview]) -> None:
        """Write pieces of the data set; they are dropped once there is trouble."""
        if self.body is None:
            return
        try:
            self.body.write(pieces)
        except OSError as error:
            self.fail(_storage_trouble(error))
            return
        if self.body.size_bytes > self.intake.max_object_bytes:
            self.fail(TooLarge())

    def finish(self) -> Answer:
        """Settle what becomes of the object, once it is whole."""
        return self.intake.settle(self)

    def abandon(self) -> None:
        """Remove what was written."""
        incoming, self.incoming, self.body = self.incoming, None, None
        if incoming is not None:
            incoming.abort()


class Intake:
    """Takes objects from associations and makes them safe.

    Parameters
    ----------
    settings
        The node's settings.
    store
        Where files, rows and the audit log are.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self.max_object_bytes = settings.listener.max_object_bytes
        self._settings = settings
        # The digest, not the name: the same image is read again once the models have changed.
        self._model_sets = (set_digest(settings.worker.model_set),)
        self._store = store
        self._log = get_logger(service="listener")
        self._lock = threading.Lock()
        self._disk_low = False
        self._database_away = False

    # --- objects ------------------------------------------------------------------------------

    def begin(
        self, peer: Peer, request: StoreRequest, abstract_syntax: str, transfer_syntax: str
    ) -> Arrival:
        """Start to receive an object.

        Parameters
        ----------
        peer
            Who sends it.
        request
            Its C-STORE request.
        abstract_syntax, transfer_syntax
            Of the presentation context that it comes in.
        """
        arrival = Arrival(self, peer, request, transfer_syntax)
        if request.sop_class_uid != abstract_syntax:
            arrival.fail(Answer(SOP_CLASS_NOT_SUPPORTED, "not the context's SOP Class"))
        elif not _UID.fullmatch(request.sop_instance_uid):
            arrival.fail(HeaderUnusable("the SOP Instance UID is not a UID"))
        if arrival.trouble:
            return arrival
        try:
            self._check_disk()
            arrival.incoming = self._store.files.incoming()
            arrival.body = Body(arrival.incoming.fileno(), file_meta(request, transfer_syntax))
        except OSError as error:
            arrival.fail(_storage_trouble(error))
        except StorageUnavailable as error:
            arrival.fail(error)
        return arrival

    def settle(self, arrival: Arrival) -> Answer:
        """Decide about a whole object, make it durable, and return the answer for its sender."""
        try:
            if isinstance(arrival.trouble, Answer):
                self._refused(arrival, arrival.trouble, "sop_class")
                return arrival.trouble
            if arrival.trouble is not None:
                raise arrival.trouble
            answer = self._take_in(arrival)
        except StorageUnavailable as error:
            arrival.abandon()
            answer = Answer(error.dimse_status, "out of resources, try again later")
            self._storage_failed(error)
            self._refused(arrival, answer, type(error).__name__)
        except InputRefused as error:
            answer = Answer(error.dimse_status, str(error))
            self._quarantine(arrival)
            self._refused(arrival, answer, type(error).__name__)
        else:
            self._database_is_back()
        return answer

    def _take_in(self, arrival: Arrival) -> Answer:
        body, incoming, peer = arrival.body, arrival.incoming, arrival.peer
        if body is None or incoming is None:
            raise StorageUnavailable
        header = read_header(incoming.path)
        _check_identity(header, arrival.request)
        verdict = decide(header, peer.calling_ae, self._settings.rules, own=_is_own(header))
        path = ""
        if verdict.action != "discard":
            path = self._store.files.keep(incoming, header.sop_instance_uid, body.digest)
        self._ingest(arrival, header, verdict, path, body)
        if verdict.action == "discard":
            arrival.abandon()
        elif verdict.action == "read":
            peer.studies.add(header.study_instance_uid)
        return Answer(SUCCESS)

    def _ingest(
        self, arrival: Arrival, header: Header, verdict: Verdict, path: str, body: Body
    ) -> None:
        peer = arrival.peer
        self._store.ledger.ingest(
            Received(
                header=header,
                calling_ae=peer.calling_ae,
                called_ae=peer.called_ae,
                peer_address=peer.address,
                path=path,
                sha256=body.digest,
                size_bytes=body.size_bytes,
                association_id=peer.association_id,
            ),
            action=verdict.action,
            priority=verdict.priority,
            model_sets=self._model_sets,
            quiet_s=self._settings.report.quiet_s,
        )
        self._log.info(Event.INSTANCE_STORED, bytes=body.size_bytes, peer_ae=peer.calling_ae)

    def _quarantine(self, arrival: Arrival) -> None:
        """Keep what the sender will not send again, for a person to look at."""
        if arrival.incoming is None:
            return
        try:
            arrival.incoming.sync()
            self._store.files.quarantine(arrival.incoming.path)
        except StorageUnavailable as error:
            self._storage_failed(error)
        finally:
            arrival.abandon()

    def _check_disk(self) -> None:
        free = self._store.files.free_bytes()
        low = free < self._settings.retention.disk_low_bytes
        with self._lock:
            turned, self._disk_low = low and not self._disk_low, low
        if turned:
            self._log.error(Event.DISK_RAN_LOW, free_bytes=free)
            self.noted(AuditEvent.DISK_LOW, Outcome.FAILED, free_bytes=free)
        if low:
            raise DiskFull

    def _storage_failed(self, error: StorageUnavailable) -> None:
        if isinstance(error, DiskFull):
            return
        with self._lock:
            turned, self._database_away = not self._database_away, True
        if turned:
            self._log.error(Event.DATABASE_WENT_AWAY, reason=str(error))

    def _database_is_back(self) -> None:
        with self._lock:
            turned, self._database_away = self._database_away, False
        if turned:
            self._log.info(Event.DATABASE_CAME_BACK)

    # --- the audit log ------------------------------------------------------------------------

    def accepted(self, peer: Peer) -> None:
        """Note that an association was accepted."""
        self._audit(AuditEvent.ASSOCIATION_ACCEPTED, peer)

    def refused(self, peer: Peer, detail: str, reason: str) -> None:
        """Note that an association was refused, and why."""
        self._log.warning(
            Event.ASSOCIATION_REFUSED,
            peer_ae=peer.calling_ae,
            peer_address=peer.address,
            reason=detail,
        )
        self._audit(
            AuditEvent.ASSOCIATION_REFUSED, peer, Outcome.REFUSED, reason=reason, cause=detail
        )

    def echoed(self, peer: Peer) -> None:
        """Note that a C-ECHO was answered."""
        self._audit(AuditEvent.ECHO_ANSWERED, peer)

    def aborted(self, peer: Peer) -> None:
        """Note that an association ended without a release."""
        self._log.warning(
            Event.ASSOCIATION_ABORTED, peer_ae=peer.calling_ae, peer_address=peer.address
        )

    def released(self, peer: Peer) -> None:
        """Have the association's studies reported at once, where the settings say so."""
        if not (self._settings.report.report_on_release and peer.studies):
            return
        try:
            self._store.ledger.release(sorted(peer.studies))
        except StorageUnavailable as error:  # then the quiet period decides
            self._storage_failed(error)

    def noted(self, event: AuditEvent, outcome: Outcome = Outcome.OK, **detail: Any) -> None:
        """Write an event of the service itself to the audit log."""
        self._audit(event, Peer(), outcome, **detail)

    def _refused(self, arrival: Arrival, answer: Answer, reason: str) -> None:
        self._log.warning(
            Event.INSTANCE_REFUSED,
            peer_ae=arrival.peer.calling_ae,
            status=f"0x{answer.status:04X}",
            reason=reason,
        )
        self._audit(
            AuditEvent.INSTANCE_REFUSED,
            arrival.peer,
            Outcome.REFUSED,
            sop_instance_uid=arrival.request.sop_instance_uid,
            status=f"0x{answer.status:04X}",
            reason=reason,
            sop_class=arrival.request.sop_class_uid,
            transfer_syntax=arrival.transfer_syntax,
        )

    def _audit(
        self,
        event: AuditEvent,
        peer: Peer,
        outcome: Outcome = Outcome.OK,
        sop_instance_uid: str = "",
        **detail: Any,
    ) -> None:
        """Append to the audit log; an event cannot wait for a database that is away."""
        if peer.address:
            detail["address"] = peer.address
            detail["called_ae"] = peer.called_ae
            detail["association"] = peer.association_id
        record = AuditRecord(
            event=event,
            outcome=outcome,
            actor="listener",
            ae_title=peer.calling_ae,
            sop_instance_uid=sop_instance_uid,
            detail=detail,
        )
        try:
            self._store.audit.append(record)
        except StorageUnavailable as error:
            self._storage_failed(error)


def _is_own(header: Header) -> bool:
    return header.manufacturer == MANUFACTURER


def _check_identity(header: Header, request: StoreRequest) -> None:
    """Refuse an object that is another than its request says (PS3.4 B.2.3, A9xx)."""
    if header.sop_instance_uid != request.sop_instance_uid:
        raise HeaderUnusable("the SOP Instance UID is not that of the C-STORE request")
    if header.sop_class_uid != request.sop_class_uid:
        raise HeaderUnusable("the SOP Class UID is not that of the C-STORE request")


def _storage_trouble(error: OSError) -> StorageUnavailable:
    full = error.errno in (ENOSPC, EDQUOT)
    return DiskFull() if full else StorageUnavailable(f"the disk cannot be written: {error}")
