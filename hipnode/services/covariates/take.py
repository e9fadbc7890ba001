"""Values that came are checked, kept and put on the audit log, each of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hipnode.domain import CovariateSource, Told
from hipnode.services.covariates.message import Order
from hipnode.services.covariates.values import consistent, short, told
from hipnode.storage import Store
from hipnode.storage.ledger.covariates import Refused, Taken

_PART: Final = 200


@dataclass(frozen=True, slots=True)
class Whence:
    """In which message or file values stood, and who sent it."""

    source: CovariateSource
    message: str
    given_by: str


def checked(store: Store, orders: Iterable[Order], whence: Whence) -> list[Told | Refused]:
    """Return the values of a message or file, or why each cannot be kept."""
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
    return found


def take(store: Store, orders: Iterable[Order], whence: Whence) -> Taken:
    """Keep the values of a message; return what could not be kept, and what came too late.

    Raises
    ------
    StorageUnavailable
        If nothing could be written: then nothing of the message is kept.
    """
    found = consistent(checked(store, orders, whence))
    return store.desk.covariates.add(found, store.now())


def take_file(store: Store, found: Sequence[Told | Refused]) -> Taken:
    """Keep the values of a file, a part at a time: images that come do not wait for all of it.

    Raises
    ------
    StorageUnavailable
        If it could not be written: the parts before are kept, and the file can be taken in again.
    """
    values, refused, late = consistent(found), list[Refused](), dict[str, None]()
    for start in range(0, len(values), _PART):
        taken = store.desk.covariates.add(values[start : start + _PART], store.now())
        refused += [replace(one, at=start + one.at) for one in taken.refused]
        late |= dict.fromkeys(taken.late)
    return Taken(tuple(refused), tuple(late))
