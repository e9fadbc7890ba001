"""One radiograph, stored in eighty ways and more: as the Standard says, and carelessly."""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import compress

from tests.property.test_canonical_properties import EIGHT, as_oriented

Pixels = NDArray[np.uint16]
Way = Callable[[Dataset, Pixels], Dataset]

EXACT: Final[dict[str, Way]] = {}
"""Ways after which the picture is the plain one, value by value (but for rounding)."""
NEAR: Final[dict[str, Way]] = {}
"""Ways that lose or blur something: the decisions about fractures are the plain ones."""
NAMED: Final[dict[str, tuple[str, str, Way]]] = {}
"""Ways that cannot be read: the reason, and a word of its detail."""


def stored(ds: Dataset, array: NDArray[Any], **header: object) -> Dataset:
    """Return a data set with other pixels, uncompressed, and other attributes; None leaves out."""
    ds = copy.deepcopy(ds)
    ds.Rows, ds.Columns = array.shape[:2]
    ds.PixelData = np.ascontiguousarray(array).tobytes()
    ds["PixelData"].VR = "OW"
    for keyword, value in header.items():
        setattr(ds, keyword, value)
        if value is None:
            delattr(ds, keyword)
    return ds


def wrapped(ds: Dataset, parts: list[bytes], syntax: str, table: tuple[int, ...] = ()) -> Dataset:
    """Return a data set with compressed fragments and whatever offset table is asked for."""

    def item(data: bytes) -> bytes:
        data += b"\0" * (len(data) % 2)
        return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(data)) + data

    ds = copy.deepcopy(ds)
    ds.file_meta.TransferSyntaxUID = uid.UID(syntax)
    ds.PixelData = item(struct.pack(f"<{len(table)}I", *table)) + b"".join(map(item, parts))
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    return ds


def lut(values: object, first: int, bits: int) -> list[Dataset]:
    table = np.asarray(values)
    made = Dataset()
    made.add_new("LUTDescriptor", "US", [len(table) % 65_536, first, bits])
    made.add_new("LUTData", "OW", table.astype("<u2").tobytes())
    return [made]


# --- bits --------------------------------------------------------------------------------------

ABOVE = np.uint16(0xF000)
EXACT["plain"] = stored
EXACT["high bit 15"] = lambda ds, a: stored(ds, a << 4, HighBit=15)
EXACT["high bit 15, noise below"] = lambda ds, a: stored(ds, a << 4 | (a * 7) % 16, HighBit=15)
EXACT["high bit 13"] = lambda ds, a: stored(ds, a << 2 | ABOVE << 2, HighBit=13)
EXACT["high bit 15, values low"] = lambda ds, a: stored(ds, a, HighBit=15)
EXACT["noise above the stored bits"] = lambda ds, a: stored(ds, a | ABOVE)
EXACT["no high bit"] = lambda ds, a: stored(ds, a, HighBit=None)
EXACT["no bits stored"] = lambda ds, a: stored(ds, a, BitsStored=None, HighBit=None)
EXACT["no pixel representation"] = lambda ds, a: stored(ds, a, PixelRepresentation=None)
EXACT["32 bits allocated"] = lambda ds, a: stored(ds, a.astype("<u4"), BitsAllocated=32)
SIGNED = {"PixelRepresentation": 1, "RescaleIntercept": "2048"}
EXACT["signed"] = lambda ds, a: stored(ds, a.astype("<i2") - 2048, **SIGNED)
EXACT["signed, sign not extended"] = lambda ds, a: stored(
    ds, (a.astype("<i2") - 2048).view("u2") & 0x0FFF, **SIGNED
)
EXACT["signed, high bit 15"] = lambda ds, a: stored(
    ds, (a.astype("<i2") - 2048) << 4, HighBit=15, **SIGNED
)
EIGHT_BITS = {
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "WindowCenter": 128,
    "WindowWidth": 256,
}
NEAR["8 bits"] = lambda ds, a: stored(ds, (a >> 4).astype("u1"), **EIGHT_BITS)


# --- light and dark ----------------------------------------------------------------------------

EXACT["monochrome1"] = lambda ds, a: stored(ds, 4095 - a, PhotometricInterpretation="MONOCHROME1")
EXACT["monochrome1, inverse"] = lambda ds, a: stored(
    ds, 4095 - a, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"
)
EXACT["lower case"] = lambda ds, a: stored(ds, a, PhotometricInterpretation="monochrome2 ")
PROCESSING = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1",
    "PresentationIntentType": "FOR PROCESSING",
    "PixelIntensityRelationshipSign": 1,
}
EXACT["for processing, logarithmic"] = lambda ds, a: stored(
    ds, 4095 - a, PixelIntensityRelationship="LOG", **PROCESSING
)
NEAR["for processing, linear"] = lambda ds, a: stored(
    ds, (np.exp((4095 - a.astype(float)) / 4095 * np.log(4095)) - 0.5).round().astype("<u2"),
    PixelIntensityRelationship="LIN", **PROCESSING,
)  # fmt: skip


