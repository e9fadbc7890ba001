"""What happened, told twice: to the audit log for good, and to the log for who runs the node.

The audit log gets what concerns patients and peers; the log never gets any of a data set's text.
Where the database is away, the audit log of an association cannot be written; objects that came in
meanwhile were not acknowledged.

References
----------
PS3.15 A.5, audit trail messages: what they are about.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from hipnode.domain import AuditEvent, AuditRecord, Outcome
from hipnode.errors import DiskFull, StorageUnavailable
from hipnode.log import Event, get_logger
from hipnode.storage import Store

_LATE: Final = 16
"""So many records wait for a database that is away; further ones are lost, as are those that wait
longer than it takes to say that it is."""


@dataclass(frozen=True)
class Peer:
    """Who is at the other end of an association."""

    calling_ae: str = ""
    called_ae: str = ""
    address: str = ""
    association_id: str = field(default_factory=lambda: uuid4().hex)
    studies: set[str] = field(default_factory=set, compare=False)


class Notes:
    """The listener's notes.

    Parameters
    ----------
    store
        Whose audit log.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._log = get_logger(service="listener")
        self._lock = threading.Lock()
        self._disk_low = False
        self._database_away = False
        self._late = threading.BoundedSemaphore(_LATE)

    # --- associations -------------------------------------------------------------------------

    def accepted(self, peer: Peer, mended: Sequence[str] = ()) -> None:
        """Note that an association was accepted, and what of its request had to be mended."""
        further: dict[str, Any] = {"mended": list(mended)} if mended else {}
        self._audit(AuditEvent.ASSOCIATION_ACCEPTED, peer, **further)

    def refused(self, peer: Peer, detail: str, reason: str, **further: Any) -> None:
        """Note that an association was refused: the reason the peer got, and the closer one."""
        self._log.warning(
            Event.ASSOCIATION_REFUSED,
            peer_ae=peer.calling_ae,
            peer_address=peer.address,
            reason=detail,
        )
        self._audit(
            AuditEvent.ASSOCIATION_REFUSED,
            peer,
            Outcome.REFUSED,
            reason=reason,
            cause=detail,
            **further,
        )

    def echoed(self, peer: Peer) -> None:
        """Note that a C-ECHO was answered."""
        self._audit(AuditEvent.ECHO_ANSWERED, peer)

    def aborted(self, peer: Peer) -> None:
        """Note that an association ended without a release."""
        self._log.warning(
            Event.ASSOCIATION_ABORTED, peer_ae=peer.calling_ae, peer_address=peer.address
        )

    # --- objects ------------------------------------------------------------------------------

    def stored(self, peer: Peer, size_bytes: int) -> None:
        """Note that an object was taken in; its audit row was written with it."""
        self._log.info(Event.INSTANCE_STORED, bytes=size_bytes, peer_ae=peer.calling_ae)

    def object_refused(
        self,
        peer: Peer,
        sop_instance_uid: str,
        status: int,
        reason: str,
        known: Mapping[str, str],
        **detail: Any,
    ) -> None:
        """Note that an object was refused: status and sentence, and whose it is where known."""
        shown = f"0x{status:04X}"
        self._log.warning(
            Event.INSTANCE_REFUSED, peer_ae=peer.calling_ae, status=shown, reason=reason
        )
        self._audit(
            AuditEvent.INSTANCE_REFUSED,
            peer,
            Outcome.REFUSED,
            {"sop_instance_uid": sop_instance_uid, **known},
            status=shown,
            reason=reason,
            **detail,
        )

    # --- the node's own troubles --------------------------------------------------------------

    def disk(self, free_bytes: int, *, low: bool) -> None:
        """Note how the disk is; told once each time it runs low."""
        with self._lock:
            turned, self._disk_low = low and not self._disk_low, low
        if turned:
            self._log.error(Event.DISK_RAN_LOW, free_bytes=free_bytes)
            self._audit(AuditEvent.DISK_LOW, Peer(), Outcome.FAILED, free_bytes=free_bytes)

    def storage_failed(self, error: StorageUnavailable) -> None:
        """Note that the database or the disk failed us; told once until it is back."""
        if isinstance(error, DiskFull):
            return
        with self._lock:
            turned, self._database_away = not self._database_away, True
        if turned:
            self._log.error(Event.DATABASE_WENT_AWAY, reason=str(error))

    def storage_works(self) -> None:
        """Note that an object could be written."""
        with self._lock:
            turned, self._database_away = self._database_away, False
        if turned:
            self._log.info(Event.DATABASE_CAME_BACK)

    def _audit(
        self,
        event: AuditEvent,
        peer: Peer,
        outcome: Outcome = Outcome.OK,
        of: Mapping[str, Any] | None = None,
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
            detail=detail,
            **(of or {}),
        )
        if not self._database_away:
            self._append(record)
        elif self._late.acquire(blocking=False):  # whoever waits for an answer does not for this
            threading.Thread(target=self._append_late, args=(record,), daemon=True).start()

    def _append(self, record: AuditRecord) -> None:
        try:
            self._store.audit.append(record)
        except StorageUnavailable as error:
            self.storage_failed(error)
        else:
            self.storage_works()

    def _append_late(self, record: AuditRecord) -> None:
        try:
            self._append(record)
        finally:
            self._late.release()
