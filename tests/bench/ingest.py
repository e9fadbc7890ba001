"""Durable ingest: how many objects a second are taken in, next to every peer and to the floor."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from pydicom import Dataset, uid

from tests.bench import objects, receivers
from tests.bench.harness import Run, Table, Target
from tests.bench.receivers import Receiver
from tests.bench.sending import Files, Framed

_labels = itertools.count()
_DURABLE: Final = (
    "hipnode answers after file, folder and row are synced; the floor after file and folder; "
    "Orthanc syncs the file alone; storescp syncs nothing"
)


def tables(run: Run) -> Iterator[Table]:
    """Yield the tables of this measurement."""
    full, lossless, small = (
        objects.image(),
        objects.image(syntax=uid.JPEGLosslessSV1),
        objects.image(objects.SMALL),
    )
    with receivers.running(run.new_folder("ingest")) as started:
        for name, dataset, count, targets in (
            ("DX 10.7 MB", full, run.size(16, 2), _FULL),
            ("JPEG-lossless DX 4.9 MB", lossless, run.size(24, 2), _LOSSLESS),
            ("small, 0.5 MB", small, run.size(100, 4), _SMALL),
        ):
            yield _framed(run, started, name, dataset, count, 1, targets[0])
            yield _framed(run, started, name, dataset, count // 2 or 1, 4, targets[1])
        yield from _dcmsend(run, started, full)


def _framed(
    run: Run,
    started: dict[str, Receiver],
    name: str,
    dataset: Dataset,
    count: int,
    associations: int,
    targets: tuple[Target, ...],
) -> Table:
    framed = Framed(dataset)

    def one(receiver: Receiver) -> float:
        label = f"framed-{next(_labels)}"
        took_s = framed.send_parallel(receiver.port, receiver.called, count, label, associations)
        receiver.empty()
        return count * associations / took_s

    title = f"Ingest: {name}, {associations} association{'s' * (associations > 1)}, pre-framed"
    table = Table(title, "images/s", targets=targets, notes=[_DURABLE])
    return table.run(_each(started, one), run.rounds)


def _dcmsend(run: Run, started: dict[str, Receiver], dataset: Dataset) -> Iterator[Table]:
    count = run.size(16, 4)
    files = Files(dataset, count, run.new_folder("dcmsend"))
    for associations in (1, 4):
        for nodelay in (False, True):

            def one(receiver: Receiver, nodelay: bool = nodelay, n: int = associations) -> float:
                files.renew(f"dcmsend-{next(_labels)}")
                took_s = files.dcmsend(
                    receiver.port, receiver.called, nodelay=nodelay, associations=n
                )
                receiver.empty()
                return count / took_s

            how = "TCP_NODELAY" if nodelay else "as shipped (Nagle on)"
            title = f"Ingest: DX 10.7 MB, {associations} x dcmsend {how}, whole process"
            targets = _DCMSEND if not nodelay and associations == 1 else ()
            table = Table(title, "images/s", targets=targets)
            yield table.run(_each(started, one), run.rounds)


def _each(
    started: dict[str, Receiver], one: Callable[[Receiver], float]
) -> dict[str, Callable[[], float]]:
    return {name: partial(one, receiver) for name, receiver in started.items()}


_FULL: Final = (
    (
        Target(receivers.FLOOR, at_least=0.9),
        Target(receivers.STORESCP, at_least=4),
        Target(receivers.ORTHANC_TUNED, at_least=3),
        Target(receivers.PYNETDICOM_DURABLE, at_least=2),
    ),
    (
        Target(receivers.FLOOR, at_least=0.8),
        Target(receivers.STORESCP, at_least=1.3),
        Target(receivers.ORTHANC_TUNED, at_least=2),
        Target(receivers.PYNETDICOM_DURABLE, at_least=2),
    ),
)
_LOSSLESS: Final = (
    (Target(receivers.FLOOR, at_least=0.8), Target(receivers.STORESCP, at_least=5)),
    (),
)
_SMALL: Final = (
    (Target(receivers.FLOOR, at_least=0.7), Target(receivers.STORESCP, at_least=10)),
    (),
)
_DCMSEND: Final = (
    Target(receivers.STORESCP, at_least=2.5),
    Target(receivers.STORESCP_TUNED, at_least=1),
)
