"""What a person sees of an object that the node made: its text, its picture.

References
----------
PS3.3 C.17.3 (SR Document Content), PS3.5 A.4 (encapsulated pixel data).
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.encaps import get_frame


def lines(dataset: Dataset) -> Iterator[str]:
    """Yield the lines of text of a Basic Text SR, in their order."""
    for item in dataset.get("ContentSequence", []):
        text = item.get("TextValue")
        if text:
            yield from str(text).splitlines()
        yield from lines(item)


def jpeg(dataset: Dataset) -> bytes:
    """Return the picture of a capture, as the JPEG file that it is."""
    return get_frame(dataset.PixelData, 0, number_of_frames=1)
