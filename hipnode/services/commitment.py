"""A destination's answer about what it will keep, on whatever association it comes.

The courier gets it where it asked, the listener where the destination opens an association of its
own for it.

References
----------
PS3.4 J.3.3, Storage Commitment Notification: event type 1, all is committed to; 2, some is not.
PS3.3 C.14.1.1, Failure Reason. PS3.7 10.1.1.1.8, statuses of N-EVENT-REPORT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydicom import Dataset

from hipnode.errors import StorageUnavailable
from hipnode.faults import Point, reach
from hipnode.log import Event, get_logger
from hipnode.storage import Store

PUSH_MODEL: Final = "1.2.840.10008.1.20.1"
"""Storage Commitment Push Model SOP Class."""
PUSH_MODEL_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
"""Its one well-known SOP Instance."""

SUCCESS: Final = 0x0000
PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_EVENT_TYPE: Final = 0x0113
INVALID_ARGUMENT: Final = 0x0115
RESOURCE_LIMITATION: Final = 0x0213
STATUSES: Final = {
    SUCCESS: "The answer is on disk.",
    PROCESSING_FAILURE: "The transaction is none of this node's, or it is over.",
    NO_SUCH_EVENT_TYPE: "The event type is neither 1 nor 2.",
    INVALID_ARGUMENT: "The answer names no transaction.",
    RESOURCE_LIMITATION: "The database cannot be reached; what was asked for is asked for again.",
}
"""What an N-EVENT-REPORT is answered with, and when."""

REASONS: Final = {
    0x0110: "processing failure",
    0x0112: "no such object instance",
    0x0119: "class / instance conflict",
    0x0122: "SOP Class not supported",
    0x0131: "duplicate transaction UID",
    0x0213: "resource limitation",
}
_MAX_OBJECTS: Final = 10_000


def take_report(store: Store, event_type: int | None, report: Dataset, peer: str) -> int:
    """Write down what a destination answers for; return the status of the response.

    Parameters
    ----------
    store
        Where the transactions are.
    event_type
        Of the N-EVENT-REPORT.
    report
        Its Event Information.
    peer
        The AE title that sends it.
    """
    if event_type not in (1, 2):
        return NO_SUCH_EVENT_TYPE
    transaction = str(report.get("TransactionUID") or "")
    if not transaction:
        return INVALID_ARGUMENT
    committed = {_uid(item) for item in _items(report, "ReferencedSOPSequence")}
    failed = {_uid(item): _reason(item) for item in _items(report, "FailedSOPSequence")}
    log = get_logger(service="commitment")
    try:
        count = store.commitments.settle(transaction, committed - set(failed), failed, peer)
    except StorageUnavailable as error:
        log.error(Event.DATABASE_WENT_AWAY, reason=str(error))
        return RESOURCE_LIMITATION
    reach(Point.COMMITMENT_SETTLED)
    if not count:
        log.warning(Event.COMMITMENT_UNKNOWN, peer_ae=peer)
        return PROCESSING_FAILURE
    log.info(Event.COMMITMENT_ANSWERED, peer_ae=peer, count=count)
    return SUCCESS


def _items(report: Dataset, keyword: str) -> Sequence[Any]:
    return list(report.get(keyword) or ())[:_MAX_OBJECTS]


def _uid(item: Dataset) -> str:
    return str(item.get("ReferencedSOPInstanceUID") or "")


def _reason(item: Dataset) -> str:
    code = int(item.get("FailureReason") or 0)
    return f"{REASONS.get(code, 'failed')} (0x{code:04X})"
