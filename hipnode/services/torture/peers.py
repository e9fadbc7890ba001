"""Who a tortured node talks to: a modality that counts, and an archive that notes every object."""

from __future__ import annotations

import copy
import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset, dcmread
from pydicom.uid import Comprehensive3DSRStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import StoragePresentationContexts, build_context

from hipnode.services.reactor import steady

SAMPLES: Final = sorted((Path(__file__).parents[2] / "phantom" / "samples").glob("*.dcm"))
HOST: Final = "127.0.0.1"
AE_TITLE: Final = "HIPNODE"
_AHEAD: Final = 8
_VERIFICATION: Final = "1.2.840.10008.1.1"


def image(number: int) -> Dataset:
    """Return a simulated radiograph that nobody has seen, the only one of its study."""
    made = copy.deepcopy(dcmread(SAMPLES[number % len(SAMPLES)]))
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    return made


def small_images(count: int) -> Iterator[Dataset]:
    """Yield so many images of one study, too small to show a hip: each is read, and refused."""
    made = image(0)
    side = 64
    made.Rows = made.Columns = side
    made.PixelData = made.PixelData[: side * side * made.BitsAllocated // 8]
    for number in range(count):
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        made.InstanceNumber = number + 1
        yield made


class Archive:
    """Takes whatever it is sent, and notes it."""

    def __init__(self) -> None:
        self.contents: dict[str, set[str]] = defaultdict(set)  # by SOP Instance UID
        self.objects: dict[str, set[str]] = defaultdict(set)  # by Study Instance UID
        self._evidence: dict[str, int] = {}  # images, of the newest object of each study
        self._lock = threading.Lock()
        ae = AE("ARCHIVE")
        ae.supported_contexts = StoragePresentationContexts
        ae.add_supported_context(Comprehensive3DSRStorage)
        ae.add_supported_context(_VERIFICATION)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._take)]
        server: Any = ae.start_server((HOST, 0), block=False, evt_handlers=handlers)
        self._server = server
        self.port = int(self._server.server_address[1])

    def _take(self, event: evt.Event) -> int:
        request: Any = event.request
        uid, data = str(request.AffectedSOPInstanceUID), request.DataSet.getvalue()
        with self._lock:
            self.contents[uid].add(hashlib.sha256(data).hexdigest())
            self.objects[str(event.dataset.StudyInstanceUID)].add(uid)
            self._evidence[str(event.dataset.StudyInstanceUID)] = _images_in(event.dataset)
        return 0x0000

    def newest_evidence(self, studies: set[str]) -> int:
        """Return how many images the newest report of each of these studies is made from."""
        with self._lock:
            return sum(self._evidence.get(study, 0) for study in studies)

    def lost(self, studies: set[str]) -> int:
        """Return how many of the studies have no report here."""
        with self._lock:
            return sum(not self.objects[study] for study in studies)

    def doubled(self) -> int:
        """Return how many studies have more than one report, or reports more than one content."""
        with self._lock:
            many = sum(len(uids) > 1 for uids in self.objects.values())
            return many + sum(len(found) > 1 for found in self.contents.values())

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()


def _images_in(document: Dataset) -> int:
    """Return how many images a document has as its evidence (PS3.3 C.17.2)."""
    return sum(
        len(series.ReferencedSOPSequence)
        for study in document.get("CurrentRequestedProcedureEvidenceSequence", [])
        for series in study.ReferencedSeriesSequence
    )


class Modality(threading.Thread):
    """Sends an image now and then, each again until it is acknowledged.

    Parameters
    ----------
    port
        The node's.
    every_s
        How long it waits after each.
    archive
        Where reports go: while many of its images have none, it waits with the next.
    """

    def __init__(
        self,
        port: int,
        every_s: float = 3.0,
        calling: str = "MODALITY",
        archive: Archive | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self.acknowledged: set[str] = set()  # Study Instance UIDs
        self.tries = 0
        self.stopping = threading.Event()
        self._port = port
        self._every_s = every_s
        self._calling = calling
        self._archive = archive

    def run(self) -> None:
        """Send until told to stop, and the last one to its end."""
        number = 0
        while not self.stopping.is_set():
            one = image(number)
            while self.send(one) != 0:
                time.sleep(0.2)
            number += 1
            self.stopping.wait(self._every_s)
            while self._is_ahead() and not self.stopping.wait(1.0):
                pass

    def _is_ahead(self) -> bool:
        """Tell whether it sends faster than this machine reads."""
        return self._archive is not None and self._archive.lost(self.acknowledged) > _AHEAD

    def send_all(self, images: Iterable[Dataset]) -> int:
        """Send images on one association, until it breaks; return how many were acknowledged."""
        taken = 0
        association: Association | None = None
        for one in images:
            self.tries += 1
            association = association or _associated(self._port, self._calling, one, 60.0)
            status = _stored(association, one)
            if status is None:
                break
            if status == 0:
                self.acknowledged.add(str(one.StudyInstanceUID))
                taken += 1
        if association:
            association.release()
        return taken

    def send(self, one: Dataset, timeout_s: float = 20.0) -> int | None:
        """Send one image once; return its status, None where there was no answer."""
        self.tries += 1
        status = _answer(self._port, self._calling, one, timeout_s)
        if status == 0:
            self.acknowledged.add(str(one.StudyInstanceUID))
        return status


def _associated(port: int, calling: str, one: Dataset, timeout_s: float) -> Association:
    ae = AE(calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    context = build_context(one.SOPClassUID, one.file_meta.TransferSyntaxUID)
    return steady(ae.associate(HOST, port, [context], ae_title=AE_TITLE))


def _stored(association: Association, one: Dataset) -> int | None:
    """Return the status of an image that is sent; None where there was no answer."""
    if not association.is_established:
        return None
    try:
        answer: int | None = association.send_c_store(one).get("Status")
    except (RuntimeError, ValueError):  # the node died in the middle
        return None
    return answer


def _answer(port: int, calling: str, one: Dataset, timeout_s: float) -> int | None:
    association = _associated(port, calling, one, timeout_s)
    try:
        return _stored(association, one)
    finally:
        association.release()


def echo_s(port: int, calling: str = "OTHER") -> float:
    """Return how many seconds another sender's association with one C-ECHO takes."""
    began_s = time.monotonic()
    ae = AE(calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 120
    association = ae.associate(HOST, port, [build_context(_VERIFICATION)], ae_title=AE_TITLE)
    if association.is_established:
        association.send_c_echo()
        association.release()
    return time.monotonic() - began_s
