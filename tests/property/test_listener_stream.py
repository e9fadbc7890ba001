"""However a data set is cut up on its way, its bytes arrive: by the fast path and pynetdicom's."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hipnode.services.listener.command import CommandInvalid, fragments, parse, store_response
from hipnode.services.listener.intake import Intake
from hipnode.services.listener.server import NodeServer
from hipnode.settings import Settings
from hipnode.storage import Store
from tests.examples import examples
from tests.protocol.objects import DX, encoded, radiograph
from tests.protocol.wire import Wire, fragmented, p_data, store_rq


class Receiver:
    """A listening server, and the files that it took."""

    def __init__(self, folder: Path, *, streaming: bool) -> None:
        effective = Settings.model_validate(
            {
                "node": {"data_dir": folder},
                "listener": {"port": 0, "accept_any_caller": True},
                "retention": {"disk_low_bytes": 0},
                "rules": [{"action": "keep"}],
            }
        )
        self.store = Store.open(effective, migrate=True)
        self.server = NodeServer(effective, Intake(effective, self.store), streaming=streaming)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.1,))
        self.thread.start()

    def close(self) -> None:
        self.server.stop(1)
        self.thread.join()
        self.store.close()

    def data_set(self, sop_instance_uid: str, study_uid: str) -> bytes:
        (kept,) = self.store.lookups.instances(study_uid)
        assert kept.header.sop_instance_uid == sop_instance_uid
        content = self.store.files.path(kept.path).read_bytes()
        assert blake3(content).hexdigest() == kept.digest
        return content[144 + int.from_bytes(content[140:144], "little") :]


@pytest.fixture(scope="module", params=[True, False], ids=["streaming", "pynetdicom"])
def receiver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Receiver]:
    made = Receiver(tmp_path_factory.mktemp("node"), streaming=request.param)
    yield made
    made.close()


def cuts(seed: int, total: int, most: int) -> list[int]:
    """Return random fragment sizes, zero-length ones among them."""
    chance = random.Random(seed)  # noqa: S311
    sizes: list[int] = []
    while sum(sizes) < total:
        sizes.append(chance.choice([0, 1, 2, chance.randint(0, most), most]))
    sizes[-1] -= sum(sizes) - total
    return sizes


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 700),
    most=st.sampled_from([16, 300, 4096, 16_384, 131_066]),
    together=st.integers(1, 6),
    segment=st.sampled_from([1, 7, 1460, 65_536, 3_000_000]),
)
def test_the_same_bytes_arrive(
    receiver: Receiver, seed: int, rows: int, most: int, together: int, segment: int
) -> None:
    small = most < 1000 or segment < 1000
    ds = radiograph(min(rows, 20) if small else rows, 40 if small else 1000)
    data = encoded(ds)
    pdvs = fragmented(1, True, store_rq(DX, ds.SOPInstanceUID), cuts(seed, 90, 40))
    if seed % 2:  # command and data set may share a PDU
        pdvs += fragmented(1, False, data, cuts(seed + 1, len(data), most))
        pdus = [p_data(*pdvs[i : i + together]) for i in range(0, len(pdvs), together)]
    else:
        rest = fragmented(1, False, data, cuts(seed + 1, len(data), most))
        pdus = [p_data(pdv) for pdv in pdvs]
        pdus += [p_data(*rest[i : i + together]) for i in range(0, len(rest), together)]
    stream = b"".join(pdus)
    with Wire(receiver.server.port) as wire:
        wire.associate()
        for start in range(0, len(stream), segment):
            wire.send(stream[start : start + segment])
        assert wire.status() == 0
        wire.release()
    assert receiver.data_set(ds.SOPInstanceUID, ds.StudyInstanceUID) == data


def test_thousands_of_single_bytes_arrive(receiver: Receiver) -> None:
    ds = radiograph(60, 40)
    data = encoded(ds)
    with Wire(receiver.server.port) as wire:
        wire.associate()
        wire.send(p_data(*fragmented(1, True, store_rq(DX, ds.SOPInstanceUID), [1000])))
        wire.send(p_data(*fragmented(1, False, data, [1] * len(data))))
        assert wire.status() == 0
        wire.release()
    assert receiver.data_set(ds.SOPInstanceUID, ds.StudyInstanceUID) == data


def test_many_objects_in_one_stream(receiver: Receiver) -> None:
    """Nobody waits for answers: one object's end and the next one's start share a buffer."""
    objects = [radiograph(100 + 37 * n, 500) for n in range(12)]
    stream = b""
    for ds in objects:
        for command, value in ((True, store_rq(DX, ds.SOPInstanceUID)), (False, encoded(ds))):
            stream += b"".join(
                map(p_data, fragmented(1, command, value, cuts(7, len(value), 30_000)))
            )
    with Wire(receiver.server.port) as wire:
        wire.associate()
        sender = threading.Thread(target=wire.send, args=(stream,))
        sender.start()
        assert [wire.status() for _ in objects] == [0] * len(objects)
        sender.join()
        wire.release()
    for ds in objects:
        assert receiver.data_set(ds.SOPInstanceUID, ds.StudyInstanceUID) == encoded(ds)


@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(noise=st.binary(min_size=1, max_size=3000))
def test_noise_never_stops_the_listener(receiver: Receiver, noise: bytes) -> None:
    with Wire(receiver.server.port, timeout_s=5) as wire:
        wire.associate()
        try:
            wire.send(noise)
            wire.socket.shutdown(1)
            assert wire.closed()
        except ConnectionError:
            pass
    with Wire(receiver.server.port) as wire:
        wire.associate()
        wire.release()


@given(st.binary(max_size=200))
def test_command_sets_are_parsed_or_refused(noise: bytes) -> None:
    with contextlib.suppress(CommandInvalid):
        parse(noise, 1)


@given(
    message_id=st.integers(0, 65535),
    status=st.integers(0, 65535),
    comment=st.text(max_size=100),
    length=st.sampled_from([0, 8, 100, 16_382]),
)
def test_a_response_is_what_pydicom_reads(
    message_id: int, status: int, comment: str, length: int
) -> None:
    from io import BytesIO

    from pynetdicom.dsutils import decode

    request = parse(store_rq(DX, "1.2.3", message_id), 5)
    assert request is not None
    encoded_command = store_response(request, status, comment)
    found = decode(BytesIO(encoded_command), True, True)
    assert (found.Status, found.MessageIDBeingRespondedTo) == (status, message_id)
    assert (found.AffectedSOPClassUID, found.AffectedSOPInstanceUID) == (DX, "1.2.3")
    assert found.CommandGroupLength == len(encoded_command) - 12
    pdus = list(fragments(encoded_command, 5, length))
    assert all(not length or len(pdu) - 6 <= length for pdu in pdus)
    assert b"".join(pdu[12:] for pdu in pdus) == encoded_command
