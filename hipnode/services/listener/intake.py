"""What becomes of what is received: rules, disk, rows, audit, and the answer to the sender.

0x0000 is only ever returned after the file, its folder and its row have been synced to disk.

References
----------
PS3.4 B.2.3, Table B.2-1: A700 out of resources (the sender may try again), A900 data set does not
match SOP Class, C000 cannot understand (it should not). PS3.7 C.5.17, 0x0122.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from pydicom import Dataset

from hipnode.codes import device_uid
from hipnode.dicom import (
    Elements,
    Limits,
    header_at_the_door,
    known_of,
    open_at_the_door,
    rejection_of,
    uids,
)
from hipnode.dicom.assessment import Assessment, assessment_of
from hipnode.domain import Header, Rejection
from hipnode.errors import DiskFull, HeaderUnusable, InputRefused, StorageUnavailable
from hipnode.faults import Point, reach
from hipnode.services.commitment import take_report
from hipnode.services.listener.body import Body, file_meta
from hipnode.services.listener.command import MAX_COMMENT, StoreRequest
from hipnode.services.listener.peer import Notes, Peer
from hipnode.services.listener.rules import Verdict, decide
from hipnode.services.modelsets import ModelSets
from hipnode.services.rates import Rates
from hipnode.settings import Settings
from hipnode.storage import IncomingFile, Received, Store

SUCCESS: Final = 0x0000
_PAUSE_S: Final = 1.0
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of a C-STORE response, and its Error Comment, cut to what VR LO allows."""

    status: int
    comment: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "comment", self.comment[:MAX_COMMENT])


class TooLarge(InputRefused):
    """The object is larger than the node takes."""


