"""What a compressed frame says about itself, read from its markers alone, before any decoder runs.

A decoder allocates what the codestream asks for, whatever Rows and Columns promised; and some
decoders fill up a stream that breaks off. Both are found here, in microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hipnode.errors import PixelsUnreadable


class Coding(StrEnum):
    """How a codestream is coded, by its own markers."""

    JPEG = "JPEG of 8 bits"
    JPEG_12 = "JPEG of 12 bits"
    JPEG_LOSSLESS = "lossless JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"
    HTJ2K = "High-Throughput JPEG 2000"
    RLE = "RLE"


_SOI: Final = b"\xff\xd8"
_SOC_SIZ: Final = b"\xff\x4f\xff\x51"
_EOI: Final = b"\xff\xd9"
_SOF: Final = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL: Final = frozenset({0xC0, 0xC1})
_FRAMES: Final = {0xC3: Coding.JPEG_LOSSLESS, 0xF7: Coding.JPEG_LS}
_CAP: Final = b"\xff\x50"
_SOS: Final = 0xDA
_ONE_PASS: Final = frozenset({0xC0, 0xC1, 0xC3, 0xF7})
_SOT: Final = b"\xff\x90\x00\x0a"
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_HEAD_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of the image inside a codestream; ``rows`` is 0 where the stream tells it later."""

    rows: int
    columns: int
    components: int
    precision: int  # bits of a sample
    signed: bool = False


def coding_of(code: bytes) -> Coding | None:
    """Return how a frame is coded; None where its beginning does not tell.

    Parameters
    ----------
    code
        The codestream, or the runs, of one frame.

    References
    ----------
    ITU-T T.81 Table B.1 (frame headers), T.87 C.1.1, T.800 A.5.1, T.814 A.3 (CAP); PS3.5 G.5.
    """
    if code.startswith(_SOI):
        for marker, start, _ in _segments(code):
            if marker in _SOF:
                dct = Coding.JPEG if code[start : start + 1] == b"\x08" else Coding.JPEG_12
                return _FRAMES.get(marker, dct)
    elif code.startswith(_SOC_SIZ):
        after = 4 + int.from_bytes(code[4:6], "big")
        return Coding.HTJ2K if code[after : after + 2] == _CAP else Coding.JPEG_2000
    elif len(code) >= 64 and 1 <= int.from_bytes(code[:4], "little") <= 15:
        return Coding.RLE if code[4:8] == b"\x40\0\0\0" else None
    return None


def extent_of(code: bytes) -> Extent | None:
    """Return the size in a JPEG, JPEG-LS, JPEG 2000 or HTJ2K codestream; None if it has none.

    References
    ----------
    ITU-T T.81 B.2.2 (frame header), T.87 C.2.2 (JPEG-LS), T.800 A.5.1 (SIZ).
    """
    if code.startswith(_SOI):
        return _jpeg(code)
    return _jpeg2000(code[2:48]) if code.startswith(_SOC_SIZ) else None


def _jpeg(code: bytes) -> Extent | None:
    for marker, start, stop in _segments(code):
        if marker in _SOF and min(stop, len(code)) - start >= 6:
            rows = int.from_bytes(code[start + 1 : start + 3], "big")
            columns = int.from_bytes(code[start + 3 : start + 5], "big")
            return Extent(rows, columns, code[start + 5], code[start])
    return None


def _jpeg2000(siz: bytes) -> Extent | None:
    if len(siz) < 41:
        return None
    x1, y1, x0, y0 = (int.from_bytes(siz[i : i + 4], "big") for i in (6, 10, 14, 18))
    components = int.from_bytes(siz[38:40], "big")
    return Extent(y1 - y0, x1 - x0, components, (siz[40] & 0x7F) + 1, bool(siz[40] & 0x80))


