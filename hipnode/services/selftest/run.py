"""Goes with a self-test from step to step. Any number of couriers may: each step is idempotent."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from io import BytesIO
from typing import Any, Final

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from hipnode.answers.selftest import judged
from hipnode.domain.selftest import SelfTest, SelfTestState, matter
from hipnode.errors import (
    DestinationRefused,
    DestinationUnreachable,
    HipnodeError,
    StorageUnavailable,
)
from hipnode.log import Event, get_logger
from hipnode.services.courier.ways.dimse import application_entity, associate, meaning, tls_of
from hipnode.services.courier.ways.way import Answer
from hipnode.services.history.query import FIND, objects
from hipnode.services.selftest import making
from hipnode.settings import DestinationSettings, Settings
from hipnode.storage import Store

_EVERY_S: Final = 2.0
_MAKING_S: Final = 300.0
_AGAIN_S: Final = 60.0
"""After how long what the PACS did not take is sent again."""
_ASK_S: Final = 5.0
"""How often the PACS is asked whether it shows the report by now."""


class Runner:
    """Makes, sends, watches, looks for and takes back.

    Parameters
    ----------
    settings
        The node's; ``self_test.send_to`` names a destination.
    store
        The node's memory.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        chosen = settings.self_test
        self._settings = settings
        self._store = store
        self._tests = store.self_tests
        self._pacs = _place(settings, chosen.send_to)
        self._seen_at = _place(settings, chosen.seen_at or chosen.send_to)
        self._again_s: dict[tuple[str, int], float] = {}
        self._log = get_logger(service="courier", destination=self._pacs.name)

    def run(self, stop: threading.Event) -> None:
        """Go on with whatever is open, until ``stop`` is set."""
        pulse = self._store.pulse
        limit_s = _MAKING_S + 4 * self._pacs.timeout_s
        while not stop.wait(_EVERY_S):
            pulse.went_round(limit_s)
            try:
                self.go_on()
            except StorageUnavailable as error:
                self._log.error(Event.DATABASE_WENT_AWAY, reason=str(error))
        pulse.forget()

    def go_on(self) -> None:
        """Take each open self-test one step further, and withdraw what has ended.

        Raises
        ------
        StorageUnavailable
            If the database cannot be used.
        """
        for test in self._tests.open():
            if test.state is SelfTestState.ASKED:
                self._send(test)
            else:
                self._watch(test)
        self._end_late()
        for test in self._tests.to_withdraw():
            self._withdraw(test)
        self._tests.take_back(making.TITLE, self._pacs.ae_title)

    # --- out ----------------------------------------------------------------------------------

    def _send(self, test: SelfTest) -> None:
        if not self._is_time("send", test, _AGAIN_S):
            return
        with self._store.pulse.doing("drawing a phantom", _MAKING_S):
            made = making.image(test, self._settings)
        self._tests.note(test, pixels=made.pixels)  # before it leaves: it may be back at once
        try:
            self._store_at_pacs(made.file)
        except (DestinationUnreachable, DestinationRefused) as error:
            self._tests.note(test, why=f"the PACS has not taken the image: {error}")
        else:
            now = self._store.now()
            self._tests.note(test, state=SelfTestState.SENT.value, sent_utc=now, why="")

    def _store_at_pacs(self, file: bytes) -> None:
        ds = dcmread(BytesIO(file))
        ae = application_entity(self._pacs, self._settings.node.ae_title)
        ae.ae_title = self._settings.self_test.calling_ae_title
        ae.add_requested_context(ds.SOPClassUID, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        association = associate(ae, self._pacs, tls_of(self._pacs))
        try:
            answer: Any = association.send_c_store(ds)
        finally:
            association.release()
        status = answer.get("Status")
        if status is None:
            raise DestinationUnreachable("no answer to C-STORE")
        if meaning(int(status)) is not Answer.TAKEN:
            raise DestinationRefused(f"it answers 0x{int(status):04X} to C-STORE")

    def _withdraw(self, test: SelfTest) -> None:
        """Send the note that takes the image back; a PACS that refuses is asked again later."""
        if not self._is_time("withdraw", test, _AGAIN_S * (60 if test.not_withdrawn else 1)):
            return
        with self._store.pulse.doing("making a rejection note", _MAKING_S):
            made = making.note(test, self._settings)
        try:
            self._store_at_pacs(made.file)
        except (DestinationUnreachable, DestinationRefused) as error:
            self._tests.withdrawn(test, str(error))
        else:
            self._tests.withdrawn(test)

    # --- back ---------------------------------------------------------------------------------

    def _watch(self, test: SelfTest) -> None:
        """Note what has come back by now; it ends once the PACS shows the report."""
        values = {} if test.read_utc else self._read(test)
        delivered, taken = self._tests.delivered(test, self._seen_at.name)
        if delivered and not test.delivered_utc:
            values["delivered_utc"] = delivered
        if values:
            self._tests.note(test, **values)
        has_read = bool(test.read_utc or values.get("read_utc"))
        if not (delivered and has_read and self._is_time("find", test, _ASK_S)):
            return
        try:
            missing = taken - self._shown(test.study_uid)
        except (DestinationUnreachable, DestinationRefused) as error:
            self._tests.note(test, why=f"the PACS cannot be asked: {error}")
            return
        if missing:
            self._tests.note(test, why=f"the PACS does not show {len(missing)} of its objects")
            return
        self._tests.note(test, seen_utc=self._store.now(), why="")
        right = bool(values.get("is_right", test.is_right))
        said = values.get("said", test.said)
        wanted = self._settings.self_test.expect == "right"
        self._tests.end(test, f"read wrong: {said}" if wanted and not right else "")

    def _read(self, test: SelfTest) -> dict[str, Any]:
        """Return what is known of its image's arrival and reading."""
        try:
            came = self._store.lookups.instances(test.study_uid)
        except KeyError:
            return {}
        mine = [each for each in came if each.header.sop_instance_uid == test.sop_uid]
        if not mine:
            return {}
        values: dict[str, Any] = {"came_utc": mine[0].received_utc}
        report = self._store.self_tests.reported(test)
        if report is None:
            return values
        made = [found for _, found in self._store.readings.of_study(test.study_uid, report)]
        if not made:
            return values
        right, said = judged(matter(test.matter), made)
        if test.sop_uid not in self._tests.images([test.sop_uid]):
            right, said = False, f"its picture came back changed; {said}"
        return values | {"read_utc": self._store.now(), "said": said, "is_right": right}

    def _shown(self, study_uid: str) -> frozenset[str]:
        place = self._seen_at
        ae = application_entity(place, self._settings.node.ae_title)
        ae.add_requested_context(FIND)
        association = associate(ae, place, tls_of(place))
        try:
            return objects(association, study_uid)
        finally:
            association.release()

    def _end_late(self) -> None:
        within = timedelta(seconds=self._settings.self_test.within_s)
        for test in self._tests.open():
            if self._store.now() - test.asked_utc > within:
                self._tests.end(test, test.why or _where(test))

    def _is_time(self, what: str, test: SelfTest, every_s: float) -> bool:
        """Tell whether to try again by now."""
        now_s, key = time.monotonic(), (what, test.id)
        if now_s < self._again_s.get(key, 0.0):
            return False
        self._again_s[key] = now_s + every_s
        return True


def _where(test: SelfTest) -> str:
    """Return in words how far it came."""
    if not test.sent_utc:
        return "the image was not sent"
    if not test.came_utc:
        return "the PACS did not route the image back to this node"
    if not test.read_utc:
        return "the image came back and was not read"
    if not test.delivered_utc:
        return "its report was not delivered"
    return "the PACS does not show its report"


def _place(settings: Settings, name: str) -> DestinationSettings:
    place = settings.archive(name)
    if place is None:
        raise HipnodeError("self_test.send_to names no destination")
    return place
