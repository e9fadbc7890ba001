"""Several frames of one object: each is read, and what is said of the object holds for all of them.

References
----------
PS3.3 10.3: an image reference without Referenced Frame Number means every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from hipnode.domain import Abstention, AbstentionReason, HipReading, Reading, Side, Verdict

FRAMES_LIMIT: Final = 8
"""So many frames of an object are read."""
ALL_READ: Final = "The image has {frames} frames; each was assessed. Boxes are in frame {frame}."
NOT_ALL: Final = (
    "The image has {frames} frames; {read} of them could be assessed. Boxes are in frame {frame}."
)
ELSEWHERE: Final = "Frame {frame}: {side} hip, {said}."

_ORDER: Final = (
    Verdict.DEFINITE,
    Verdict.DOUBTFUL,
    Verdict.LOOK_NOW,
    Verdict.NONE_SEEN,
    Verdict.OTHER_QUESTION,
    Verdict.NOT_ASSESSED,
)
"""The most serious first."""


def of_object(readings: Sequence[Reading], frames: int) -> Reading:
    """Return the reading of an object from those of its frames: that of the most serious frame.

    A hip of which it says that nothing was seen is taken back where another frame says more of it,
    or where a frame was not assessed: a person should look.

    Parameters
    ----------
    readings
        Of the first frames, in order.
    frames
        How many the object has.
    """
    if frames == 1:
        return readings[0]
    chosen = min(range(len(readings)), key=lambda i: (_rank(readings[i]), i))
    made, number = readings[chosen], chosen + 1
    read = sum(reading.abstention is None for reading in readings)
    worst = {side: _worst(readings, side) for side in Side}
    hips = tuple(
        _hip(hip, worst[hip.roi.side], number, all_read=read == frames) for hip in made.hips
    )
    said = ALL_READ if read == frames else NOT_ALL
    notes = [said.format(frames=frames, read=read, frame=number)] if made.hips else []
    for side, (verdict, where) in worst.items():
        if where and where != number and verdict in _ORDER[:3]:
            words = verdict.value.replace("_", " ")
            notes.append(ELSEWHERE.format(frame=where, side=side.word, said=words))
    return replace(made, hips=hips, notes=(*notes, *made.notes), frame=number, frames=frames)


def _rank(reading: Reading) -> int:
    if reading.abstention is not None:
        return len(_ORDER)
    return min(_ORDER.index(hip.verdict) for hip in reading.hips)


def _worst(readings: Sequence[Reading], side: Side) -> tuple[Verdict, int]:
    """Return the most serious verdict on a side, and its frame, from 1 (0: there is none)."""
    found = (
        (_ORDER.index(hip.verdict), number)
        for number, reading in enumerate(readings, start=1)
        for hip in reading.hips
        if hip.roi.side is side
    )
    rank, number = min(found, default=(len(_ORDER) - 1, 0))
    return _ORDER[rank], number


def _hip(hip: HipReading, worst: tuple[Verdict, int], number: int, *, all_read: bool) -> HipReading:
    """Return a hip of the chosen frame, given what the others say of it."""
    verdict, where = worst
    if hip.verdict not in {Verdict.NONE_SEEN, Verdict.OTHER_QUESTION}:
        return hip
    if _ORDER.index(verdict) < _ORDER.index(Verdict.NONE_SEEN):
        detail = f"frame {where}: {verdict.value}; frame {number}: {hip.verdict.value}"
    elif not all_read:
        detail = f"frame {number}: {hip.verdict.value}; not every frame was assessed"
    else:
        return hip
    return HipReading(hip.roi, abstention=Abstention(AbstentionReason.OTHER_FRAMES, detail))
