"""How often a peer may do something, by a clock that goes when it is told to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hipnode.services.rates import Rates


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_passes_a_flood_does_not_and_a_minute_later_all_is_well() -> None:
    clock = Clock()
    rates = Rates(6, clock)
    assert [rates.take("a") for _ in range(6)] == [0] * 6
    assert 0 < rates.take("a") <= 10
    assert rates.take("b") == 0, "each address has its own"
    clock.now_s += rates.take("a") + 0.001
    assert rates.take("a") == 0
    assert rates.take("a") > 0
    clock.now_s += 60
    assert [rates.take("a") for _ in range(6)] == [0] * 6


def test_zero_allows_everything() -> None:
    rates = Rates(0)
    assert not any(rates.take("a") for _ in range(10_000))


def test_an_excess_is_news_once_a_minute() -> None:
    clock = Clock()
    rates = Rates(1, clock)
    rates.take("a")
    assert [rates.is_news("a") for _ in range(3)] == [True, False, False]
    clock.now_s += 61
    assert rates.is_news("a")


def test_memory_is_bounded_however_many_addresses_there_are() -> None:
    clock = Clock()
    rates = Rates(60, clock)
    for number in range(20_000):
        rates.take(str(number))
        clock.now_s += 0.01
    assert len(rates._buckets) <= 1100


@given(st.lists(st.floats(0, 30), max_size=200))
def test_never_more_than_the_share_and_one_burst(pauses_s: list[float]) -> None:
    clock = Clock()
    rates = Rates(10, clock)
    taken = 0
    for pause_s in pauses_s:
        clock.now_s += pause_s
        taken += rates.take("a") == 0
    assert taken <= 10 + sum(pauses_s) / 6 + 1