# --- windows and LUTs --------------------------------------------------------------------------


def windowed(centre: object, width: object, **more: object) -> Way:
    return lambda ds, a: stored(ds, a, WindowCenter=centre, WindowWidth=width, **more)


EXACT["no window"] = windowed(None, None)
for _name, (_centre, _width) in {
    "1 wide": (2048, 1), "2 wide": (2048, 2), "0 wide": (2048, 0), "of 8 bits": (128, 256),
    "off the data": (30000, 100), "below the data": (-5000, 200), "far too wide": (32768, 65536),
    "of a sliver": (300, 100), "below 0 wide": (2048, -100),
}.items():  # fmt: skip
    EXACT[f"window {_name}"] = windowed(_centre, _width)
EXACT["window, the second is good"] = windowed([1, 2048], [1, 4096])
EXACT["window, the third is good"] = windowed([1, 128, 2048], [1, 256, 4096])
EXACT["window, exact"] = windowed(2047.5, 4095, VOILUTFunction="LINEAR_EXACT")
NEAR["window, sigmoid"] = windowed(2048, 4096, VOILUTFunction="SIGMOID")
NO_WINDOW: dict[str, object] = {"WindowCenter": None, "WindowWidth": None}
STEPS = np.arange(4096)
EXACT["voi lut"] = lambda ds, a: stored(ds, a, VOILUTSequence=lut(STEPS, 0, 12), **NO_WINDOW)
EXACT["voi lut says 16 has 12"] = lambda ds, a: stored(
    ds, a, VOILUTSequence=lut(STEPS, 0, 16), **NO_WINDOW
)
NEAR["voi lut says 16 has 10"] = lambda ds, a: stored(
    ds, a, VOILUTSequence=lut(STEPS >> 2, 0, 16), **NO_WINDOW
)
EXACT["voi lut of two levels"] = lambda ds, a: stored(
    ds, a, VOILUTSequence=lut((STEPS > 2000) * 4095, 0, 12)
)
EXACT["voi lut of nothing"] = lambda ds, a: stored(ds, a, VOILUTSequence=[Dataset()])
EXACT["modality lut"] = lambda ds, a: stored(
    ds, a, ModalityLUTSequence=lut(STEPS, 0, 12), RescaleSlope=None, RescaleIntercept=None
)
EXACT["rescale"] = lambda ds, a: stored(
    ds, a, RescaleSlope="2", RescaleIntercept="-100", WindowCenter=3995, WindowWidth=8191
)
EXACT["rescale slope 0"] = lambda ds, a: stored(ds, a, RescaleSlope="0")


# --- padding -----------------------------------------------------------------------------------


def padded(a: Pixels, value: int, kind: str) -> NDArray[Any]:
    out = a.astype("<i4")
    out = out - 2048 if kind == "<i2" else out
    out[:, :30] = value
    return out.astype(kind)


FULL = {"BitsStored": 16, "HighBit": 15}


def with_padding(ds: Dataset, a: Pixels, value: int, vr: str, kind: str, **more: object) -> Dataset:
    signed = SIGNED if kind == "<i2" else {}
    made = stored(ds, padded(a, value, kind), **FULL, **signed, **NO_WINDOW, **more)
    code = value % 65_536 if vr == "US" else value - 65_536 * (value > 32_767)
    made.add_new("PixelPaddingValue", vr, code)
    return made


NEAR["padding, us for signed"] = lambda ds, a: with_padding(ds, a, -32768, "US", "<i2")
NEAR["padding, us for signed, -2000"] = lambda ds, a: with_padding(ds, a, -20000, "US", "<i2")
NEAR["padding, ss for unsigned"] = lambda ds, a: with_padding(ds, a, 65_535, "SS", "<u2")
NEAR["padding, as it should be"] = lambda ds, a: with_padding(ds, a, -32768, "SS", "<i2")


# --- colour ------------------------------------------------------------------------------------

COLOUR = {
    "SamplesPerPixel": 3, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7,
    "PlanarConfiguration": 0,
}  # fmt: skip


def coloured(a: Pixels) -> NDArray[np.uint8]:
    return np.repeat((a >> 4).astype("u1")[..., None], 3, axis=2)


