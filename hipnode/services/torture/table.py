"""What was tried and what came of it: one row for each attack, and the table signed."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hipnode import __version__
from hipnode.nets.bundle.signature import sign as signed

REPORT = "torture.json"
SIGNATURE = "torture.json.sig"


@dataclass(frozen=True, slots=True)
class Row:
    """One attack.

    Attributes
    ----------
    attack
        What was done.
    tried, held
        How often, and how often the node did what it promises.
    lost, doubled
        Images that were acknowledged and not reported, or reported more than once. One that still
        waits for a busy machine is not lost; its attack has not held.
    named_s
        Seconds until the node itself said what was wrong, at the longest; None where it never did,
        or where there was nothing to say.
    words
        What else was seen.
    not_tried
        Why it could not be tried here; "" where it was.
    """

    attack: str
    tried: int = 0
    held: int = 0
    lost: int = 0
    doubled: int = 0
    named_s: float | None = None
    words: str = ""
    not_tried: str = ""

    @property
    def is_well(self) -> bool:
        """Tell whether all of it held, and nothing was lost or doubled."""
        return self.held == self.tried and not self.lost and not self.doubled


def document(rows: list[Row], *, began: str, took_s: float, seed: int, engine: str) -> bytes:
    """Return the table as JSON: what is signed."""
    found: dict[str, Any] = {
        "hipnode": __version__,
        "machine": f"{platform.system()} {platform.machine()}, {platform.node()}",
        "database": engine,
        "began_utc": began,
        "took_s": round(took_s, 1),
        "seed": seed,
        "well": all(row.is_well for row in rows),
        "attacks": [asdict(row) for row in rows],
    }
    return json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n"


def write(content: bytes, folder: Path, key: Path | None) -> Path:
    """Write the table into a folder, signed with an Ed25519 key where there is one.

    Raises
    ------
    BundleRefused
        If the key is no such key.
    OSError
        If it cannot be written.

    References
    ----------
    `hipnode.nets.bundle.signature`: ``openssl pkeyutl -verify -rawin`` checks the 64 bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SIGNATURE).unlink(missing_ok=True)
    (folder / REPORT).write_bytes(content)
    if key is not None:
        (folder / SIGNATURE).write_bytes(signed(content, key))
    return folder / REPORT
