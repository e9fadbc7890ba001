"""How often a peer may do something: a bucket of tokens for each address.

A bucket holds a minute's allowance and fills up evenly, so that a burst passes and a flood does
not. Buckets that are full again are forgotten, and there is one for all addresses that no caller
has: the memory is bounded, whoever knocks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_MANY: Final = 1024


@dataclass(slots=True)
class _Bucket:
    tokens: float
    seen_s: float
    told_s: float = float("-inf")


class Rates:
    """An allowance per key and minute; 0 allows everything.

    Parameters
    ----------
    per_minute
        How many tokens a key gets in a minute, and how many it can save up.
    clock_s
        A monotonic clock.
    """

    def __init__(self, per_minute: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._capacity = float(per_minute)
        self._clock_s = clock_s
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> float:
        """Take one token; return how many seconds later there would be one (0: taken)."""
        if not self._capacity:
            return 0.0
        with self._lock:
            bucket = self._bucket(key)
            if bucket.tokens >= 1:
                bucket.tokens -= 1
                return 0.0
            return (1 - bucket.tokens) * 60 / self._capacity

    def is_news(self, key: str) -> bool:
        """Tell, once a minute, that a key has nothing left: a flood must not flood the log."""
        with self._lock:
            bucket = self._bucket(key)
            if self._clock_s() - bucket.told_s < 60:
                return False
            bucket.told_s = self._clock_s()
            return True

    def _bucket(self, key: str) -> _Bucket:
        now_s = self._clock_s()
        if len(self._buckets) >= _MANY:
            self._forget_full(now_s)
        bucket = self._buckets.setdefault(key, _Bucket(self._capacity, now_s))
        bucket.tokens = self._filled(bucket, now_s)
        bucket.seen_s = now_s
        return bucket

    def _filled(self, bucket: _Bucket, now_s: float) -> float:
        return min(self._capacity, bucket.tokens + (now_s - bucket.seen_s) * self._capacity / 60)

    def _forget_full(self, now_s: float) -> None:
        self._buckets = {
            key: bucket
            for key, bucket in self._buckets.items()
            if self._filled(bucket, now_s) < self._capacity
        }
