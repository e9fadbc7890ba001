"""Figures for which much must be gone through: made now and then, and shown with their moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar
from weakref import WeakKeyDictionary

from hipnode.storage import Store

FRESH: Final = timedelta(minutes=10)
"""Figures are made anew after so long."""
T = TypeVar("T")


class Remembered(Generic[T]):
    """A figure of each store, with the moment at which it was made.

    Parameters
    ----------
    make
        What makes it, from a store, at a moment.
    """

    def __init__(self, make: Callable[[Store, datetime], T]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[Store, tuple[datetime, T]] = WeakKeyDictionary()

    def of(self, store: Store, now: datetime) -> tuple[datetime, T]:
        """Return when it was made, and the figure; made anew where it is too old."""
        known = self._made.get(store)
        if known is None or now - known[0] > FRESH:
            known = self._made[store] = now, self._make(store, now)
        return known
