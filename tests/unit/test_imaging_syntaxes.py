"""Transfer syntaxes and damaged frames: one known image, stored in every way of DX practice."""

from __future__ import annotations

import base64
import random
import zlib
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.utils import compress

from hipnode import dicom, imaging
from hipnode.dicom import files
from hipnode.errors import HeaderUnusable, NotDicom, PixelsUnreadable
from hipnode.imaging import codestream, decoders
from tests.peers import shared_data
from tests.unit.test_imaging import RAMP, dx


def scene(rows: int = 96, columns: int = 80) -> NDArray[np.uint16]:
    """A smooth 12-bit image with an edge and a little noise: no codec has it for nothing."""
    y, x = np.mgrid[:rows, :columns]
    smooth = 2000 + 1500 * np.sin(x / 9) * np.cos(y / 13)
    smooth[rows // 3 : rows // 2, columns // 4 : columns // 2] += 500
    noise = np.random.default_rng(5).normal(0, 12, (rows, columns))
    return np.clip(smooth + noise, 0, 4095).astype(np.uint16)


IMAGE = scene()

# `RAMP` (16 x 16, 12 bits) as OpenJPH and as libjpeg-turbo's lossless coder write it.
RAMP_HTJ2K = (
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBE"
    "AB/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAH4AAf+TwAAmSfYF"
    "B3QAAMAAEsAAEwAiAYd0AEbyA4d0AMAAE0AAE4AQyAECdAAe6ZEAw1QAwAAVEAAFYIZhGKpwgnUAfvTDDz/+wFKB7L"
    "YAwAArIAAWkO7u7u7nwKenp8J4AP79/f39/f39/Yxge/Yxgey6AP/Z"
)
RAMP_LOSSLESS_JPEG = (
    "/9j/xAAXAAEBAQEAAAAAAAAAAAAAAAAICQUM/8MACwwAEAAQAQARAP/aAAgBAAAGAADn/wDQ0NDQ0NDQ0NDQ0NDQ0N"
    "CgCAQCAQCAQCAQCAQCAQCAQCAoAgEAgEAgEAgEAgEAgEAgEAgKAIBAIBAIBAIBAIBAIBAIBAICgCAQCAQCAQCAQCAQ"
    "CAQCAQCAoAgEAgEAgEAgEAgEAgEAgEAgKAIBAIBAIBAIBAIBAIBAIBAICgCAQCAQCAQCAQCAQCAQCAQCAoAgEAgEAg"
    "EAgEAgEAgEAgEAgKAIBAIBAIBAIBAIBAIBAIBAICgCAQCAQCAQCAQCAQCAQCAQCAoAgEAgEAgEAgEAgEAgEAgEAgKA"
    "IBAIBAIBAIBAIBAIBAIBAICgCAQCAQCAQCAQCAQCAQCAQCAoAgEAgEAgEAgEAgEAgEAgEAgKAIBAIBAIBAIBAIBAIB"
    "AIBAIA/9k="
)


def stored(tmp_path: Path, dataset: Dataset, syntax: str) -> Path:
    """Write a data set as a Part 10 file in a transfer syntax."""
    path = tmp_path / "image.dcm"
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


@pytest.fixture(params=["fast", "plugins"])
def accelerator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test the fast way and by pydicom's plugins, which take what the fast way leaves."""
    if request.param == "plugins":
        leave_to_plugins(monkeypatch)


def leave_to_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be decoded the fast way."""
    for way in ("accelerated", "run_lengths"):
        monkeypatch.setattr(decoders, way, lambda *_: None)


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.RLELossless,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
    ],
    ids=lambda s: s.name,
)
def test_lossless_syntaxes_give_back_every_value(
    tmp_path: Path, syntax: uid.UID, accelerator: None
) -> None:
    dataset = dx(IMAGE, WindowCenter=2048, WindowWidth=4096)
    if syntax.is_encapsulated:
        compress(dataset, syntax)
    _, radiograph = imaging.load(stored(tmp_path, dataset, syntax))
    np.testing.assert_array_equal(np.rint(radiograph.pixels * 4095), IMAGE)


def test_big_endian_gives_back_every_value(tmp_path: Path) -> None:
    dataset = dx(IMAGE, WindowCenter=2048, WindowWidth=4096)
    dataset.PixelData = IMAGE.astype(">u2").tobytes()
    dataset["PixelData"].VR = "OW"
    _, radiograph = imaging.load(stored(tmp_path, dataset, uid.ExplicitVRBigEndian))
    np.testing.assert_array_equal(np.rint(radiograph.pixels * 4095), IMAGE)


@pytest.mark.parametrize(
    "syntax", [uid.JPEGLosslessSV1, uid.JPEGLossless, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL]
)
def test_syntaxes_that_pydicom_cannot_write_give_back_every_value(
    tmp_path: Path, syntax: uid.UID, accelerator: None
) -> None:
    code = _encoded(syntax)
    dataset = dx(IMAGE, WindowCenter=2048, WindowWidth=4096)
    dataset.PixelData = encapsulate([code])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    _, radiograph = imaging.load(stored(tmp_path, dataset, syntax))
    np.testing.assert_array_equal(np.rint(radiograph.pixels * 4095), IMAGE)


@pytest.mark.parametrize(
    ("syntax", "packed"),
    [(uid.HTJ2KLossless, RAMP_HTJ2K), (uid.JPEGLosslessSV1, RAMP_LOSSLESS_JPEG)],
)
def test_foreign_streams_are_decoded_without_the_accelerator(
    monkeypatch: pytest.MonkeyPatch, syntax: uid.UID, packed: str
) -> None:
    leave_to_plugins(monkeypatch)
    dataset = dx(RAMP, WindowCenter=2048, WindowWidth=4096)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([base64.b64decode(packed)])
    np.testing.assert_array_equal(np.rint(imaging.decode(dataset).pixels * 4095), RAMP)


def _encoded(syntax: uid.UID) -> bytes:
    if syntax in {uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL}:
        return bytes(imagecodecs.htj2k_encode(IMAGE, reversible=True))
    return bytes(imagecodecs.ljpeg_encode(IMAGE, bitspersample=12))


def test_jpeg_baseline_is_close(tmp_path: Path) -> None:
    eight = (IMAGE >> 4).astype(np.uint8)
    dataset = dx(IMAGE, BitsAllocated=8, BitsStored=8, HighBit=7)
    packed = BytesIO()
    Image.fromarray(eight).save(packed, "JPEG", quality=95)
    dataset.PixelData = encapsulate([packed.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.WindowCenter, dataset.WindowWidth = 128, 256
    _, radiograph = imaging.load(stored(tmp_path, dataset, uid.JPEGBaseline8Bit))
    assert np.abs(radiograph.pixels * 255 - eight).mean() < 2


def test_every_compressed_form_of_a_real_image_agrees(accelerator: None) -> None:
    folder = shared_data("cr_dx")
    truth = imaging.load(folder / "RG3_RLE")[1].pixels
    for name in ("RG3_JLSL", "RG3_JPLL", "RG3_J2KR"):
        np.testing.assert_array_equal(imaging.load(folder / name)[1].pixels, truth)
    for name in ("RG3_JLSN", "RG3_J2KI", "RG3_JPLY"):
        difference = np.abs(imaging.load(folder / name)[1].pixels - truth)
        assert difference.mean() < 0.01
        assert difference.max() < 0.2, "a lossy overshoot must not wrap round"


def test_a_scan_header_that_strict_decoders_refuse_is_mended_and_said_so() -> None:
    notes = imaging.load(shared_data("cr_dx") / "RG3_JPLY")[1].notes
    assert any("mended" in note for note in notes)


# --- frames that are damaged, or lie ----------------------------------------------------------


@pytest.fixture(params=["RG3_JLSL", "RG3_JPLL", "RG3_J2KR", "RG3_JPLY", "RG3_RLE"])
def compressed(request: pytest.FixtureRequest) -> Dataset:
    return pydicom.dcmread(shared_data("cr_dx") / request.param)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_stream_that_breaks_off_is_refused(compressed: Dataset, keep: float) -> None:
    code = get_frame(compressed.PixelData, 0, number_of_frames=1)
    compressed.PixelData = encapsulate([code[: int(len(code) * keep)]])
    with pytest.raises(PixelsUnreadable):
        imaging.decode(compressed)


def test_damaged_runs_end_alike_with_the_accelerator_and_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = dx(IMAGE)
    compress(dataset, uid.RLELossless)
    whole = get_frame(dataset.PixelData, 0, number_of_frames=1)
    chance = random.Random(1)  # noqa: S311
    outcomes = set()
    for _ in range(300):
        runs = bytearray(whole)
        for _ in range(chance.randint(0, 3)):
            runs[chance.randrange(chance.choice([64, len(runs)]))] = chance.randrange(256)
        end = len(runs) - chance.choice([0, 0, 1, 70])
        dataset.PixelData = encapsulate([bytes(runs[:end]) + bytes(chance.choice([0, 0, 1, 3]))])
        fast = _values(dataset)
        with monkeypatch.context() as plainly:
            leave_to_plugins(plainly)
            assert _values(dataset) == fast
        outcomes.add(fast is None)
    assert outcomes == {True, False}


def _values(dataset: Dataset) -> bytes | None:
    try:
        return imaging.decode(dataset).pixels.tobytes()
    except PixelsUnreadable:
        return None


def test_a_header_of_another_size_is_refused(compressed: Dataset) -> None:
    # RLE has no size of its own: only too little can be noticed there.
    compressed.Rows = 4096 if compressed.file_meta.TransferSyntaxUID == uid.RLELossless else 1024
    with pytest.raises(PixelsUnreadable):
        imaging.decode(compressed)


@pytest.mark.parametrize("name", ["RG3_JLSL", "RG3_JPLL", "RG3_J2KR"])
def test_a_stream_that_asks_for_gigabytes_is_refused_before_decoding(name: str) -> None:
    dataset = pydicom.dcmread(shared_data("cr_dx") / name)
    code = bytearray(get_frame(dataset.PixelData, 0, number_of_frames=1))
    if name == "RG3_J2KR":
        code[8:16] = b"\x00\x0f\xff\xff" * 2  # Xsiz, Ysiz
    else:
        at = code.find(b"\xff\xf7" if name == "RG3_JLSL" else b"\xff\xc3")
        code[at + 5 : at + 9] = b"\xff\xff" * 2
    dataset.PixelData = encapsulate([bytes(code)])
    with pytest.raises(PixelsUnreadable, match="more than allowed"):
        imaging.decode(dataset)


def test_rows_and_columns_beyond_the_limit_are_refused_before_decoding() -> None:
    with pytest.raises(PixelsUnreadable, match="more than allowed"):
        imaging.decode(dx(), max_pixels=100)


def test_a_jp2_file_around_the_stream_is_taken_off_and_a_damaged_one_does_not_hang() -> None:
    dataset = pydicom.dcmread(shared_data("cr_dx") / "RG3_J2KR")
    truth = imaging.decode(dataset).pixels
    code = get_frame(dataset.PixelData, 0, number_of_frames=1)
    signature = b"\0\0\0\x0cjP  \r\n\x87\n"
    for box in (b"\0\0\0\0jp2c", b"\0\0\0\0junk"):  # a length of 0 means: to the end of the file
        dataset.PixelData = encapsulate([signature + box + code])
        np.testing.assert_array_equal(imaging.decode(dataset).pixels, truth)


def test_what_is_no_codestream_is_refused() -> None:
    dataset = pydicom.dcmread(shared_data("cr_dx") / "RG3_J2KR")
    dataset.PixelData = encapsulate([b"\0\0\0\x0cjP  " + bytes(5000)])
    with pytest.raises(PixelsUnreadable, match="no header"):
        imaging.decode(dataset)


def test_a_deflated_bomb_is_refused_and_its_header_read_without_inflating_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_MAX_INFLATED_BYTES", 1 << 25)
    dataset = dx(IMAGE)
    path = stored(tmp_path, dataset, uid.DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    start = 144 + int(pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength)
    plain = zlib.decompress(content[start:], -15)
    bomb = zlib.compressobj(9, wbits=-15)
    parts = [bomb.compress(plain)] + [bomb.compress(bytes(1 << 24)) for _ in range(3)]
    path.write_bytes(content[:start] + b"".join(parts) + bomb.flush())
    assert path.stat().st_size < 1 << 18
    assert dicom.read_header(path).sop_instance_uid == dataset.SOPInstanceUID
    with pytest.raises(HeaderUnusable, match="larger"):
        imaging.load(path)


def test_a_deflated_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, dx(IMAGE), uid.DeflatedExplicitVRLittleEndian)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises((NotDicom, HeaderUnusable, PixelsUnreadable)):
        imaging.load(path)


def test_an_extent_is_read_from_the_markers_alone() -> None:
    dataset = pydicom.dcmread(shared_data("cr_dx") / "RG3_J2KR")
    code = get_frame(dataset.PixelData, 0, number_of_frames=1)
    extent = codestream.extent_of(code)
    assert extent is not None
    assert (extent.rows, extent.columns, extent.components) == (1760, 1760, 1)
    assert extent.precision == dataset.BitsStored
    assert codestream.extent_of(b"") is None
    assert codestream.extent_of(b"\xff\xd8" + b"\xff" * 100_000) is None
