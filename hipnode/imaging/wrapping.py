"""Compressed frames out of their fragments, however carelessly they were wrapped.

References
----------
PS3.5 A.4 (encapsulation), Table A.4-1 (one frame in several fragments), A.4.3 (JPEG-LS).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragments, parse_basic_offsets

from hipnode.errors import PixelsUnreadable

_END: Final = b"\xff\xd9"


def frame(dataset: Dataset, index: int, frames: int, *, runs: bool) -> bytes:
    """Return the compressed stream of one frame.

    Parameters
    ----------
    dataset
        With encapsulated Pixel Data.
    index
        Of the frame, from 0.
    frames
        How many the header says that there are.
    runs
        Whether it is RLE, where each fragment is a frame (PS3.5 A.4.2).

    Raises
    ------
    PixelsUnreadable
        If the fragments do not tell where a frame ends, or the frame is not there.
    """
    _table, *parts = generate_fragments(dataset.PixelData)
    fragments = [part for part in parts if part]
    if not fragments:
        raise PixelsUnreadable("The compressed pixel data hold no fragment.")
    if frames == 1:  # whatever the offset table says
        return fragments[0] if runs else b"".join(fragments)
    groups = _grouped(fragments, frames, parse_basic_offsets(dataset.PixelData))
    if index >= len(groups):
        raise PixelsUnreadable(f"Frame {index + 1} of {frames} is not there.")
    return b"".join(groups[index])


def _grouped(
    fragments: Sequence[bytes], frames: int, offsets: Sequence[int]
) -> Sequence[Sequence[bytes]]:
    """Return the fragments of each frame: one each, by the offset table, or by where each ends."""
    if len(fragments) <= frames:
        return [[part] for part in fragments]
    starts, at = [], 0
    for part in fragments:
        starts.append(at)
        at += len(part) + 8
    if len(offsets) == frames and offsets[0] == 0 and set(offsets) <= set(starts):
        firsts = [*(starts.index(offset) for offset in offsets), len(fragments)]
        return [fragments[a:b] for a, b in pairwise(firsts)]
    groups: list[list[bytes]] = [[]]
    for part in fragments:
        groups[-1].append(part)
        if part[-64:].rstrip(b"\0").endswith(_END):
            groups.append([])
    groups = [group for group in groups if group]
    if len(groups) != frames:
        raise PixelsUnreadable("The fragments of the compressed frames cannot be told apart.")
    return groups
