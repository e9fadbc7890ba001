"""Two clients: one that has every PDU ready before the clock starts, and dcmtk's own `dcmsend`."""

from __future__ import annotations

import multiprocessing
import os
import struct
import subprocess
import time
from pathlib import Path
from typing import Final

from pydicom import Dataset

from tests.bench import objects
from tests.peers import end_with_the_tests, require
from tests.protocol.wire import Wire, p_data, pdv, store_rq

_FORK: Final = multiprocessing.get_context("fork")


def max_length(accepted: bytes) -> int:
    """Return the largest PDU that the acceptor takes, from its A-ASSOCIATE-AC (PS3.8 D.1.1)."""
    at = accepted.index(b"\x51\x00\x00\x04", 68)
    (length,) = struct.unpack_from(">I", accepted, at + 4)
    return int(length) or 131072


class Framed:
    """One object as the bytes of a whole C-STORE; each sending only puts other UIDs in.

    Parameters
    ----------
    dataset
        Made by `objects.image`.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.sop_class = str(dataset.SOPClassUID)
        self.syntax = str(dataset.file_meta.TransferSyntaxUID)
        self.data = objects.encoded(dataset)
        self._made: dict[int, tuple[bytearray, list[int], list[int]]] = {}

    def message(self, pdu_bytes: int, instance: str, study: str) -> bytearray:
        """Return a C-STORE for a receiver of PDUs of this size; overwritten by the next call."""
        if pdu_bytes not in self._made:
            self._made[pdu_bytes] = self._frame(pdu_bytes)
        message, instances, studies = self._made[pdu_bytes]
        for at in instances:
            message[at : at + len(instance)] = instance.encode()
        for at in studies:
            message[at : at + len(study)] = study.encode()
        return message

    def _frame(self, pdu_bytes: int) -> tuple[bytearray, list[int], list[int]]:
        step = pdu_bytes - 6
        pieces = [self.data[i : i + step] for i in range(0, len(self.data), step)]
        framed = bytearray(p_data(pdv(1, 3, store_rq(self.sop_class, objects.INSTANCE))))
        for i, piece in enumerate(pieces):
            framed += p_data(pdv(1, 2 if i == len(pieces) - 1 else 0, piece))
        return (
            framed,
            _places(framed, objects.INSTANCE.encode()),
            _places(framed, objects.STUDY.encode()),
        )

    def send(self, port: int, called: str, count: int, label: str) -> float:
        """Send ``count`` objects in one association; return the seconds from first to last."""
        with Wire(port, timeout_s=120) as wire:
            accepted = wire.associate(
                contexts=((self.sop_class, (self.syntax,)),), called=called, max_length=131072
            )
            pdu_bytes = min(131072, max_length(accepted))
            self.message(pdu_bytes, objects.INSTANCE, objects.STUDY)
            start_s = time.perf_counter()
            for number in range(count):
                instance = objects.fresh_uid(label, number)
                study = objects.fresh_uid(label, "study", number // 2)
                wire.send(self.message(pdu_bytes, instance, study))
                status = wire.status()
                if status != 0:
                    raise RuntimeError(f"C-STORE answered {status:#06x}")
            took_s = time.perf_counter() - start_s
            wire.release()
        return took_s

    def send_parallel(
        self, port: int, called: str, count: int, label: str, associations: int
    ) -> float:
        """Send ``count`` objects in each of several associations, from processes; seconds."""
        if associations == 1:
            return self.send(port, called, count, label)
        barrier = _FORK.Barrier(associations + 1)
        failures = _FORK.SimpleQueue()

        def one(number: int) -> None:
            barrier.wait()
            try:
                self.send(port, called, count, f"{label}-{number}")
            except Exception as error:
                failures.put(repr(error))
                raise

        processes = [_FORK.Process(target=one, args=(n,)) for n in range(associations)]
        for process in processes:
            process.start()
        barrier.wait()
        start_s = time.perf_counter()
        for process in processes:
            process.join()
        took_s = time.perf_counter() - start_s
        if not failures.empty():
            raise RuntimeError(failures.get())
        return took_s


def _places(message: bytes | bytearray, token: bytes) -> list[int]:
    places, at = [], message.find(token)
    while at >= 0:
        places.append(at)
        at = message.find(token, at + 1)
    return places


class Files:
    """The same object as many files, for `dcmsend`; each sending writes other UIDs into them."""

    def __init__(self, dataset: Dataset, count: int, folder: Path) -> None:
        self._folder = folder
        content = objects.filed(dataset)
        self._instances = _places(content, objects.INSTANCE.encode())
        self._studies = _places(content, objects.STUDY.encode())
        self._paths = [folder / f"{number:04}.dcm" for number in range(count)]
        for path in self._paths:
            path.write_bytes(content)

    def renew(self, label: str) -> None:
        """Put other UIDs into the files."""
        for number, path in enumerate(self._paths):
            study = objects.fresh_uid(label, "study", number // 2)
            with path.open("r+b") as file:
                for places, uid in (
                    (self._instances, objects.fresh_uid(label, number)),
                    (self._studies, study),
                ):
                    for at in places:
                        file.seek(at)
                        file.write(uid.encode())

    def dcmsend(self, port: int, called: str, *, nodelay: bool, associations: int = 1) -> float:
        """Send all files with as many `dcmsend` at once; return the seconds from start to end."""
        program = require("dcmsend", "dcmtk")
        environment = {**os.environ, **({"TCP_NODELAY": "1"} if nodelay else {})}
        shares = [self._paths[i::associations] for i in range(associations)]
        start_s = time.perf_counter()
        senders = [
            subprocess.Popen(
                [program, "-aec", called, "127.0.0.1", str(port), *map(str, share)],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                preexec_fn=end_with_the_tests,  # noqa: PLW1509 - one system call, no lock
            )
            for share in shares
        ]
        statuses = [sender.wait(300) for sender in senders]
        took_s = time.perf_counter() - start_s
        if any(statuses):
            raise RuntimeError(f"dcmsend ended with {statuses}")
        return took_s
