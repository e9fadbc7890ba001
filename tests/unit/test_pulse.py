"""Which threads hang: loops that do not go round, and work that takes too long."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from hipnode.pulse import Pulse


@dataclass
class Ticks:
    """A clock that goes when it is told to."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def pulse(ticks: Ticks) -> Pulse:
    return Pulse(ticks)


def test_a_loop_that_does_not_come_round_hangs(pulse: Pulse, ticks: Ticks) -> None:
    pulse.went_round(10, loop="accept")
    pulse.went_round(1000, loop="sweep")
    ticks.now_s += 10
    assert pulse.hangs() == []
    ticks.now_s += 1
    assert pulse.hangs() == ["accept hangs for 11 s"]
    pulse.went_round(10, loop="accept")
    assert pulse.hangs() == []


def test_work_has_a_limit_of_its_own_and_the_loop_its_own_again_after_it(
    pulse: Pulse, ticks: Ticks
) -> None:
    pulse.went_round(10)
    with pulse.doing("at read job 7", 300):
        ticks.now_s += 299
        assert pulse.hangs() == []
        assert pulse.at() == "at read job 7"
        ticks.now_s += 2
        (only,) = pulse.hangs()
        assert only.endswith("hangs for 301 s, at read job 7")
    assert pulse.hangs() == []
    assert pulse.at() == ""
    ticks.now_s += 11
    assert len(pulse.hangs()) == 1


def test_what_has_ended_is_not_waited_for(pulse: Pulse, ticks: Ticks) -> None:
    pulse.went_round(10)
    with pulse.doing("at x", 10, loop="x"):
        pass
    pulse.forget()
    ticks.now_s += 1e6
    assert pulse.hangs() == []


def test_work_that_fails_is_over(pulse: Pulse, ticks: Ticks) -> None:
    with pytest.raises(ValueError, match="no"), pulse.doing("at x", 10):
        raise ValueError("no")
    ticks.now_s += 11
    assert pulse.hangs() == []


def test_one_living_thread_does_not_cover_another_of_its_name(pulse: Pulse, ticks: Ticks) -> None:
    first = threading.Thread(target=pulse.went_round, args=(10,), name="same")
    go, told = threading.Event(), threading.Event()

    def live_on() -> None:
        pulse.went_round(10)
        told.set()
        go.wait()
        pulse.went_round(10)

    second = threading.Thread(target=live_on, name="same")
    second.start()
    told.wait()
    first.start()  # while the second lives: no two have one identity
    first.join()
    ticks.now_s += 9
    go.set()
    second.join()
    ticks.now_s += 2
    assert pulse.hangs() == ["same hangs for 11 s"]
