"""Reading processes die; the worker does not."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from hipnode.errors import PixelsUnreadable, WorkerKilled
from hipnode.reporting import ReportRequest
from hipnode.services.worker import reader
from hipnode.services.worker.pool import ReaderPool
from hipnode.settings import Settings
from tests import cases
from tests.senders import SAMPLES

pytestmark = pytest.mark.slow


def double(number: int) -> int:
    return 2 * number


def die() -> None:
    os.abort()  # what a decoder that runs off its buffer does


def hang() -> None:
    time.sleep(60)


def signal_oneself(number: int) -> str:
    os.kill(os.getpid(), number)
    time.sleep(0.2)
    return "finished"


def pid() -> int:
    return os.getpid()


def refuse() -> None:
    raise PixelsUnreadable("The stream is damaged.")


def files_for_a_first_report() -> list[str]:
    """Warm up as a worker does, make a report, and return what highdicom read for it."""
    spec = reader.reader_spec(Settings(worker={"device": "cpu", "threads": 1}))
    reader.warm(spec)
    read = reader.read_image(spec, SAMPLES[0])
    opened: list[str] = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    source = reader.Source(SAMPLES[0], "", read)
    request = partial(ReportRequest, node=cases.NODE, made_utc=cases.MADE_UTC)
    with TemporaryDirectory() as folder:
        assert reader.build_report(spec, (source,), request, Path(folder))
    return [name for name in opened if "highdicom" in name]


@pytest.fixture
def pool() -> Iterator[ReaderPool]:
    pool = ReaderPool(processes=1, timeout_s=2)
    yield pool
    pool.close()


def test_a_process_that_dies_costs_its_call_and_is_replaced(pool: ReaderPool) -> None:
    assert pool.call(double, 2) == 4
    with pytest.raises(WorkerKilled, match="died"):
        pool.call(die)
    assert pool.call(double, 3) == 6


def test_a_process_that_dies_with_nothing_to_do_is_replaced(pool: ReaderPool) -> None:
    """As the system does when memory runs out: it takes the largest, not the busiest."""
    first = pool.call(pid)
    os.kill(first, signal.SIGKILL)
    with suppress(WorkerKilled):  # a call that comes before anybody has noticed
        pool.call(double, 5)
    second = pool.call(pid)
    assert second != first
    os.kill(second, signal.SIGKILL)
    time.sleep(1)  # now it has been noticed
    assert pool.call(double, 6) == 12


def test_a_call_that_no_process_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a process dies between fetching a call and saying so: nobody else hears of it."""
    pool = ReaderPool(processes=1, timeout_s=30)
    try:
        process = pool.call(pid)  # it may take its time to start
        monkeypatch.setattr("hipnode.services.worker.pool._START_S", 1)
        pool._timeout_s = 1
        os.kill(process, signal.SIGSTOP)
        with pytest.raises(WorkerKilled):
            pool.call(double, 7)
        pool._timeout_s = 60  # and so may the one after it
        monkeypatch.setattr("hipnode.services.worker.pool._START_S", 60)
        assert pool.call(double, 8) == 16
    finally:
        pool.close()


def test_a_process_that_takes_too_long_is_ended_and_replaced(pool: ReaderPool) -> None:
    with pytest.raises(WorkerKilled, match="longer than 2 s"):
        pool.call(hang)
    assert pool.call(double, 4) == 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_does_not_end_a_call(
    pool: ReaderPool, number: signal.Signals
) -> None:
    assert pool.call(signal_oneself, number) == "finished"


def test_an_error_comes_back_as_it_was_raised(pool: ReaderPool) -> None:
    with pytest.raises(PixelsUnreadable, match="The stream is damaged"):
        pool.call(refuse)


def test_the_first_report_finds_everything_warm() -> None:
    """Highdicom parses megabytes of tables for its first region: not while a study waits."""
    pool = ReaderPool(processes=1, timeout_s=240)
    try:
        assert pool.call(files_for_a_first_report) == []
    finally:
        pool.close()


def test_where_nothing_shows_the_image_no_picture_of_it_is_made(tmp_path: Path) -> None:
    """Nor is the image decoded once more for a report that has none."""
    spec = reader.reader_spec(Settings(worker={"device": "cpu", "threads": 1}))
    bare = replace(spec, views=tmp_path, pictured=False)
    read = reader.read_image(bare, SAMPLES[0])
    assert list(tmp_path.iterdir()) == []
    source = reader.Source(SAMPLES[0], "", read)
    assert reader.source_image(bare, source).pixels is None
    assert reader.source_image(replace(bare, pictured=True), source).pixels is not None
    assert replace(read, timings_ms={}) == replace(
        reader.read_image(replace(bare, pictured=True), SAMPLES[0]), timings_ms={}
    )


def test_the_picture_of_an_image_is_left_for_whichever_process_reports(tmp_path: Path) -> None:
    """Two processes read a study's images side by side; one of them builds the report."""
    spec = reader.reader_spec(Settings(worker={"device": "cpu", "threads": 1}))
    views = tmp_path / "views"
    views.mkdir()
    shared = replace(spec, views=views)
    read = reader.read_image(shared, SAMPLES[0])
    alone = reader.source_image(spec, reader.Source(SAMPLES[0], "", read))
    (left,) = views.iterdir()
    again = reader.source_image(shared, reader.Source(SAMPLES[0], "", read))
    assert np.array_equal(alone.pixels, again.pixels)
    left.write_bytes(b"\0" * 100)  # a crash in the middle, say
    mended = reader.source_image(shared, reader.Source(SAMPLES[0], "", read))
    assert np.array_equal(alone.pixels, mended.pixels)
    for number in range(40):
        image = tmp_path / f"{number}.dcm"
        image.symlink_to(SAMPLES[0])
        reader.read_image(shared, image)
    assert len(list(views.iterdir())) == 32
    shutil.rmtree(views)  # the disk is full, say
    assert reader.read_image(shared, SAMPLES[0]).hips == read.hips
