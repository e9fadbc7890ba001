"""Values that came are checked, kept and put on the audit log, each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hipnode.domain import CovariateSource
from hipnode.services.covariates.message import Order
from hipnode.services.covariates.values import consistent, short, told
from hipnode.storage import Store
from hipnode.storage.ledger.covariates import Refused, Taken


@dataclass(frozen=True, slots=True)
class Whence:
    """In which message or file values stood, and who sent it."""

    source: CovariateSource
    message: str
    given_by: str


def take(store: Store, orders: Iterable[Order], whence: Whence) -> Taken:
    """Keep the values of a message; return what could not be kept, and what came too late.

    Raises
    ------
    StorageUnavailable
        If nothing could be written: then nothing of the message is kept.
    """
    now, found = store.now(), []
    for order in orders:
        patient_ids = {short(each): None for said, _ in order.said for each in said.patient_ids}
        accessions = [number for each in order.accessions if (number := short(each))]
        number = store.desk.covariates.meant(accessions, list(patient_ids))
        for said, why in order.said:
            one = told(
                replace(said, accession_number=number),
                whence.source,
                whence.message,
                whence.given_by,
                now,
            )
            if why and not isinstance(one, Refused):
                one = Refused(one, why)
            found.append(one)
    return store.desk.covariates.add(consistent(found), now)
