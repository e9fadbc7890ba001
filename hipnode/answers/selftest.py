"""Was a self-test's image read right? What was said of each hip, against what the image shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hipnode.domain import SUSPICIONS, AbstentionReason, Reading, Side, Verdict
from hipnode.domain.selftest import IMPLANT, Matter

_BOTH: Final = frozenset({Side.RIGHT, Side.LEFT})
_METAL: Final = frozenset({AbstentionReason.IMPLANT, AbstentionReason.POSSIBLE_METAL})


def judged(matter: Matter, readings: Iterable[Reading | str]) -> tuple[bool, str]:
    """Return whether an image was read right, and in words what was read.

    A doubtful fracture is right where there is one: it asks for a look. On a hip that is whole,
    nothing but "none seen" is.

    Parameters
    ----------
    matter
        What the image shows.
    readings
        What the set that reports made of it; a text where nothing could be made.
    """
    said: dict[Side, tuple[Verdict, AbstentionReason | None]] = {}
    words: list[str] = []
    for reading in readings:
        if isinstance(reading, str):
            words.append(f"not read: {reading}")
        elif reading.abstention is not None:
            words.append(f"not assessed: {reading.abstention.reason.value}")
        else:
            for hip in reading.hips:
                why = hip.abstention.reason if hip.abstention else None
                said[hip.roi.side] = hip.verdict, why
    for side in Side:
        if side in said:
            verdict, why = said[side]
            words.append(f"{side.value}: {(why or verdict).value}")
    right = set(said) == _BOTH and all(_is_right(matter, s, *said[s]) for s in said)
    return right, ", ".join(words)


def _is_right(matter: Matter, side: Side, verdict: Verdict, why: AbstentionReason | None) -> bool:
    if side is not matter.side:
        return verdict is Verdict.NONE_SEEN
    if matter.label == IMPLANT:
        return why in _METAL
    return verdict in SUSPICIONS