NEAR["rgb, window of the original"] = lambda ds, a: stored(
    ds, coloured(a), **COLOUR, PhotometricInterpretation="RGB"
)
NEAR["rgb by planes"] = lambda ds, a: stored(
    ds, coloured(a), PixelData=coloured(a).transpose(2, 0, 1).tobytes(),
    **COLOUR | {"PlanarConfiguration": 1}, PhotometricInterpretation="RGB",
)  # fmt: skip
NEAR["rgb by planes, said to be by pixels"] = lambda ds, a: stored(
    ds, coloured(a), PixelData=coloured(a).transpose(2, 0, 1).tobytes(),
    **COLOUR, PhotometricInterpretation="RGB",
)  # fmt: skip
NEAR["rgb by pixels, said to be by planes"] = lambda ds, a: stored(
    ds, coloured(a), **COLOUR | {"PlanarConfiguration": 1}, PhotometricInterpretation="RGB"
)
NEAR["rgb, lut shape of the original"] = lambda ds, a: stored(
    ds, coloured(a), **COLOUR, PhotometricInterpretation="RGB", PresentationLUTShape="INVERSE"
)


# --- compressed --------------------------------------------------------------------------------


def j2k(a: Pixels, bits: int = 12) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(a, level=0, codecformat="j2k", bitspersample=bits))


def jls(a: Pixels) -> bytes:
    return bytes(imagecodecs.jpegls_encode(a)).rstrip(b"\0")


def cut(code: bytes) -> list[bytes]:
    return [code[i : i + 4096] for i in range(0, len(code), 4096)]


def baseline(a: Pixels) -> bytes:
    return bytes(imagecodecs.jpeg8_encode((a >> 4).astype("u1"), level=98))


def runs(ds: Dataset, array: NDArray[Any], **header: object) -> Dataset:
    made = stored(ds, array, **header)
    compress(made, uid.RLELossless, generate_instance_uid=False)
    return made


def run_lengths(ds: Dataset, a: Pixels) -> bytes:
    return get_frame(runs(ds, a).PixelData, 0, number_of_frames=1)


J2K, JLS, JPEG = uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.JPEGBaseline8Bit
EXACT["rle"] = runs
EXACT["rle, high bit 15"] = lambda ds, a: runs(ds, a << 4, HighBit=15)
EXACT["j2k"] = lambda ds, a: wrapped(ds, [j2k(a)], J2K)
EXACT["j2k in fragments"] = lambda ds, a: wrapped(ds, cut(j2k(a)), J2K)
EXACT["j2k, offset table wrong"] = lambda ds, a: wrapped(ds, cut(j2k(a)), J2K, (12345,))
EXACT["j2k, an offset a fragment"] = lambda ds, a: wrapped(
    ds, cut(j2k(a)), J2K, tuple(i * 4104 for i in range(len(cut(j2k(a)))))
)
EXACT["j2k, no end marker"] = lambda ds, a: wrapped(ds, [j2k(a)[:-2]], J2K)
EXACT["j2k, zeros instead of an end marker"] = lambda ds, a: wrapped(
    ds, [j2k(a)[:-2] + bytes(999)], J2K
)
EXACT["j2k, zeros after the end"] = lambda ds, a: wrapped(ds, [j2k(a) + bytes(9000)], J2K)
EXACT["j2k, anything after the end"] = lambda ds, a: wrapped(ds, [j2k(a) + b"\x55" * 5000], J2K)
EXACT["j2k, empty fragments"] = lambda ds, a: wrapped(ds, [b"", j2k(a), b"", bytes(2)], J2K)
EXACT["j2k in a jp2 file"] = lambda ds, a: wrapped(
    ds, [bytes(imagecodecs.jpeg2k_encode(a, level=0, codecformat="jp2", bitspersample=12))], J2K
)
EXACT["j2k of 16 bits, 12 stored"] = lambda ds, a: wrapped(ds, [j2k(a, 16)], J2K)
EXACT["j2k of 16 bits, high bit 15"] = lambda ds, a: wrapped(
    stored(ds, a, HighBit=15), [j2k(a << 4, 16)], J2K
)
EXACT["jls"] = lambda ds, a: wrapped(ds, [jls(a)], JLS)
EXACT["jls, zero before the end"] = lambda ds, a: wrapped(ds, [jls(a)[:-2] + b"\0\xff\xd9"], JLS)
EXACT["jls, zeros after the end"] = lambda ds, a: wrapped(ds, [jls(a) + bytes(3000)], JLS)
EXACT["jls, no end marker"] = lambda ds, a: wrapped(ds, [jls(a)[:-2]], JLS)
COMPRESSED: Final = (
    uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1,
    uid.JPEGLSLossless, uid.JPEGLSNearLossless, uid.JPEG2000Lossless, uid.JPEG2000,
    uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K, uid.RLELossless,
)  # fmt: skip
CODINGS: Final[dict[str, tuple[tuple[uid.UID, ...], Callable[[Dataset, Pixels], bytes]]]] = {
    "lossy jpeg, 12 bits": (
        COMPRESSED[1:2],
        lambda _, a: bytes(imagecodecs.jpeg8_encode(a, level=98, bitspersample=12)),
    ),
    "lossless jpeg": (
        COMPRESSED[2:4],
        lambda _, a: bytes(imagecodecs.ljpeg_encode(a, bitspersample=12)),
    ),
    "jpeg-ls": (COMPRESSED[4:6], lambda _, a: jls(a)),
    "jpeg 2000": (COMPRESSED[6:8], lambda _, a: j2k(a)),
    "htj2k": (COMPRESSED[8:11], lambda _, a: bytes(imagecodecs.htj2k_encode(a, reversible=True))),
    "rle": (COMPRESSED[11:], run_lengths),
}
"""How a frame may be coded: the transfer syntaxes that say so, and the coder."""
NEAR["baseline under a header of 12 bits"] = lambda ds, a: wrapped(ds, [baseline(a)], JPEG)
NEAR["baseline without its end marker"] = lambda ds, a: wrapped(
    stored(ds, a, **EIGHT_BITS), [baseline(a)[:-2]], JPEG
)


