"""A league's folder: one that plays in it, and files that are whole or not there."""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hipnode.errors import InputRefused


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a league's folder: two that play in it write the same files.

    Raises
    ------
    InputRefused
        If another plays there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise InputRefused(f"{folder}: another league is being played there") from None
        yield


def document(path: Path) -> dict[str, Any]:
    """Return what a JSON file says; nothing where it is not there or cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, content: dict[str, Any] | str) -> None:
    """Write text, or JSON: first beside, then in place, so that a kill leaves a whole file.

    What is no number (a precision where nothing was named) is null: JSON knows no NaN.
    """
    text = content if isinstance(content, str) else json.dumps(_plain(content), indent=1) + "\n"
    path.with_suffix(".tmp").write_text(text, encoding="utf-8")
    path.with_suffix(".tmp").replace(path)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