class Endless(Exception):
    """The object does not end, although it was long past what the node takes."""


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
        self.incoming: IncomingFile | None = None
        self.body: Body | None = None
        self.found: Dataset | Elements | None = None  # its header, once it has been read
        self._received_bytes = 0

    def fail(self, trouble: InputRefused | StorageUnavailable | Answer) -> None:
        """Keep the first trouble; what still comes of the object is not written."""
        if self.trouble is None:
            self.trouble = trouble
        self.abandon()

    def write(self, pieces: list[memoryview]) -> None:
        """Write pieces of the data set; they are dropped once there is trouble.

        Raises
        ------
        Endless
            If so much was dropped that waiting for the end, and for the chance to tell the
            sender why, has no point any more. The refusal is on the audit log.
        """
        self._received_bytes += sum(map(len, pieces))
        if self.intake.is_endless(self._received_bytes):
            self.fail(TooLarge())
            self.intake.gave_up(self)
            raise Endless
        if self.body is None:
            return
        try:
            self.body.write(pieces)
        except OSError as error:
            self.fail(StorageUnavailable.of(error))
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
    shadow_only
        Nothing that comes is reported: it is for the model sets in shadow alone.
    """

    def __init__(self, settings: Settings, store: Store, *, shadow_only: bool = False) -> None:
        self._shadow_only = shadow_only
        self.max_object_bytes = settings.listener.max_object_bytes
        self.min_bytes_per_s = settings.listener.min_bytes_per_s
        self._objects = Rates(settings.listener.max_objects_per_minute)
        self._drained_bytes = settings.listener.max_drained_bytes
        self._settings = settings
        listener = settings.listener
        self._limits = Limits(
            size_bytes=listener.max_header_bytes,
            elements=listener.max_header_elements,
            depth=listener.max_header_depth,
            seconds=listener.max_header_s,
        )
        node = settings.node
        self._own_uid = device_uid(node.institution, node.name, node.ae_title)
        self._model_sets = ModelSets(settings.worker, store.desk.choices.confirmed)
        self._opinions = settings.feedback.agree_codes, settings.feedback.disagree_codes
        self._store = store
        self.notes = Notes(store)
        self.pulse = store.pulse

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
        elif not uids.usable(request.sop_instance_uid):
            arrival.fail(HeaderUnusable("the SOP Instance UID is not a UID"))
        if arrival.trouble:
            return arrival
        try:
            self._check_disk()
            arrival.incoming = self._store.files.incoming()
            arrival.body = Body(arrival.incoming.fileno(), file_meta(request, transfer_syntax))
            reach(Point.OBJECT_BEGUN)
        except OSError as error:
            arrival.fail(StorageUnavailable.of(error))
        except StorageUnavailable as error:
            arrival.fail(error)
        return arrival

    def is_endless(self, received_bytes: int) -> bool:
        """Tell whether an object is so large that its end is not waited for."""
        return received_bytes > self.max_object_bytes + self._drained_bytes

    def gave_up(self, arrival: Arrival) -> None:
        """Note that an object was not received to its end."""
        answer = Answer(TooLarge.dimse_status, "(none: the association was aborted)")
        self._refused(arrival, answer, TooLarge.__name__)

    def slow_down(self, peer: Peer) -> None:
        """Let a sender wait for its answer that sends more than its share; refuse it nothing."""
        while pause_s := self._objects.take(peer.address):
            time.sleep(min(pause_s, _PAUSE_S))

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
            self.notes.storage_failed(error)
            self._refused(arrival, answer, type(error).__name__)
        except InputRefused as error:
            answer = Answer(error.dimse_status, str(error))
            self._quarantine(arrival)
            self._refused(arrival, answer, type(error).__name__)
        else:
            self.notes.storage_works()
        return answer

    def _take_in(self, arrival: Arrival) -> Answer:
        body, incoming, peer = arrival.body, arrival.incoming, arrival.peer
        if body is None or incoming is None:
            raise StorageUnavailable
        reach(Point.OBJECT_WHOLE)
        body.start_writeback()  # while the header is read
        dataset = open_at_the_door(incoming.path, incoming.fileno(), self._limits)
        arrival.found = dataset
        header = header_at_the_door(dataset, self._settings.node.assumed_character_set)
        _check_identity(header, arrival.request)
        own = header.device_uid == self._own_uid
        verdict = decide(header, peer.calling_ae, self._settings.rules, own=own)
        rejection = None if own else rejection_of(dataset)
        assessment = None if own else assessment_of(dataset, *self._opinions)
        if rejection is not None:
            verdict = Verdict("keep", 0, "rejection_note")
        if verdict.action != "discard" and not header.series_instance_uid:
            raise HeaderUnusable("The object has no SeriesInstanceUID.")
        path = ""
        if verdict.action != "discard":
            path = self._store.files.keep(incoming, header.sop_instance_uid, body.digest)
            reach(Point.FILE_KEPT)
        self._ingest(arrival, header, verdict, path, body, rejection)
        reach(Point.ROW_COMMITTED)
        if assessment is not None:
            self._hear(assessment, peer)
        if verdict.action == "discard":
            arrival.abandon()
        elif verdict.action == "read":
            peer.studies.add(header.study_instance_uid)
        return Answer(SUCCESS)

    def _hear(self, assessment: Assessment, peer: Peer) -> None:
        """Keep what somebody says of our results; sent again, it counts once."""
        from hipnode.services.opinions.assess import take_assessment  # noqa: PLC0415 - seldom

        take_assessment(self._store, assessment, peer.calling_ae)

    def _ingest(
        self,
        arrival: Arrival,
        header: Header,
        verdict: Verdict,
        path: str,
        body: Body,
        rejection: Rejection | None,
    ) -> None:
        peer = arrival.peer
        chosen = self._model_sets.choose(header.facts(peer.calling_ae))
        self._store.ledger.ingest(
            Received(
                header=header,
                calling_ae=peer.calling_ae,
                called_ae=peer.called_ae,
                peer_address=peer.address,
                path=path,
                digest=body.digest,
                size_bytes=body.size_bytes,
                association_id=peer.association_id,
                rejection=rejection,
            ),
            action=verdict.action,
            priority=verdict.priority,
            model_sets=() if self._shadow_only else (chosen.reported,),
            shadows=chosen.shadows,
            quiet_s=self._settings.report.quiet_s,
        )
        if verdict.action != "discard":
            self.notes.stored(peer, body.size_bytes)

    def _quarantine(self, arrival: Arrival) -> None:
        """Keep what the sender will not send again, for a person to look at."""
        if arrival.incoming is None:
            return
        try:
            arrival.incoming.sync()
            self._store.files.quarantine(arrival.incoming.path)
        except StorageUnavailable as error:
            self.notes.storage_failed(error)
        finally:
            arrival.abandon()

    def _check_disk(self) -> None:
        self._store.files.tidy()
        free_bytes = self._store.files.free_bytes()
        low = free_bytes < self._settings.retention.disk_low_bytes
        self.notes.disk(free_bytes, low=low)
        if low:
            raise DiskFull

    def _refused(self, arrival: Arrival, answer: Answer, reason: str) -> None:
        assumed = self._settings.node.assumed_character_set
        self.notes.object_refused(
            arrival.peer,
            arrival.request.sop_instance_uid,
            answer.status,
            reason,
            known_of(arrival.found, assumed) if arrival.found is not None else {},
            sentence=answer.comment,
            sop_class=arrival.request.sop_class_uid,
            transfer_syntax=arrival.transfer_syntax,
        )

    def reported(self, peer: Peer, event_type: int | None, report: Dataset) -> int:
        """Take a destination's answer about storage commitment; return the response's status."""
        return take_report(self._store, event_type, report, peer.calling_ae)

    def released(self, peer: Peer) -> None:
        """Have the association's studies reported at once, where the settings say so."""
        if not (self._settings.report.report_on_release and peer.studies):
            return
        try:
            self._store.ledger.release(sorted(peer.studies))
        except StorageUnavailable as error:  # then the quiet period decides
            self.notes.storage_failed(error)


def _check_identity(header: Header, request: StoreRequest) -> None:
    """Refuse an object that is another than its request says (PS3.4 B.2.3, A9xx)."""
    if header.sop_instance_uid != request.sop_instance_uid:
        raise HeaderUnusable("the SOP Instance UID is not that of the C-STORE request")
    if header.sop_class_uid != request.sop_class_uid:
        raise HeaderUnusable("the SOP Class UID is not that of the C-STORE request")
