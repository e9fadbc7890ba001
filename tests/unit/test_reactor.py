"""No answer is lost to an association's own thread, however late that is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association

from hipnode.services.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from hipnode.services.reactor import steady

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
NAMES = [f"NAME{number}" for number in range(5)]


class Late:
    """An association whose reactor is late to note that it goes on, as on a busy machine."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_is_paused" and value is False:
            time.sleep(0.1)
        super().__setattr__(name, value)


def late(association: Association) -> None:
    association.__class__ = type("Late", (Late, type(association)), {})


def _matches(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
    event.assoc.send_n_event_report(_asked(), 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    for name in NAMES:
        found = Dataset()
        found.QueryRetrieveLevel, found.PatientName = "STUDY", name
        yield 0xFF00, found


@pytest.fixture
def association() -> Iterator[Association]:
    peer = AE("PEER")
    peer.add_supported_context(FIND)
    peer.add_supported_context(PUSH_MODEL)
    server = peer.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, _matches)]
    )
    caller = AE("CALLER")
    caller.dimse_timeout = 5
    caller.add_requested_context(FIND)
    caller.add_requested_context(PUSH_MODEL)
    reported = [(evt.EVT_N_EVENT_REPORT, lambda _: (0x0000, None))]
    made = caller.associate(*server.server_address, evt_handlers=reported)
    assert made.is_established
    yield made
    made.abort()
    server.shutdown()


def _asked() -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.PatientName = "STUDY", ""
    return asked


def _found(association: Association) -> list[str]:
    found = []
    for status, match in association.send_c_find(_asked(), FIND):
        time.sleep(0.05)  # whoever asks is busy, too
        if status.get("Status") == 0xFF00 and match:
            found.append(str(match.PatientName))
    return found


def test_each_match_reaches_who_asked(association: Association) -> None:
    late(steady(association))
    for _ in range(3):
        assert _found(association) == NAMES


def test_a_report_served_beside_it_ends_no_pause(association: Association) -> None:
    """Its thread ends when the reactor is held: who then waits for the pause has it at once."""
    steady(association)
    matches = association.send_c_find(_asked(), FIND)
    next(matches)
    time.sleep(0.2)
    releasing = threading.Thread(target=association.release, daemon=True)
    releasing.start()
    releasing.join(5)
    assert association.is_released


def test_one_that_is_gone_holds_nobody_up(association: Association) -> None:
    steady(association)
    association.abort()
    with pytest.raises(RuntimeError, match="association"):
        _found(association)
