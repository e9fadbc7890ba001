"""Names of kept files: what they say of their content, and where they go without a row.

They derive from hashes, never from text that a peer chose.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final

IMAGES: Final = "images"
RESULTS: Final = "results"
QUARANTINE: Final = "quarantine"
_ASIDE: Final = f"{QUARANTINE}/aside"
"""What has no row, under the path that it had: it goes back there once it has one."""
_KEPT: Final = re.compile(
    rf"(?:{IMAGES}|{RESULTS})/([0-9a-f]{{2}})/([0-9a-f]{{30}})-([0-9a-f]{{16,64}})\.dcm"
)
_OLD_ASIDE: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{30}-[0-9a-f]{16}\.dcm)")


def digest_in(relative: str) -> str:
    """Return the digest that a kept file's name begins with (its first 16 digits, once); or ""."""
    found = _KEPT.fullmatch(relative)
    return found[3] if found else ""


def is_named_for(relative: str, uid: str) -> bool:
    """Tell whether a kept file's name is one of this SOP Instance UID."""
    found = _KEPT.fullmatch(relative)
    return (
        found is not None and hashlib.sha256(uid.encode()).hexdigest()[:32] == found[1] + found[2]
    )


def was_at(aside: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield a path in quarantine with what it may have been, if it was put aside."""
    if aside.startswith(f"{_ASIDE}/"):
        yield aside, (aside.removeprefix(f"{_ASIDE}/"),)
    elif old := _OLD_ASIDE.fullmatch(aside.removeprefix(f"{QUARANTINE}/")):
        yield aside, (f"{IMAGES}/{old[1]}/{old[2]}", f"{RESULTS}/{old[1]}/{old[2]}")


def aside_name(relative: str) -> str:
    """Return where a kept file goes that no row knows."""
    return f"{_ASIDE}/{relative}"
