"""One destination's deliveries: one object at a time, in the order of its outbox.

A destination that is away or busy costs an object nothing: its whole outbox waits, and goes out in
order when it is back. An object that a destination refuses is tried again, then quarantined. An SR
in a SOP Class that it does not take is sent in the next one that the settings allow.

References
----------
PS3.4 B.2.3, statuses of C-STORE. PS3.3 A.35.3, Comprehensive SR; A.35.13, Comprehensive 3D SR.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hipnode.domain import AuditEvent, AuditRecord, Job, Outcome, Result
from hipnode.errors import (
    DestinationBusy,
    DestinationRefused,
    DestinationRejects,
    DestinationUnreachable,
    HipnodeError,
    StorageUnavailable,
)
from hipnode.faults import Point, reach
from hipnode.log import Event, get_logger
from hipnode.services.courier.ways import Answer, way_to
from hipnode.services.courier.ways.way import SR_CLASSES
from hipnode.settings import AnyDestination
from hipnode.storage import Store

_IDLE_S: Final = 2.0
"""An association without work is released after this long: PACSs have few to give."""


class ResultDamaged(HipnodeError):
    """The result's file is not the one that was made."""


class SopClassRefused(DestinationRefused):
    """The destination takes the object in none of the SOP Classes that it exists in."""


class Deliveries:
    """Handles the delivery jobs of one destination.

    Parameters
    ----------
    destination
        Its settings.
    ae_title
        The node's AE title.
    store
        Where results and jobs are.
    """

    def __init__(self, destination: AnyDestination, ae_title: str, store: Store) -> None:
        self._destination = destination
        self._store = store
        self._way = way_to(destination, ae_title)
        self._lock = threading.Lock()
        self._used_s = 0.0
        self._away = False
        self._log = get_logger(service="courier", destination=destination.name)

    def handle(self, job: Job) -> None:
        """Deliver one object, or tell the ledger why not.

        Raises
        ------
        LeaseLost
            If the job is somebody else's by now.
        StorageUnavailable
            If the result cannot be read now, or the ledger cannot be told.
        """
        began_s = time.monotonic()
        try:
            reach(Point.DELIVERY_CLAIMED)
            with self._lock:
                self._deliver(job)
        except (DestinationUnreachable, DestinationBusy) as error:
            self._way.close()
            self._note_away(str(error))
            rejected = isinstance(error, DestinationRejects)
            self._store.recovery.retry(job, str(error), count_attempt=False, rejected=rejected)
        except ResultDamaged as error:
            self._failed(job, str(error))
            self._store.recovery.quarantine(job, str(error))
        except DestinationRefused as error:
            self._note_back()
            self._failed(job, str(error))
            self._store.recovery.retry(job, str(error))
        else:
            self._note_back()
            took_ms = round((time.monotonic() - began_s) * 1000)
            self._log.info(Event.JOB_FINISHED, job_id=job.id, duration_ms=took_ms)

    def release_when_idle(self) -> None:
        """Release the association if it has not been used for a while."""
        if not self._lock.acquire(blocking=False):
            return  # it is being used
        try:
            if self._way.is_open and time.monotonic() - self._used_s > _IDLE_S:
                self._way.close()
        finally:
            self._lock.release()

    def close(self) -> None:
        """Release the association."""
        with self._lock:
            self._way.close()

    # --- one object ---------------------------------------------------------------------------

    def _deliver(self, job: Job) -> None:
        made = self._store.lookups.result(job.result_id or 0)
        self._way.open()
        for candidate in self._candidates(job, made):
            status = self._send(candidate)
            if status is None:
                continue
            reach(Point.OBJECT_TAKEN)
            if candidate is not made:
                self._note_fall_back(job, made, candidate)
            self._store.ledger.finish_delivery(
                job,
                status=status,
                sop_class_uid=candidate.sop_class_uid,
                peer=self._destination.peer,
                sop_instance_uid=candidate.sop_instance_uid,
                commit=self._destination.commits,
            )
            return
        raise SopClassRefused

    def _send(self, made: Result) -> str | None:
        """Send an object; return the status that took it, or None if its SOP Class is refused."""
        if not self._way.accepts(made.sop_class_uid):
            return None
        reply = self._way.send(self._intact(made))
        self._used_s = time.monotonic()
        match reply.answer:
            case Answer.TAKEN:
                return reply.status
            case Answer.CLASS_REFUSED:
                return None
            case Answer.BUSY:
                raise DestinationBusy(f"the destination is out of resources ({reply.status})")
            case _:
                raise DestinationRefused(f"the destination refused the object ({reply.status})")

    def _intact(self, made: Result) -> Path:
        path = self._store.files.path(made.path)
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise ResultDamaged("The result's file is gone.") from error
        except OSError as error:
            raise StorageUnavailable(f"A result cannot be read: {error.strerror}.") from error
        if digest != made.sha256:
            raise ResultDamaged
        return path

    def _candidates(self, job: Job, made: Result) -> Iterator[Result]:
        """Yield the object, then the same in each SOP Class that may be sent instead."""
        yield made
        wanted = [SR_CLASSES[name] for name in self._destination.sr_classes]
        if made.sop_class_uid not in wanted:
            return
        others = self._store.lookups.results(
            made.study_instance_uid, model_set=job.model_set, version=made.version
        )
        by_class = _twins(made, [r for r in others if r.kind is made.kind])
        after = wanted[wanted.index(made.sop_class_uid) + 1 :]
        yield from (by_class[uid] for uid in after if uid in by_class)

    # --- notes --------------------------------------------------------------------------------

    def _note_fall_back(self, job: Job, made: Result, sent: Result) -> None:
        self._log.warning(Event.DELIVERY_FELL_BACK, job_id=job.id, sop_class=sent.sop_class_uid)
        self._store.audit.append(
            AuditRecord(
                AuditEvent.DELIVERY_FELL_BACK,
                actor="courier",
                study_instance_uid=sent.study_instance_uid,
                sop_instance_uid=sent.sop_instance_uid,
                ae_title=self._destination.peer,
                job_id=job.id,
                detail={
                    "destination": self._destination.name,
                    "refused_class": made.sop_class_uid,
                    "refused_instance": made.sop_instance_uid,
                    "sop_class": sent.sop_class_uid,
                },
            )
        )

    def _failed(self, job: Job, reason: str) -> None:
        self._log.warning(Event.JOB_FAILED, job_id=job.id, reason=reason)
        self._store.audit.append(
            AuditRecord(
                AuditEvent.DELIVERY_FAILED,
                Outcome.FAILED,
                actor="courier",
                study_instance_uid=job.study_instance_uid,
                ae_title=self._destination.peer,
                job_id=job.id,
                detail={"destination": self._destination.name, "reason": reason},
            )
        )

    def _note_away(self, reason: str) -> None:
        if not self._away:
            self._away = True
            self._log.warning(Event.DESTINATION_WENT_AWAY, reason=reason)

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            self._log.info(Event.DESTINATION_CAME_BACK)


def _twins(made: Result, alike: Sequence[Result]) -> dict[str, Result]:
    """Return the same document in other SOP Classes, by class.

    A study with images of several patients has as many documents, each with its twins in a row:
    a SOP Class that comes again begins the next one.
    """
    twins: dict[str, Result] = {}
    for result in alike:
        if result.sop_class_uid in twins:
            if made.id in {twin.id for twin in twins.values()}:
                break
            twins = {}
        twins[result.sop_class_uid] = result
    return twins
