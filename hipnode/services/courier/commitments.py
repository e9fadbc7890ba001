"""Asks one destination to commit to what it has taken.

Its answer may come at once on the same association, which is held open a little for it, or later on
one that the destination opens to the listener.

References
----------
PS3.4 J.3.2, N-ACTION, action type 1: Request Storage Commitment.
"""

from __future__ import annotations

import threading
from typing import Any, Final

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt

from hipnode.errors import DestinationRefused, DestinationUnreachable, StorageUnavailable
from hipnode.faults import Point, reach
from hipnode.log import Event, get_logger
from hipnode.pulse import ROUND_S
from hipnode.services.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, take_report
from hipnode.services.courier.ways.dimse import (
    NoContextAccepted,
    application_entity,
    associate,
    tls_of,
)
from hipnode.settings import DestinationSettings
from hipnode.storage import Store
from hipnode.storage.ledger.promises import Transaction

_EVERY_S: Final = 1.0
_LINGER_S: Final = 5.0
"""How long an association stays open for an answer that comes at once."""
_LOOK_S: Final = 0.1
_REQUEST: Final = 1


class Committer:
    """Asks one destination, in a thread of its own, so that deliveries do not wait for it.

    Parameters
    ----------
    destination
        Its settings.
    ae_title
        The node's AE title.
    store
        Where deliveries and transactions are.
    """

    def __init__(self, destination: DestinationSettings, ae_title: str, store: Store) -> None:
        self._destination = destination
        self._store = store
        self._tls = tls_of(destination)
        self._ae = application_entity(destination, ae_title)
        self._ae.add_requested_context(PUSH_MODEL, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        self._failures = 0
        self._database_away = False
        self._log = get_logger(service="courier", destination=destination.name)

    def run(self, stop: threading.Event) -> None:
        """Ask for what is due, until ``stop`` is set."""
        pulse, limit_s = self._store.pulse, 4 * self._destination.timeout_s + ROUND_S
        while not stop.wait(_EVERY_S):
            pulse.went_round(limit_s)
            try:
                self.ask(stop)
            except StorageUnavailable as error:
                if not self._database_away:
                    self._log.error(Event.DATABASE_WENT_AWAY, reason=str(error))
                self._database_away = True
            else:
                self._database_away = False
        pulse.forget()

    def ask(self, stop: threading.Event) -> None:
        """Ask once for all that is due, and wait a little for the answer.

        Raises
        ------
        StorageUnavailable
            If the ledger cannot be told. What was asked for comes due again.
        """
        commitments, destination = self._store.commitments, self._destination
        transaction = commitments.ask(destination.name, destination.commitment_timeout_s)
        if transaction is None:
            return
        reach(Point.COMMITMENT_DUE)
        try:
            self._request(transaction, stop)
        except DestinationUnreachable as error:
            self._failures += 1
            if self._failures == 1:
                self._log.warning(Event.DESTINATION_WENT_AWAY, reason=str(error))
            commitments.postpone(transaction, str(error), self._failures)
        except DestinationRefused as error:
            self._log.warning(Event.COMMITMENT_REFUSED, reason=str(error))
            commitments.refused(transaction, str(error))
        else:
            self._failures = 0

    def _request(self, transaction: Transaction, stop: threading.Event) -> None:
        answered = threading.Event()

        def on_report(event: evt.Event) -> tuple[int, None]:
            peer = self._destination.ae_title
            status = take_report(self._store, event.event_type, event.event_information, peer)
            answered.set()
            return status, None

        handlers = [(evt.EVT_N_EVENT_REPORT, on_report)]
        try:
            association = associate(self._ae, self._destination, self._tls, handlers)
        except NoContextAccepted as error:
            raise DestinationRefused("storage commitment is not offered") from error
        try:
            answer, _ = _send(association, transaction)
            status = answer.get("Status")
            if status is None:
                raise DestinationUnreachable("no answer to the request for storage commitment")
            if status != 0:
                raise DestinationRefused(f"storage commitment was refused (0x{status:04X})")
            reach(Point.COMMITMENT_ASKED)
            self._log.info(Event.COMMITMENT_REQUESTED, count=len(transaction.objects))
            linger_s = min(_LINGER_S, self._destination.commitment_timeout_s)
            _linger(association, answered, stop, linger_s)
        finally:
            if association.is_established:
                association.release()


def _send(association: Any, transaction: Transaction) -> tuple[Dataset, Any]:
    request = Dataset()
    request.TransactionUID = transaction.uid
    request.ReferencedSOPSequence = []
    for sop_class_uid, sop_instance_uid in transaction.objects:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class_uid
        item.ReferencedSOPInstanceUID = sop_instance_uid
        request.ReferencedSOPSequence.append(item)
    try:
        answer: tuple[Dataset, Any] = association.send_n_action(
            request, _REQUEST, PUSH_MODEL, PUSH_MODEL_INSTANCE
        )
    except RuntimeError as error:  # it ended before the request was sent
        raise DestinationUnreachable("the association was closed") from error
    return answer


def _linger(
    association: Any, answered: threading.Event, stop: threading.Event, linger_s: float
) -> None:
    for _ in range(round(linger_s / _LOOK_S)):
        if answered.wait(_LOOK_S) or stop.is_set() or not association.is_established:
            return