def _segments(code: bytes) -> list[tuple[int, int, int]]:
    """Return (marker, start, stop) of the segments up to the first scan, SOS included."""
    found: list[tuple[int, int, int]] = []
    at = 2
    while at + 4 <= min(len(code), _HEAD_BYTES) and code[at] == 0xFF:
        marker = code[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        stop = at + 2 + int.from_bytes(code[at + 2 : at + 4], "big")
        found.append((marker, at + 4, stop))
        if marker == _SOS or stop <= at + 3:
            break
        at = stop
    return found


def bare(code: bytes) -> bytes:
    """Return a JPEG 2000 codestream without the JP2 file that some writers put around it.

    It is against PS3.5 A.4.4, and found in the wild; pydicom 3.0 loops for ever over the boxes of
    a damaged one.
    """
    start = -1 if code.startswith(_SOI) else code.find(_SOC_SIZ, 0, _HEAD_BYTES)
    return code[start:] if start > 0 else code


def check(code: bytes, rows: int, columns: int, samples: int, max_pixels: int) -> Extent:
    """Hold a codestream against the header before it is decoded.

    Raises
    ------
    PixelsUnreadable
        If it is no such codestream, is larger than allowed, or has another size than the header
        says.
    """
    extent = extent_of(code)
    if extent is None:
        raise PixelsUnreadable("The compressed pixel data have no header of their own.")
    if extent.rows * extent.columns > max_pixels:
        raise PixelsUnreadable(
            f"The compressed image has {extent.rows} x {extent.columns} pixels, more than allowed."
        )
    if extent.rows and (extent.rows, extent.columns) != (rows, columns):
        raise PixelsUnreadable(
            f"The compressed image has {extent.rows} x {extent.columns} pixels, "
            f"but its header says {rows} x {columns}."
        )
    if extent.components > max(samples, 4):
        raise PixelsUnreadable(f"The compressed image has {extent.components} components.")
    return extent


def ended(code: bytes) -> tuple[bytes, bool]:
    """Return a codestream as far as its end marker, and whether it has one.

    What wrappers leave behind it (zeros, padding, anything) is cut off. A JPEG 2000 stream whose
    tile-parts are all there is whole without its last marker (T.800 A.4.2), and is given it back.

    Parameters
    ----------
    code
        The codestream of one frame.
    """
    jpeg2000 = code.startswith(_SOC_SIZ)
    segments = [] if jpeg2000 else _segments(code)
    begun = segments[-1][2] if segments and segments[-1][0] == _SOS else 0
    # No coding can hold this marker within its data; only a thumbnail before them has one.
    at = code.rfind(_EOI, begun)
    if at >= 0:
        return code[: at + 2], True
    if jpeg2000 and (stop := _tiles_end(code)):
        return code[:stop] + _EOI, True
    return code.rstrip(b"\0").removesuffix(b"\xff"), False


def _tiles_end(code: bytes) -> int:
    """Return where the last tile-part of a JPEG 2000 codestream ends; 0 if it is not whole.

    References
    ----------
    ITU-T T.800 A.4.2: Psot is the length of a tile-part from its SOT marker.
    """
    at = code.find(_SOT, 2)
    while at >= 0 and code[at : at + 4] == _SOT:
        length = int.from_bytes(code[at + 6 : at + 10], "big")
        if length < 14 or at + length > len(code):
            return 0
        at += length
    return at if at > 0 and _all_tiles(code) else 0


def _all_tiles(code: bytes) -> bool:
    """Tell whether every tile of a JPEG 2000 codestream has begun, and its last part is there."""
    x1, y1, _, _, width, height, left, top = (
        int.from_bytes(code[i : i + 4], "big") for i in range(8, 40, 4)
    )
    if not width or not height:
        return False
    tiles = -(-(x1 - left) // width) * -(-(y1 - top) // height)
    parts: dict[int, list[int]] = {}
    at = code.find(_SOT, 2)
    while code[at : at + 4] == _SOT and len(parts) <= 65_535:
        tile = int.from_bytes(code[at + 4 : at + 6], "big")
        seen = parts.setdefault(tile, [0, 0])
        seen[0] += 1
        seen[1] = max(seen[1], code[at + 11])  # TNsot; 0 where it is not said
        at += int.from_bytes(code[at + 6 : at + 10], "big")
    return len(parts) == tiles and all(count >= said for count, said in parts.values())


def tidied(code: bytes) -> bytes:
    """Return a codestream without stray zeros before its end marker; some coders leave one.

    Parameters
    ----------
    code
        A codestream with its end marker.
    """
    return code[:-2].rstrip(b"\0") + _EOI


def is_sequential(code: bytes) -> bool:
    """Tell whether a JPEG stream codes its picture in one pass (not progressively)."""
    return any(marker in _ONE_PASS for marker, _, _ in _segments(code))


def mended(code: bytes) -> bytes:
    """Return a sequential JPEG with the scan header that T.81 B.2.3 asks for.

    Some encoders write 0 as the end of the spectral selection of a sequential scan, where only
    63 is allowed; a strict decoder refuses it. Anything else is returned as it is.
    """
    if not code.startswith(_SOI):
        return code
    segments = _segments(code)
    if not any(marker in _SEQUENTIAL for marker, _, _ in segments):
        return code
    for marker, start, stop in segments:
        if marker == _SOS and stop - start >= 4 and code[stop - 3 : stop] == b"\0\0\0":
            return code[: stop - 3] + b"\0\x3f\0" + code[stop:]
    return code