# --- orientation and shape of pixels -----------------------------------------------------------


def oriented(way: tuple[str, str]) -> Way:
    return lambda ds, a: stored(ds, as_oriented(a, way), PatientOrientation=list(way))


for _way in EIGHT:
    EXACT["rows towards {}, columns {}".format(*_way)] = oriented(_way)


def every_other_row(ds: Dataset, a: Pixels, **header: object) -> Dataset:
    half = (a[0 : a.shape[0] // 2 * 2 : 2].astype("<u4") + a[1::2][: a.shape[0] // 2]) // 2
    return stored(ds, half.astype("<u2"), ImagerPixelSpacing=None, **header)


NEAR["imager pixel spacing 2 : 1"] = lambda ds, a: stored(
    every_other_row(ds, a), np.frombuffer(every_other_row(ds, a).PixelData, "<u2").reshape(
        a.shape[0] // 2, a.shape[1]), ImagerPixelSpacing=["0.8", "0.4"],
)  # fmt: skip
NEAR["pixel spacing 2 : 1"] = lambda ds, a: every_other_row(ds, a, PixelSpacing=["0.8", "0.4"])
NEAR["nominal scanned pixel spacing 2 : 1"] = lambda ds, a: every_other_row(
    ds, a, NominalScannedPixelSpacing=["0.8", "0.4"]
)
NEAR["pixel aspect ratio 2 : 1"] = lambda ds, a: every_other_row(ds, a, PixelAspectRatio=["2", "1"])


# --- what cannot be read, and why --------------------------------------------------------------

NAMED["one bit a pixel"] = (
    "not_a_radiograph",
    "one bit",
    lambda ds, a: stored(
        ds,
        a,
        PixelData=np.packbits(a > 2000, bitorder="little").tobytes(),
        BitsAllocated=1,
        BitsStored=1,
        HighBit=0,
    ),
)
NAMED["no photometric interpretation"] = (
    "undecodable",
    "Photometric Interpretation",
    (lambda ds, a: stored(ds, a, PhotometricInterpretation=None)),
)
NAMED["no bits allocated"] = (
    "undecodable",
    "Bits Allocated",
    (lambda ds, a: stored(ds, a, BitsAllocated=None)),
)
NAMED["raw, broken off"] = (
    "undecodable",
    "break off",
    lambda ds, a: stored(ds, a, PixelData=a.tobytes()[: a.nbytes // 2]),
)
NAMED["raw, twice as long"] = (
    "undecodable",
    "Number of Frames",
    lambda ds, a: stored(ds, a, PixelData=a.tobytes() * 2),
)
for _code, _syntax in ((j2k, J2K), (jls, JLS), (baseline, JPEG)):
    NAMED[f"{_code.__name__}, broken off"] = "undecodable", "break off", (
        lambda ds, a, code=_code, syntax=_syntax: wrapped(  # type: ignore[misc]
            stored(ds, a, **EIGHT_BITS) if code is baseline else ds,
            [code(a)[: len(code(a)) * 9 // 10]], syntax,
        )
    )  # fmt: skip
NAMED["pixels nine times as high as wide"] = (
    "pixel_shape",
    "9 times",
    lambda ds, a: stored(ds, a, ImagerPixelSpacing=["0.9", "0.1"]),
)
NAMED["spacings of two shapes"] = (
    "pixel_shape",
    "contradict",
    lambda ds, a: stored(ds, a, ImagerPixelSpacing=["0.1", "0.1"], PixelSpacing=["0.1", "0.2"]),
)
NAMED["blank"] = "undecodable", "blank", lambda ds, a: stored(ds, a * 0 + np.uint16(7))
