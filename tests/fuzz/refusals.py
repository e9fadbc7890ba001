"""What a target may say of its input: that it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

said: list[str] = []
"""The refusals since somebody emptied the list; where one looks, valid inputs can be told."""


@contextmanager
def refusable(*errors: type[Exception]) -> Iterator[None]:
    """Let these errors end a target well."""
    try:
        yield
    except errors as error:
        said[:] = [f"{type(error).__name__}: {error}"]
